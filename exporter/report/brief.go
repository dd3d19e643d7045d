package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/units"
)

// Of is the view of some models, as plancast run --model and a page of one model
// show it. Milestones stand as they stand: those that are about these models.
func (v View) Of(only func(model string) bool) View {
	one := View{
		SchemaVersion: v.SchemaVersion, Generated: v.Generated, Version: v.Version, Backend: v.Backend, LastPass: v.LastPass, NextPass: v.NextPass,
		Running: []JobView{}, Queue: []JobView{}, Milestones: []MilestoneView{}, Track: v.Track, Models: []ModelView{}, Gone: []string{},
	}
	concerned := map[string]bool{}
	for _, m := range v.Models {
		if only(m.Name) {
			one.Models = append(one.Models, m)
			one.Summary.count(m.Status, slices.ContainsFunc(m.Rows, func(r Row) bool { return r.Result != nil }))
			for _, x := range m.Verdicts {
				concerned[x.Name] = concerned[x.Name] || x.Kind == standing.KindMilestone
			}
		}
	}
	for _, m := range v.Milestones {
		if concerned[m.Name] || slices.ContainsFunc(m.Missing, func(x Missing) bool { return only(x.Model) }) {
			one.Milestones = append(one.Milestones, m)
		}
	}
	for _, j := range v.Running {
		if only(j.Model) {
			one.Running = append(one.Running, j)
		}
	}
	for _, j := range v.Queue {
		if only(j.Model) {
			one.Queue = append(one.Queue, j)
		}
	}
	for _, name := range v.Gone {
		if only(name) {
			one.Gone = append(one.Gone, name)
		}
	}
	for _, a := range v.Absent {
		if only(a.Model) {
			one.Absent = append(one.Absent, a)
		}
	}
	for _, g := range v.Gaps {
		if only(g.Model) {
			one.Gaps = append(one.Gaps, g)
		}
	}
	return one
}

// Describe writes down one model of a state: what the report says of it, and
// what a notification takes from there.
func Describe(m *standing.Model, s *standing.State) ModelView { return modelView(m, s, 0) }

// HeadlineText is the newest result in one sentence.
func (m ModelView) HeadlineText() string { return m.Headline }

// EnvironmentText says how the environment changed; "" when it did not.
func (m ModelView) EnvironmentText() string {
	if m.Changed == nil {
		return ""
	}
	return m.Changed.Text
}

// ChangeText says what the change was that led to the newest candidate, with its
// link; "" when that is not known.
func (m ModelView) ChangeText() string {
	c := m.change()
	return strings.TrimSpace(c.Text() + " " + c.Link)
}

func (m ModelView) change() change.Change {
	if m.Candidate == nil || m.Candidate.Change == nil {
		return change.Change{}
	}
	return *m.Candidate.Change
}

// FailureTexts says which precisions of the newest candidate failed, and why.
func (m ModelView) FailureTexts() []string {
	var out []string
	for _, r := range m.Rows {
		if r.State == RowFailed && r.Failure != nil {
			out = append(out, fmt.Sprintf("%s failed: %s", r.Precision, r.Failure.Text()))
		}
	}
	return out
}

// WarningTexts are the precisions that had no effect, and reasons not to trust the
// result in the headline.
func (m ModelView) WarningTexts() []string {
	var out []string
	for _, r := range m.Rows {
		// The headline says it of its own engine.
		if r.Result != nil && r.Result.NoEffect != "" && r.Precision != m.Best {
			out = append(out, r.Result.NoEffect)
		}
	}
	if row, ok := m.Row(m.Best); ok && row.Result != nil {
		out = append(out, row.Result.Warnings...)
	}
	return out
}

// LastGoodText is the newest good result in words; "" without one.
func (m ModelView) LastGoodText() string {
	var newest *Result
	for _, r := range m.Rows {
		if x := r.Shown(); x != nil && (newest == nil || x.Iteration > newest.Iteration) {
			newest = x
		}
	}
	if newest == nil || newest.P99 == nil {
		return ""
	}
	return fmt.Sprintf("version %s, P99 %s", newest.Version, units.Format(newest.P99.Value, units.Seconds))
}
