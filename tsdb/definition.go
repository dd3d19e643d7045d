package tsdb

import (
	"cmp"
	"context"
	"fmt"
	"maps"
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

// milestoneInfo names the precision of a milestone, and says what a fleet's is about.
const milestoneInfo = "plancast_milestone_info"

// The labels of milestoneInfo. Only a fleet's milestone has the last two.
const (
	effortLabel   = "effort"   // what the team knows about the work; empty where it is inferred
	byLabel       = "by"       // the labels that tell models apart, with commas between
	selectorLabel = "selector" // which series it is about
)

// best is the precision of a milestone that names none.
const best = "best"

// Member is a model that counts for a milestone.
type Member struct {
	Name    string // of its subject
	Present bool   // where it is not, nothing that it did counts
}

// definition is what a milestone is, as it was published last.
type definition struct{ info, criteria, members []model.Metric }

// definition reads what each exporter published last of a milestone. Where an exporter
// has one of the same name as a fleet, the fleet's is meant.
func (l *Loader) definition(ctx context.Context, milestone string, at time.Time) (d definition, err error) {
	for _, x := range []struct {
		metric string
		to     *[]model.Metric
	}{{milestoneInfo, &d.info}, {terms.CriterionSeries, &d.criteria}, {terms.MemberSeries, &d.members}} {
		seen := "timestamp(" + prom.Selecting(x.metric, "milestone", milestone) + ")"
		rows, err := l.client.Instant(ctx, fmt.Sprintf("%s or max_over_time(%s[%s:5m])", seen, seen, published), at)
		if err != nil {
			return d, err
		}
		*x.to = newestOfEach(rows)
	}
	if i := slices.IndexFunc(d.info, func(m model.Metric) bool { return m[byLabel] != "" }); i >= 0 {
		fleet := publisher(d.info[i])
		for _, list := range []*[]model.Metric{&d.info, &d.criteria, &d.members} {
			*list = slices.DeleteFunc(*list, func(m model.Metric) bool { return publisher(m) != fleet })
		}
	}
	return d, nil
}

// texts are the criteria in words, each once.
func (d definition) texts() []string {
	var out []string
	for _, m := range d.criteria {
		out = append(out, string(m["criterion"]))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// newestOfEach are the series that each publisher published last; the values say when.
func newestOfEach(rows model.Vector) (out []model.Metric) {
	last := map[string]model.SampleValue{}
	for _, r := range rows {
		who := publisher(r.Metric)
		last[who] = max(last[who], r.Value)
	}
	for _, r := range rows {
		if r.Value == last[publisher(r.Metric)] {
			out = append(out, r.Metric)
		}
	}
	return out
}

// publisher is who published a part of a definition: the labels that are no part of it.
func publisher(m model.Metric) string {
	who := m.Clone()
	for _, l := range []model.LabelName{"milestone", "criterion", iterations.Precision, effortLabel, byLabel, selectorLabel, "model", terms.PresentLabel} {
		delete(who, l)
	}
	return who.String()
}

// take makes the query one for the models of a definition, and returns which series
// its criteria are about.
func (q *Query) take(d definition) (filters []prom.Filter, err error) {
	precisions := map[string]bool{}
	for _, m := range d.info {
		precisions[string(m[iterations.Precision])] = true
		q.Effort = cmp.Or(q.Effort, forecast.EffortLevel(m[effortLabel]))
		if by := string(m[byLabel]); by != "" {
			q.Subject = strings.Split(by, ",")
			if filters, err = prom.ParseFilters(string(m[selectorLabel])); err != nil {
				return nil, err
			}
		}
	}
	if q.Named = !precisions[best]; q.Named {
		filters = append(filters, prom.Filter{Key: iterations.Precision, Operator: "=~", Value: alternatives(precisions)})
	}
	only, err := q.only()
	if err != nil {
		return nil, err
	}
	present, models := map[string]bool{}, map[string]bool{}
	for _, m := range d.members {
		name := string(m["model"])
		if called := q.modelOf(name); only.MatchString(called) {
			present[name], models[called] = present[name] || m[terms.PresentLabel] == "true", true
		}
	}
	q.Members = nil
	for _, name := range slices.Sorted(maps.Keys(present)) {
		q.Members = append(q.Members, Member{name, present[name]})
	}
	return append(filters, prom.Filter{Key: "model", Operator: "=~", Value: alternatives(models)}), nil
}

// alternatives is a regular expression for the members of a set.
func alternatives(set map[string]bool) string {
	var out []string
	for _, v := range slices.Sorted(maps.Keys(set)) {
		out = append(out, regexp.QuoteMeta(v))
	}
	return strings.Join(out, "|")
}
