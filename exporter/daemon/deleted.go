package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/pass"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/units"
)

// endDeleted excludes the results of versions that were deleted longer ago than
// repository.keep_deleted, and restores them once the version is back or a newer one
// has a result, when they are no more than history. Each step can be repeated: what a
// killed daemon left undone, the next pass does.
func (d observer) endDeleted(p pass.Plan) error {
	ctx := context.Background() // what is known is kept, even when plancast is asked to stop meanwhile
	before, err := d.store.Deleted(ctx)
	if err != nil {
		return err
	}
	now, err := deleted(ctx, d.store, d.derived.Load().Models, p.Scan, before, d.now().UTC())
	if err != nil || slices.Equal(before, now) && !slices.ContainsFunc(now, d.due) {
		return err
	}
	// Since when a version is missing is kept before anything follows from it.
	noted := slices.Concat(now, returned(before, now))
	if err := d.store.SetDeleted(ctx, noted); err != nil {
		return err
	}
	var models []string
	for i, x := range now {
		if d.due(x) {
			if err := d.endOne(ctx, x); err != nil {
				return err
			}
			now[i].Ended = true
			models = append(models, x.Model)
		}
	}
	for _, x := range returned(before, now) {
		if err := d.restoreOne(ctx, x); err != nil {
			return err
		}
		models = append(models, x.Model)
	}
	if err := d.store.SetDeleted(ctx, now); err != nil {
		return err
	}
	slices.Sort(models)
	for _, name := range slices.Compact(models) {
		if err := d.readAgain(ctx, name); err != nil {
			return err
		}
	}
	if len(models) > 0 {
		d.refresh()
	}
	return nil
}

// due reports whether the time of a deleted version is over and its results still count.
func (d observer) due(x history.Deleted) bool {
	cfg, _ := d.inForce()
	return !x.Ended && !d.now().Before(x.Since.Add(cfg.Repository.KeepDeleted))
}

// endOne excludes the results of a deleted version.
func (d observer) endOne(ctx context.Context, x history.Deleted) error {
	cfg, _ := d.inForce()
	because := fmt.Sprintf("version %s is missing from the repository since %s (repository.keep_deleted: %s)",
		x.Version, x.Since.Format(time.DateOnly), units.Format(cfg.Repository.KeepDeleted.Seconds(), units.Seconds))
	n, err := d.store.Exclude(ctx, candidateOf(x), history.Author{Who: history.ByItself, Because: because, At: d.now().UTC()})
	if errors.Is(err, history.ErrNoRecord) {
		return nil // it was pruned
	}
	if n > 0 {
		d.log.Warn("Result of a deleted version no longer counts", "model", x.Model, "version", x.Version, "since", x.Since, "results", n)
	}
	return err
}

// restoreOne takes back what endOne did, and no exclusion of anybody else.
func (d observer) restoreOne(ctx context.Context, x history.Deleted) error {
	by := history.Author{Who: history.ByItself, Because: "version " + x.Version + " is in the repository again, or a newer one has a result", At: d.now().UTC()}
	var ids []int64
	for r, err := range d.store.Records(ctx, candidateOf(x)) {
		if err != nil && !errors.Is(err, history.ErrDamaged) {
			return err
		}
		if err == nil && r.Excluded != nil && r.Excluded.By == history.ByItself {
			ids = append(ids, r.ID)
		}
	}
	for _, id := range ids {
		if _, err := d.store.Restore(ctx, history.Filter{ID: id}, by); err != nil {
			return err
		}
	}
	return nil
}

func candidateOf(x history.Deleted) history.Filter {
	return history.Filter{Model: x.Model, Version: x.Version, Digest: x.Digest}
}

// returned are the versions that are deleted no longer.
func returned(before, now []history.Deleted) []history.Deleted {
	return slices.DeleteFunc(slices.Clone(before), func(x history.Deleted) bool {
		return slices.ContainsFunc(now, x.Is)
	})
}

// deleted are the versions that the repository lacks while nothing newer has a result:
// those that were known, and those that are missing for the first time now.
func deleted(ctx context.Context, store *history.Store, models []*standing.Model, scan candidate.Scan, before []history.Deleted, now time.Time) ([]history.Deleted, error) {
	out := slices.DeleteFunc(slices.Clone(before), func(x history.Deleted) bool {
		i := slices.IndexFunc(models, func(m *standing.Model) bool { return m.Name == x.Model })
		return i >= 0 && (models[i].Holds(x.Version, x.Digest) || outdated(models[i], x))
	})
	for _, m := range models {
		if slices.ContainsFunc(scan.Refused, func(r candidate.Refusal) bool { return r.Model == m.Name && r.Version == "" }) {
			continue // which versions it has is not known
		}
		for _, t := range m.Deleted() {
			x := history.Deleted{Model: m.Name, Version: t.Version, Digest: t.Digest, Fingerprint: m.Series.Fingerprint, Iteration: t.Iteration, Since: now}
			if slices.ContainsFunc(out, x.Is) {
				continue
			}
			if imported, err := isImported(ctx, store, t); err != nil {
				return nil, err
			} else if imported {
				break // it was never in the repository
			}
			out = append(out, x)
		}
	}
	return out, nil
}

// outdated reports whether a version that the repository holds is a later iteration.
func outdated(m *standing.Model, x history.Deleted) bool {
	s, _ := m.History.In(x.Fingerprint)
	return slices.ContainsFunc(s.Trials, func(t history.Trial) bool { return t.Iteration > x.Iteration && m.Holds(t.Version, t.Digest) })
}

// isImported reports whether a candidate was measured elsewhere.
func isImported(ctx context.Context, store *history.Store, t history.Trial) (bool, error) {
	for e := range t.Entries() {
		r, err := store.Record(ctx, e.ID)
		return err == nil && r.Source != "", err
	}
	return false, nil
}

// deletedNow are the deleted versions as the next pass would note them.
func deletedNow(ctx context.Context, o Options, store *history.Store, known []history.Record, plan pass.Plan) ([]history.Deleted, error) {
	before, err := store.Deleted(ctx)
	if err != nil {
		return nil, err
	}
	e := standing.Evidence{Now: o.Now().UTC(), Records: known}
	e.Models, e.Refused = held(o.Config, plan)
	s, err := standing.Derive(e)
	if err != nil {
		return nil, err
	}
	return deleted(ctx, store, s.Models, plan.Scan, before, e.Now)
}

// DeletedText says what counts of a deleted version, until when, and what ends it.
func DeletedText(cfg config.Config, x history.Deleted) string {
	until := "until " + x.Since.Add(cfg.Repository.KeepDeleted).Format(time.DateOnly)
	if cfg.Repository.KeepDeleted == 0 {
		until = "until the next pass"
	}
	if x.Ended {
		return fmt.Sprintf("%s: version %s is deleted: its result no longer counts", x.Model, x.Version)
	}
	return fmt.Sprintf("%s: version %s is deleted: its result counts %s; plancast history exclude ends it at once", x.Model, x.Version, until)
}
