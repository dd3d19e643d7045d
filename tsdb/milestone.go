package tsdb

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/tsdb/iterations"
	"github.com/plancast/plancast/tsdb/prom"
)

// What the exporter publishes of a milestone.
const (
	milestoneInfo     = "plancast_milestone_info"
	targetMet         = "plancast_engine_target_met"
	milestoneDeadline = "plancast_milestone_deadline_timestamp_seconds"
	milestoneHorizon  = "plancast_milestone_horizon_iterations"
	milestoneShare    = "plancast_milestone_share_ratio"
	milestoneReady    = "plancast_milestone_ready_probability"
)

// The labels of plancast_milestone_info. Only a fleet's milestone has the last two.
const (
	EffortLabel   = "effort"   // what the team knows about the work; empty where it is inferred
	ByLabel       = "by"       // the labels that tell models apart, with commas between
	SelectorLabel = "selector" // which series it is about
)

// best is the precision of a milestone that names none.
const best = "best"

// published is how long a milestone stays known after its last sample.
const published = "1d"

// Define takes the definition of the milestone that q names from what the
// exporter publishes: its criteria, models and precisions, and its share,
// deadline, horizon, ready probability and effort as far as the query states none.
func (l *Loader) Define(ctx context.Context, q Query, at time.Time) (Query, error) {
	if q.Milestone == "" {
		return q, nil
	}
	ask := func(metric string) (model.Vector, error) {
		return l.client.Instant(ctx, fmt.Sprintf("last_over_time(%s[%s])", prom.Selecting(metric, "milestone", q.Milestone), published), at)
	}
	rows, err := ask(targetMet)
	if err != nil {
		return q, err
	}
	if len(rows) == 0 {
		return q, &terms.Invalid{Field: "milestone", Reason: fmt.Sprintf("the exporter published no %q in the last day: check its name, or state criteria instead", q.Milestone)}
	}
	type scope struct {
		criterion          forecast.Criterion
		models, precisions map[string]bool
	}
	criteria := map[string]*scope{}
	for _, r := range rows {
		text := string(r.Metric["criterion"])
		s := criteria[text]
		if s == nil {
			c, err := forecast.ParseCriterion(text, terms.UnitOf)
			if err != nil {
				return q, &terms.Invalid{Field: "milestone", Reason: fmt.Sprintf("its criterion %q cannot be read: state criteria instead", text)}
			}
			s = &scope{c, map[string]bool{}, map[string]bool{}}
			criteria[text] = s
		}
		s.models[string(r.Metric["model"])] = true
		if p := string(r.Metric[iterations.Precision]); p != "" {
			s.precisions[p] = true
		}
	}
	info, err := ask(milestoneInfo)
	if err != nil {
		return q, err
	}
	q.Model = "model"
	q.Named = slices.ContainsFunc(info, func(s *model.Sample) bool { return s.Metric[iterations.Precision] != best })
	meant := defining(info)
	among, err := q.scope(meant)
	if err != nil {
		return q, err
	}
	q.Effort = cmp.Or(q.Effort, forecast.EffortLevel(meant[EffortLabel]))
	q.Criteria = nil
	for _, text := range slices.Sorted(maps.Keys(criteria)) {
		s := criteria[text]
		m, _ := terms.QuantityByName(s.criterion.Metric)
		e, err := prom.Parse(m.Expr)
		if err != nil {
			return q, err
		}
		filters := append(slices.Clip(among), prom.Filter{Key: "model", Operator: "=~", Value: alternatives(s.models)})
		if len(s.precisions) > 0 {
			filters = append(filters, prom.Filter{Key: iterations.Precision, Operator: "=~", Value: alternatives(s.precisions)})
		}
		if e, err = e.Filter(filters); err != nil {
			return q, err
		}
		q.Criteria = append(q.Criteria, Criterion{Expr: e.String(), Criterion: s.criterion})
	}
	// What the query does not say is the milestone's own.
	own := func(metric string) (float64, error) {
		v, err := ask(metric)
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

// defining returns the labels that define a milestone. Where an exporter and a
// fleet have one of the same name, the fleet's is meant.
func defining(info model.Vector) model.Metric {
	if i := slices.IndexFunc(info, func(s *model.Sample) bool { return s.Metric[ByLabel] != "" }); i >= 0 {
		return info[i].Metric
	}
	if len(info) > 0 {
		return info[0].Metric
	}
	return nil
}

// scope takes from what defines a milestone which labels tell its models apart,
// and returns which series it is about. Only a fleet's milestone says so.
func (q *Query) scope(info model.Metric) ([]prom.Filter, error) {
	by := string(info[ByLabel])
	if by == "" {
		return nil, nil
	}
	q.Subject = strings.Split(by, ",")
	return prom.ParseFilters(string(info[SelectorLabel]))
}

func alternatives(set map[string]bool) string {
	var out []string
	for _, v := range slices.Sorted(maps.Keys(set)) {
		out = append(out, regexp.QuoteMeta(v))
	}
	return strings.Join(out, "|")
}
