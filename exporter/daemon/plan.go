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

// Plan says what a pass would do, and how many records there are. It takes no
// lock and writes nothing, so that it runs beside a Daemon.
func Plan(ctx context.Context, o Options) (plan pass.Plan, records int, err error) {
	var known []history.Record
	remembered := reading{}
	store, err := history.OpenReadOnly(HistoryFile(o.Config))
	switch {
	case errors.Is(err, os.ErrNotExist): // nothing is measured yet
	case err != nil:
		return pass.Plan{}, 0, err
	default:
		defer store.Close()
		damaged := func(err error) { o.Log.Error("A record is left out", "err", err) }
		for r, err := range history.Skip(store.Records(ctx, history.Filter{}), damaged) {
			if err != nil {
				return pass.Plan{}, 0, err
			}
			known = append(known, r)
		}
		if remembered.files, err = store.Files(ctx); err != nil {
			return pass.Plan{}, 0, err
		}
	}
	repo, err := openRepository(ctx, o.Config, remembered, o.Now, o.logWait)
	if err != nil {
		return pass.Plan{}, 0, err
	}
	defer repo.Close()
	plan, err = o.newRunner(o.Config, nil, repo, nil, nil, known).Plan(ctx, nil)
	return plan, len(known), err
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
