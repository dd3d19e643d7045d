package tsdb

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/tsdb/iterations"
	"github.com/plancast/plancast/tsdb/prom"
)

// question is one expression of which a history is needed.
type question struct {
	text    string
	filters []prom.Filter
	samples bool // every sample, and not only the changes
	shown   bool // to the user, as what was executed
	of      string
	to      *prom.Answer
}

// named says which of several criteria an error is about.
func (x question) named(err error) error {
	if err == nil || x.of == "" {
		return err
	}
	return fmt.Errorf("criterion %s: %w", x.of, err)
}

// answers are the histories that iterations are rebuilt from.
type answers struct {
	values                                                                 []prom.Answer // of each criterion
	numbers, times, environments, unquantized, disturbed, effective, built prom.Answer
	workloads                                                              prom.Answer   // whether they were disturbed
	counting                                                               prom.Answer   // the environments that count
	pairs                                                                  []pairAnswers // of each criterion
	compared                                                               prom.Answer   // whom they are with
}

// pairAnswers are what pairs show of one criterion.
type pairAnswers struct{ ratio, lower, upper, changed prom.Answer }

func (a *pairAnswers) joins() iterations.PairJoins {
	return iterations.PairJoins{
		Ratio: iterations.NewJoin(a.ratio.Series), Lower: iterations.NewJoin(a.lower.Series),
		Upper: iterations.NewJoin(a.upper.Series), Changed: iterations.NewJoin(a.changed.Series),
	}
}

func newAnswers(q Query) *answers {
	return &answers{values: make([]prom.Answer, len(q.Criteria)), pairs: make([]pairAnswers, len(q.Criteria))}
}

// questions are what has to be asked for q, each with the answer that it fills.
func (a *answers) questions(q Query) []question {
	var out []question
	for i, c := range q.Criteria {
		x := question{text: q.asked(c), filters: q.Filters, samples: q.By == iterations.BySample, shown: true, to: &a.values[i]}
		if len(q.Criteria) > 1 {
			x.of = c.Metric
		}
		out = append(out, x)
	}
	if q.By != iterations.BySeries {
		return out
	}
	out = append(out, question{text: q.IterationOf, shown: true, to: &a.numbers})
	if q.TimeOf != "" {
		out = append(out, question{text: q.TimeOf, to: &a.times})
	}
	if q.IterationOf == terms.IterationSeries {
		out = append(out,
			question{text: "plancast_engine_unquantized_layers", to: &a.unquantized},
			question{text: "plancast_engine_disturbed", to: &a.disturbed},
			question{text: "plancast_engine_precision_effective", to: &a.effective},
			question{text: terms.BuiltSeries, to: &a.built})
		if slices.ContainsFunc(q.Criteria, Criterion.ofWorkload) {
			out = append(out, question{text: terms.WorkloadDisturbedSeries, to: &a.workloads})
		}
		out = append(out, a.pairQuestions(q)...)
	}
	if q.Environment == "" {
		out = append(out,
			question{text: "max by (" + q.environmentLabels() + ") (" + terms.EnvironmentSeries + ")", to: &a.environments},
			question{text: "max by (" + q.environmentLabels() + ") (" + terms.CountingSeries + ")", to: &a.counting})
	}
	return out
}

// asked is the expression that a criterion's values are asked for by: where iterations
// are distinguished, one without a latency is a result too if its workload is saturated.
func (q Query) asked(c Criterion) string {
	if q.By != iterations.BySeries || !c.ofWorkload() {
		return c.Expr
	}
	e, err := prom.Parse(c.Expr)
	if err != nil {
		return c.Expr // which is refused where it is asked
	}
	return e.Endless().String()
}

// ofWorkload reports whether a criterion is about a workload.
func (c Criterion) ofWorkload() bool { return strings.Contains(c.Expr, "plancast_workload_") }

// pairQuestions are what has to be asked for the changes that pairs show.
func (a *answers) pairQuestions(q Query) (out []question) {
	for i, c := range q.Criteria {
		if p, to := c.pair, &a.pairs[i]; p != (terms.PairSeries{}) {
			out = append(out, question{text: p.Ratio, to: &to.ratio}, question{text: p.Lower, to: &to.lower},
				question{text: p.Upper, to: &to.upper}, question{text: p.Changed, to: &to.changed})
		}
	}
	if len(out) > 0 {
		out = append(out, question{text: terms.ComparedSeries, to: &a.compared})
	}
	return out
}

// all are the answers, in the same order for each query.
func (a *answers) all() []*prom.Answer {
	out := []*prom.Answer{&a.numbers, &a.times, &a.environments, &a.unquantized, &a.disturbed, &a.workloads, &a.effective, &a.built, &a.counting, &a.compared}
	for i := range a.values {
		p := &a.pairs[i]
		out = append(out, &a.values[i], &p.ratio, &p.lower, &p.upper, &p.changed)
	}
	return out
}

// countingFor are the environments that counted for each subject, which has no
// labels of its own.
func (a *answers) countingFor(q Query) map[string]iterations.Environments {
	series := map[string][]prom.Series{}
	for _, s := range a.counting.Series {
		name := q.subject(s.Labels)
		series[name] = append(series[name], s)
	}
	out := make(map[string]iterations.Environments, len(series))
	for name, s := range series {
		out[name] = iterations.NewEnvironments(s, terms.FingerprintLabel)
	}
	return out
}

// bySubject parts the answers into those of each subject: what speaks of one has the
// labels that name it.
func (a *answers) bySubject(q Query) map[string]*answers {
	out, parts := map[string]*answers{}, map[string][]*prom.Answer{}
	for i, x := range a.all() {
		for _, s := range x.Series {
			name := q.subject(s.Labels)
			if name == "" {
				continue
			}
			if parts[name] == nil {
				out[name] = newAnswers(q)
				parts[name] = out[name].all()
			}
			parts[name][i].Series = append(parts[name][i].Series, s)
		}
	}
	return out
}

// evidence joins the answers; step is that of the histories.
func (a *answers) evidence(q Query, step time.Duration) iterations.Joins {
	label := q.Environment
	if label == "" && q.By == iterations.BySeries {
		label = terms.FingerprintLabel
	}
	return iterations.Joins{
		By: q.By, Numbers: iterations.NewJoin(a.numbers.Series), Times: iterations.NewJoin(a.times.Series),
		Environments: iterations.NewJoin(a.environments.Series), EnvironmentLabel: label, Step: step,
		Unquantized: iterations.NewJoin(a.unquantized.Series), Effective: iterations.NewJoin(a.effective.Series), Built: iterations.NewJoin(a.built.Series),
		Counting: iterations.NewJoin(a.counting.Series), Compared: iterations.NewJoin(a.compared.Series),
	}
}
