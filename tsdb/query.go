package tsdb

import (
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

// Query says which histories are evidence, how their iterations are distinguished,
// and what has to be met until when.
type Query struct {
	Criteria  []Criterion // empty when Milestone is set
	Milestone string      // named by the exporter, which publishes its definition
	Named     bool        // Milestone names a precision, and not best
	Joint     bool        // all series together, or each on its own
	Share     float64     // of the models that must be ready, a ratio in (0,1]; 0 is the milestone's own
	Model     string      // label that names the model
	Models    string      // regular expression on that label; "" is all
	Members   []Member    // of the milestone
	Subject   []string    // labels whose values together name a model of a milestone; empty is Model alone

	Iterations int                  // horizon; 0 is none
	Deadline   time.Time            // zero is none
	Ready      float64              // probability from which it counts as on track; 0 is the milestone's own
	Effort     forecast.EffortLevel // what the team knows about the work; none is the milestone's own, or inferred

	By          iterations.By
	IterationOf string // the series that holds the iteration's number
	TimeOf      string // the series that holds the result's own time; "" is none
	Environment string // label that names the environment; "" is plancast's fingerprint
	Fingerprint string // the environment whose results count; "" is the one that counts for the exporter

	History    time.Duration // how far back results count
	Resolution time.Duration
	Exact      bool // Resolution was asked for, and is not only the finest
	Filters    []prom.Filter
}

// Criterion is a condition on the series of an expression.
type Criterion struct {
	Expr string // PromQL, macros not yet replaced
	forecast.Criterion
	pair terms.PairSeries // the zero value asks for none
}

// paired is the query with the changes that pairs show of those criteria that are
// quantities of plancast's own.
func (q Query) paired() Query {
	q.Criteria = slices.Clone(q.Criteria)
	for i := range q.Criteria {
		c := &q.Criteria[i]
		for _, x := range terms.Quantities() {
			if pair, ok := x.Pair(); ok && c.pair == (terms.PairSeries{}) && prom.Narrows(c.Expr, x.Expr) {
				c.pair = pair
			}
		}
	}
	return q
}

// Goal is the goal of the query for package forecast.
func (q *Query) Goal() forecast.Goal {
	return forecast.Goal{Iterations: q.Iterations, Deadline: q.Deadline, Ready: q.Ready, Effort: q.Effort}
}

// identity is labels without those that say who scraped, but for those that name
// the subject.
func (q *Query) identity(labels model.Metric) model.Metric {
	out := iterations.Identity(labels)
	for _, n := range q.Subject {
		if v := labels[model.LabelName(n)]; v != "" {
			out[model.LabelName(n)] = v
		}
	}
	return out
}

// subject names what labels speak of.
func (q *Query) subject(labels model.Metric) string {
	if len(q.Subject) == 0 {
		return string(labels[model.LabelName(q.Model)])
	}
	return SubjectName(q.Subject, func(label string) string { return string(labels[model.LabelName(label)]) })
}

// SubjectName names a model by the values of several labels: "resnet50@gpu-1:9833".
// Labels without a value are left out.
func SubjectName(by []string, value func(label string) string) string {
	var parts []string
	for _, label := range by {
		if v := value(label); v != "" {
			parts = append(parts, v)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return strings.TrimSuffix(parts[0]+"@"+strings.Join(parts[1:], ","), "@")
}

// only is what the labels of models must match.
func (q *Query) only() (*regexp.Regexp, error) {
	pattern := q.Models
	if pattern == "" {
		pattern = ".*"
	}
	re, err := regexp.Compile("^(?s:" + pattern + ")$")
	if err != nil {
		return nil, &terms.Invalid{Field: "models", Reason: err.Error()}
	}
	return re, nil
}

// modelOf is the model of a subject.
func (q *Query) modelOf(subject string) string {
	if len(q.Subject) > 0 {
		subject, _, _ = strings.Cut(subject, "@")
	}
	return subject
}

// environmentLabels are those that an environment is joined to results by.
func (q *Query) environmentLabels() string {
	names := append([]string{"model", iterations.Precision, "backend", "device", terms.FingerprintLabel}, q.Subject...)
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

// Settings of a loader.
type Settings struct {
	Resolution time.Duration // the finest step of a history, usually the scrape interval
	Fresh      time.Duration // how long an answer that reaches into the present is kept
	CacheBytes int64         // for answers and what is rebuilt from them; 0 keeps nothing
	Horizon    int           // further iterations, where neither query nor milestone states any
}
