package daemon

import (
	"context"
	"errors"
	"os"
	"slices"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/pass"
	"github.com/plancast/plancast/exporter/report"
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
	plan, err = o.newRunner(o.Config, nil, repo, nil, known).Plan(ctx, nil)
	return plan, len(known), err
}

// reading is a candidate.Memory that keeps nothing.
type reading struct{ files map[string]string }

func (r reading) Files(context.Context) (map[string]string, error) { return r.files, nil }

func (reading) Remember(context.Context, map[string]string, []string) error { return nil }

// Unmatched are the targets and milestones that select none of the models.
func Unmatched(cfg config.Config, models []string) []report.Unmatched {
	var out []report.Unmatched
	check := func(kind report.ThresholdKind, name string, s config.Select) {
		if !slices.ContainsFunc(models, s.Matches) {
			out = append(out, report.Unmatched{Kind: kind, Name: name})
		}
	}
	for _, t := range cfg.Targets {
		check(report.KindTarget, t.Name, t.Select)
	}
	for _, m := range cfg.Milestones {
		check(report.KindMilestone, m.Name, m.Select)
	}
	return out
}
