package config

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/plancast/plancast/exporter/compare"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/units"
	"go.yaml.in/yaml/v3"
)

// Select names models by pattern and says which of a candidate's engines counts.
type Select struct {
	Models []string // names or shell patterns ("resnet*"); empty selects all

	// Where selects by the labels that a store knows of a model, in a fleet only;
	// the zero value selects all.
	Where terms.Selector

	// Precision is the engine that counts: one precision, or Best.
	Precision string
}

// Best selects, for each criterion of a candidate, the engine that meets all
// criteria, or else the one nearest to doing so.
const Best = "best"

// Matches reports whether the model named is selected.
func (s Select) Matches(model string) bool {
	if len(s.Models) == 0 {
		return true
	}
	for _, p := range s.Models {
		// Patterns were checked when the configuration was read.
		if ok, _ := path.Match(p, model); ok {
			return true
		}
	}
	return false
}

// Selects reports whether a model is selected that a store knows by these labels,
// and an exporter, where there are none, by its name.
func (s Select) Selects(name string, labels map[string]string) bool {
	return s.Matches(ModelName(name, labels)) && s.Where.Matches(labels)
}

// ModelName is what a model is called in its repository: in a fleet its label
// says so, since there its name says where it is measured as well.
func ModelName(name string, labels map[string]string) string { return cmp.Or(labels["model"], name) }

// Counts reports whether an engine of precision p is looked at.
func (s Select) Counts(p engine.Precision) bool {
	return s.Precision == Best || s.Precision == string(p)
}

// Target is what each new candidate must fulfil: plancast run exits with 1
// when one is missed.
type Target struct {
	Name string
	Select
	Criteria []forecast.Criterion // all must hold, for one and the same engine
	// Relative are the criteria about a baseline, which plancast run --baseline judges.
	Relative []compare.Criterion
}

// Milestone is a condition on many models, with a time.
type Milestone struct {
	Name        string
	Description string
	Select
	Criteria []forecast.Criterion
	// Share of the selected models that must meet all criteria, a ratio in (0,1].
	Share float64
	// Deadline is when the milestone is due; zero for none.
	Deadline time.Time
	// Horizon is how many further iterations count; 0 for no such limit.
	Horizon int
	// Ready is the probability at which the milestone counts as ready, a ratio in (0,1).
	Ready float64
	// Effort is what the team knows about the work on these models; the zero
	// value infers it from their histories.
	Effort forecast.EffortLevel
	// Environment is the fingerprint whose history counts; "" is the newest one.
	Environment string
}

// selection returns the fields that targets and milestones share.
// relative takes criteria about a baseline; nil refuses them.
func (c *Config) selection(d *decoder, s *Select, name *string, criteria *[]forecast.Criterion, relative *[]compare.Criterion) map[string]field {
	s.Precision = Best
	return map[string]field{
		"name": d.scalar(func(text string) error {
			if !labelValue(text) {
				return fmt.Errorf("%q cannot be a name: use up to 100 letters, digits, \"-\", \"_\", \".\" and spaces", text)
			}
			*name = text
			return nil
		}),
		"models":    d.models(&s.Models),
		"precision": d.oneOf(&s.Precision, Best, string(engine.FP32), string(engine.FP16), string(engine.INT8), string(engine.AsBuilt)),
		"criteria": d.nonEmpty(`a criterion such as "p99 < 50ms"`, d.scalar(func(text string) error {
			if relative != nil && compare.Relative(text) {
				r, err := compare.ParseCriterion(text)
				*relative = append(*relative, r)
				return cmp.Or(err, c.measured(r.Metric))
			}
			x, err := forecast.ParseCriterion(text, history.UnitOf)
			if err != nil {
				return err
			}
			if err := c.measured(x.Metric); err != nil {
				return err
			}
			if err := CheckCriterion(text, x); err != nil {
				return err
			}
			if slices.Contains(*criteria, x) {
				return fmt.Errorf("criterion %q is listed twice", text)
			}
			*criteria = append(*criteria, x)
			return nil
		})),
	}
}

func (c *Config) target(d *decoder, key string, n *yaml.Node) {
	var t Target
	d.mapping(key, n, c.selection(d, &t.Select, &t.Name, &t.Criteria, &t.Relative))
	d.complete(key, n)
	c.Targets = append(c.Targets, t)
}

func (c *Config) milestone(d *decoder, key string, n *yaml.Node) {
	m := Milestone{Share: terms.Share, Ready: terms.Ready}
	fields := c.selection(d, &m.Select, &m.Name, &m.Criteria, nil)
	maps.Copy(fields, map[string]field{
		"description": d.text(&m.Description),
		"share":       d.quantity(&m.Share, units.Ratio, 0.0001, 1),
		"horizon":     d.integer(&m.Horizon, 1, terms.MaxHorizon),
		"ready":       d.quantity(&m.Ready, units.Ratio, 0.01, 0.999),
		"effort": d.scalar(func(s string) error {
			m.Effort = forecast.EffortLevel(s)
			if s == "" || !m.Effort.Valid() {
				return fmt.Errorf("%q is not one of %s, %s: remove the key to infer it", s, forecast.Active, forecast.Maintenance)
			}
			return nil
		}),
		"environment": d.text(&m.Environment),
		"where":       func(key string, n *yaml.Node) { m.where(d, key, n) },
		"deadline": d.scalar(func(s string) error {
			t, err := terms.ParseDeadline(s, c.Location)
			m.Deadline = t
			return err
		}),
	})
	d.mapping(key, n, fields)
	d.complete(key, n)
	if n.Kind == yaml.MappingNode && !has(n, "deadline") && !has(n, "horizon") {
		d.errorf(n, key, `needs a deadline (such as "2027-01-31"), a horizon (a number of iterations), or both`)
	}
	c.Milestones = append(c.Milestones, m)
}

// maxSelector is how long a selector may be: it is published as a label.
const maxSelector = 200

// where reads a pattern, or a list of them, for each label.
func (m *Milestone) where(d *decoder, key string, n *yaml.Node) {
	d.each(key, n, func(label, key string, n *yaml.Node) {
		var patterns []string
		before := len(d.errs)
		d.patterns(&patterns)(key, n)
		switch {
		case !labelName(label):
			d.errorf(n, key, "%q is not the name of a label", label)
		case label == "model":
			d.errorf(n, key, "is what models selects by: write it there")
		case len(patterns) > 0 && len(d.errs) == before:
			m.Where = m.Where.With(label, patterns...)
		}
	})
	if len(m.Where.String()) > maxSelector {
		d.errorf(n, key, "is longer than %d bytes: use a pattern, or a label that groups what you mean", maxSelector)
	}
}

// complete reports what a target or milestone cannot do without.
func (d *decoder) complete(key string, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		return
	}
	if !has(n, "name") {
		d.errorf(n, key, "needs a name")
	}
	if !has(n, "criteria") {
		d.errorf(n, key, `needs criteria, such as ["p99 < 50ms"]`)
	}
}

// CheckCriterion refuses a criterion, which was written as text, that asks for a worse value of a quantity, or for one
// that it never has. Of a metric that plancast does not know nothing is refused.
func CheckCriterion(text string, c forecast.Criterion) error {
	q, err := history.QuantityByName(c.Metric)
	if err != nil {
		return nil
	}
	lower := c.Comparison.LowerIsBetter()
	if q.LowerIsBetter != lower {
		return fmt.Errorf("criterion %q asks for a worse %s: reverse the comparison", text, q.Title)
	}
	strict := c.Comparison == forecast.Below || c.Comparison == forecast.Above
	positive := c.Unit == units.Seconds || c.Unit == units.Bytes // a share may be 0, a time cannot
	switch {
	case lower && (c.Target < 0 || c.Target == 0 && (strict || positive)):
		return fmt.Errorf("criterion %q can never be met: a %s is never that small", text, q.Title)
	case !lower && c.Unit == units.Ratio && (c.Target > 1 || c.Target == 1 && strict):
		return fmt.Errorf("criterion %q can never be met: a %s is at most 100 %%", text, q.Title)
	}
	return nil
}
