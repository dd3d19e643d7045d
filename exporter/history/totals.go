package history

import (
	"context"
	"fmt"
	"time"

	"github.com/plancast/plancast/exporter/engine"
)

// Totals are how many records of each outcome a model has had, whether or not
// they are still kept.
type Totals struct {
	Failure    engine.Kind // "" for measured
	Count      int
	CacheKnown int       // of them, built by a backend with a timing cache
	CacheHits  int       // of them, served by it
	Newest     time.Time // when the newest of them finished
}

// Totals returns them by model.
func (s *Store) Totals(ctx context.Context) (map[string][]Totals, error) {
	out := map[string][]Totals{}
	if s.version < entriesSince {
		return nil, fmt.Errorf("read history %s: it has the schema of an older plancast: start plancast serve once", s.path)
	}
	rows, err := s.db.QueryContext(ctx, "SELECT model, failure, count, cache_known, cache_hits, newest FROM totals ORDER BY model, failure")
	if err != nil {
		return nil, fmt.Errorf("read history %s: %w", s.path, err)
	}
	defer rows.Close()
	for rows.Next() {
		var model string
		var t Totals
		var newest Moment
		if err := rows.Scan(&model, (*string)(&t.Failure), &t.Count, &t.CacheKnown, &t.CacheHits, (*int64)(&newest)); err != nil {
			return nil, fmt.Errorf("read history %s: %w", s.path, err)
		}
		t.Newest = newest.Time()
		out[model] = append(out[model], t)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read history %s: %w", s.path, err)
	}
	return out, nil
}

// addTotals counts a record.
func addTotals(ctx context.Context, tx execer, r Record) error {
	known, hits := 0, 0
	var failure engine.Kind
	if r.Failure != nil {
		failure = r.Failure.Kind
	} else if hit := r.Measurement.Plan.TimingCacheHit; hit != nil {
		known = 1
		if *hit {
			hits = 1
		}
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO totals (model, failure, count, cache_known, cache_hits, newest) VALUES (?,?,1,?,?,?)
		ON CONFLICT (model, failure) DO UPDATE SET count = count + 1, cache_known = cache_known + excluded.cache_known,
		cache_hits = cache_hits + excluded.cache_hits, newest = MAX(newest, excluded.newest)`,
		r.Model, string(failure), known, hits, r.Finished.UnixNano())
	return err
}
