package evidence

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/grafana-plugin/pkg/models"
	"github.com/plancast/plancast/grafana-plugin/pkg/prom"
)

// What the exporter publishes of a milestone.
const (
	targetMet         = "plancast_engine_target_met"
	milestoneDeadline = "plancast_milestone_deadline_timestamp_seconds"
)

// published is how long a milestone stays known after its last sample.
const published = "1d"

// Define takes the definition of the milestone that q names from what the
// exporter publishes: its criteria, models, precisions and deadline. Share,
// horizon and ready probability are the query's own.
func (l *Loader) Define(ctx context.Context, q models.Query, at time.Time) (models.Query, error) {
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
		return q, &models.Invalid{Field: "milestone", Reason: fmt.Sprintf("the exporter published no %q in the last day: check its name, or state criteria instead", q.Milestone)}
	}
	type scope struct {
		criterion  forecast.Criterion
		models     map[string]bool
		precisions map[string]bool
	}
	criteria := map[string]*scope{}
	for _, r := range rows {
		text := string(r.Metric["criterion"])
		s := criteria[text]
		if s == nil {
			c, err := forecast.ParseCriterion(text, models.UnitOf)
			if err != nil {
				return q, &models.Invalid{Field: "milestone", Reason: fmt.Sprintf("its criterion %q cannot be read: state criteria instead", text)}
			}
			s = &scope{c, map[string]bool{}, map[string]bool{}}
			criteria[text] = s
		}
		s.models[string(r.Metric["model"])] = true
		if p := string(r.Metric["precision"]); p != "" {
			s.precisions[p] = true
		}
	}
	q.Criteria = nil
	for _, text := range slices.Sorted(maps.Keys(criteria)) {
		s := criteria[text]
		m, _ := models.MetricByName(s.criterion.Metric)
		e, err := prom.Parse(m.Expr)
		if err != nil {
			return q, err
		}
		filters := []models.Filter{{Key: "model", Operator: "=~", Value: alternatives(s.models)}}
		if len(s.precisions) > 0 {
			filters = append(filters, models.Filter{Key: "precision", Operator: "=~", Value: alternatives(s.precisions)})
		}
		if e, err = e.Filter(filters); err != nil {
			return q, err
		}
		expr := e.String()
		if len(s.precisions) > 1 {
			// The best of several precisions counts.
			best := "max"
			if m.Lower {
				best = "min"
			}
			expr = fmt.Sprintf("%s by (model, backend, device) (%s)", best, expr)
		}
		q.Criteria = append(q.Criteria, models.Criterion{Expr: expr, Criterion: s.criterion})
	}
	q.Model = "model"
	due, err := ask(milestoneDeadline)
	if err != nil {
		return q, err
	}
	switch {
	case q.Iterations > 0 || !q.Deadline.IsZero(): // the query's own
	case len(due) > 0:
		q.Deadline = time.Unix(int64(due[0].Value), 0).UTC()
	default:
		q.Iterations = l.settings.Horizon
	}
	return q, nil
}

func alternatives(set map[string]bool) string {
	var out []string
	for _, v := range slices.Sorted(maps.Keys(set)) {
		out = append(out, regexp.QuoteMeta(v))
	}
	return strings.Join(out, "|")
}
