package tsdb

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"time"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/tsdb/prom"
)

// What the exporter publishes of a milestone.
const (
	milestoneDeadline = "plancast_milestone_deadline_timestamp_seconds"
	milestoneHorizon  = "plancast_milestone_horizon_iterations"
	milestoneShare    = "plancast_milestone_share_ratio"
	milestoneReady    = "plancast_milestone_ready_probability"
)

// published is how long a milestone stays known after its last sample.
const published = "1d"

// Define takes the definition of the milestone that q names from what the
// exporter publishes: its criteria, models and precision, and its share,
// deadline, horizon, ready probability and effort as far as the query states none.
func (l *Loader) Define(ctx context.Context, q Query, at time.Time) (Query, error) {
	if q.Milestone == "" {
		return q, nil
	}
	d, err := l.definition(ctx, q.Milestone, at)
	if err != nil {
		return q, err
	}
	if len(d.criteria) == 0 {
		return q, &terms.Invalid{Field: "milestone", Reason: fmt.Sprintf("the exporter published no %q in the last day: check its name, or state criteria instead", q.Milestone)}
	}
	q.Model = "model"
	filters, err := q.take(d)
	if err != nil {
		return q, err
	}
	q.Criteria = nil
	for _, text := range d.texts() {
		c, err := forecast.ParseCriterion(text, terms.UnitOf)
		if err != nil {
			return q, &terms.Invalid{Field: "milestone", Reason: fmt.Sprintf("its criterion %q cannot be read: state criteria instead", text)}
		}
		m, _ := terms.QuantityByName(c.Metric)
		e, err := prom.Parse(m.Expr)
		if err != nil {
			return q, err
		}
		if e, err = e.Filter(filters); err != nil {
			return q, err
		}
		pair, _ := m.Pair()
		q.Criteria = append(q.Criteria, Criterion{Expr: e.String(), Criterion: c, pair: pair})
	}
	// What the query does not say is the milestone's own.
	own := func(metric string) (float64, error) {
		v, err := l.client.Instant(ctx, fmt.Sprintf("last_over_time(%s[%s])", prom.Selecting(metric, "milestone", q.Milestone), published), at)
		if err != nil || len(v) == 0 {
			return 0, err
		}
		return float64(v[0].Value), nil
	}
	if q.Share == 0 {
		if q.Share, err = own(milestoneShare); err != nil {
			return q, err
		}
		q.Share = cmp.Or(q.Share, 1)
	}
	if q.Ready == 0 {
		if q.Ready, err = own(milestoneReady); err != nil {
			return q, err
		}
		q.Ready = cmp.Or(q.Ready, terms.Ready)
	}
	if q.Iterations > 0 || !q.Deadline.IsZero() {
		return q, nil
	}
	due, err := own(milestoneDeadline)
	if err != nil {
		return q, err
	}
	horizon, err := own(milestoneHorizon)
	if err != nil {
		return q, err
	}
	if due > 0 {
		q.Deadline = time.UnixMilli(int64(math.Round(due * 1000))).UTC()
	}
	if q.Iterations = int(horizon); due == 0 && horizon == 0 {
		q.Iterations = l.settings.Horizon
	}
	return q, nil
}
