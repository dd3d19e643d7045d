package daemon

import (
	"context"
	"errors"
	"os"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/pass"
	"github.com/plancast/plancast/exporter/standing"
)

// Prospect is what a pass would do and what it would find.
type Prospect struct {
	pass.Plan
	Records int               // in the history
	Deleted []history.Deleted // versions that still count, or no longer do, though the repository lacks them
}

// Plan says what a pass would do. It takes no lock and writes nothing, so that it
// runs beside a Daemon.
func Plan(ctx context.Context, o Options) (Prospect, error) {
	var known []history.Record
	remembered := reading{}
	store, err := history.OpenReadOnly(HistoryFile(o.Config))
	switch {
	case errors.Is(err, os.ErrNotExist): // nothing is measured yet
	case err != nil:
		return Prospect{}, err
	default:
		defer store.Close()
		damaged := func(err error) { o.Log.Error("Record skipped", "err", err) }
		for r, err := range history.Skip(store.Records(ctx, history.Filter{}), damaged) {
			if err != nil {
				return Prospect{}, err
			}
			known = append(known, r)
		}
		if remembered.files, err = store.Files(ctx); err != nil {
			return Prospect{}, err
		}
	}
	repo, err := openRepository(ctx, o.Config, remembered, o.Now, o.logWait)
	if err != nil {
		return Prospect{}, err
	}
	defer repo.Close()
	out := Prospect{Records: len(known)}
	if out.Plan, err = o.newRunner(o.Config, nil, repo, nil, nil, known).Plan(ctx, nil); err != nil || store == nil {
		return out, err
	}
	out.Deleted, err = deletedNow(ctx, o, store, known, out.Plan)
	return out, err
}

// reading is a candidate.Memory that keeps nothing.
type reading struct{ files map[string]string }

func (r reading) Files(context.Context) (map[string]string, error) { return r.files, nil }

func (reading) Remember(context.Context, map[string]string, []string) error { return nil }

// Absences are the models that targets and milestones are about and the
// repository lacks.
func Absences(cfg config.Config, plan pass.Plan) []standing.Absence {
	e := standing.Evidence{Targets: cfg.Targets, Milestones: cfg.Milestones}
	e.Models, _ = held(cfg, plan)
	return standing.Absences(e)
}
