// Package report writes a state down for people: Build turns it into a view, and
// the renderers turn a view into text, Markdown, JSON and a web page. All of
// them are pure: the same state gives the same bytes. They decide nothing; what
// is met, ready or current is decided by package standing. Every number is
// written by package units, so it looks the same in each form.
package report

import (
	"cmp"
	"slices"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/exporter/standing"
)

// Selection is which models a view shows; the zero value is all of them.
// Everything else of the view is about all models.
type Selection struct {
	Model string // this one only
	After string // those whose names come later, as the page before ends with it
	Limit int    // at most this many; 0: all
	// Iterations is how many of the newest each model's history has; 0: 100.
	Iterations int
}

// Build makes the view of a state.
func Build(s *standing.State) View { return BuildPart(s, Selection{}) }

// BuildPart makes the view of a state that shows some of its models. Of a
// repository of hundreds a page costs what it shows.
func BuildPart(s *standing.State, of Selection) View {
	v := View{
		SchemaVersion: SchemaVersion, Generated: s.Now, Fleet: s.By != nil, Backend: s.Backend,
		Running: []JobView{}, Queue: []JobView{}, Milestones: []MilestoneView{}, Models: []ModelView{}, Gone: []string{},
	}
	if s.Track != nil && s.Track.Questions > 0 {
		v.Track = s.Track
	}
	v.Gone = append(v.Gone, s.Gone...)
	for _, a := range s.Absences {
		v.absent(a)
	}
	for _, r := range s.Refused {
		v.Refused = append(v.Refused, standing.Refusal{Name: outside.Line(r.Name, 100), Reason: outside.Line(r.Reason, 500)})
	}
	for _, g := range s.Gaps() {
		v.Gaps = append(v.Gaps, gap(g, v.Fleet))
	}
	for _, j := range s.Activity.Running {
		v.Running = append(v.Running, jobView(j, s.Now))
	}
	for _, j := range s.Activity.Queue {
		v.Queue = append(v.Queue, jobView(j, s.Now))
	}
	if c := s.Activity.LastPass; c != nil {
		v.LastPass = &PassView{c.Finished.UTC(), c.Duration.Seconds()}
	}
	if next := s.Activity.NextPass; !next.IsZero() {
		v.NextPass = new(next.UTC())
	}
	for _, m := range s.Models {
		v.Summary.count(m.Status, m.Current != nil && m.Current.Measured())
		switch {
		case of.Model != "" && m.Name != of.Model, m.Name <= of.After:
		case of.Limit > 0 && len(v.Models) == of.Limit:
			v.Next = v.Models[of.Limit-1].Name
		default:
			v.Models = append(v.Models, modelView(m, s, of.Iterations))
		}
	}
	for _, g := range s.Gains {
		if g.Known() {
			v.Gains = append(v.Gains, gainView(g))
		}
	}
	for _, m := range s.Milestones {
		v.Milestones = append(v.Milestones, milestoneView(m, s.Now, v.Fleet))
	}
	return v
}

// labels are those of a model of a fleet, fit to be shown.
func labels(m *standing.Model) map[string]string {
	if m.Labels == nil {
		return nil
	}
	out := make(map[string]string, len(m.Labels))
	for name, v := range m.Labels {
		out[name] = outside.Line(v, 200)
	}
	return out
}

// count counts a model; measured says that its newest candidate has a result.
func (s *Summary) count(status standing.Status, measured bool) {
	s.Models++
	switch status {
	case standing.StatusMet:
		s.Met++
	case standing.StatusMissed:
		s.Missed++
	case standing.StatusFailed:
		s.Failed++
	case standing.StatusNoResult:
		s.NoResult++
	}
	if measured {
		s.Measured++
	}
	s.Judged = s.Met + s.Missed
}

func jobView(j standing.Job, now time.Time) JobView {
	v := JobView{Model: j.Model, Version: j.Version, Precision: j.Precision, Stage: outside.Line(j.Progress.Stage, 60), Message: outside.Line(j.Progress.Message, 200)}
	if p := j.Progress; p.Total > 0 {
		v.Progress = num(min(max(p.Done/p.Total, 0), 1))
	}
	if !j.Started.IsZero() {
		v.Elapsed = max(now.Sub(j.Started).Seconds(), 0)
	}
	return v
}

// modelView is the view of one model of a state, with that many iterations; 0 is the
// most that a view has.
func modelView(m *standing.Model, s *standing.State, iterations int) ModelView {
	v := ModelView{
		Name: m.Name, Owner: outside.Line(m.Owner, 100), Labels: labels(m), Status: m.Status,
		Rows: []Row{}, Verdicts: []VerdictView{}, History: []History{},
	}
	for _, x := range m.Versions {
		if x.State == standing.Pending || x.State == standing.Refused {
			v.Waiting = append(v.Waiting, VersionView{outside.Line(x.Version, 100), x.State, outside.Line(x.Reason, 500)})
		}
	}
	if r, ok := m.Environment(m.Series); ok {
		v.Environment = &Environment{Environment: r.Environment, Fingerprint: r.Fingerprint, Text: environmentText(r.Environment), Since: m.Series.First}
		v.Changed = environmentChange(m)
	}
	for _, t := range m.Series.OutOfOrder {
		v.OutOfOrder = append(v.OutOfOrder, candidateView(m, t))
	}
	if m.Current == nil {
		v.Headline = noResult(v, s.Activity)
		return v
	}
	v.Candidate = new(candidateView(m, *m.Current))
	if s.By != nil { // a store does not know what a repository holds
		v.Candidate.Mark, v.Candidate.Note = "", ""
	}
	v.Candidate.Change = m.Change()
	v.Rows = rows(m, s.Now)
	v.Verdicts = verdictViews(m)
	v.History, v.Truncated = points(m.Series, cmp.Or(iterations, maxPoints))
	if v.Truncated && iterations > 0 {
		v.More = modelLink(m.Name)
	}
	v.Room = roomView(m, s)
	v.Best = best(v)
	v.Headline = headline(v)
	return v
}

// candidateView says what has become of a candidate's version since it was tried.
func candidateView(m *standing.Model, c history.Trial) CandidateView {
	v := CandidateView{Version: outside.Line(c.Version, 100), Digest: c.Digest, Iteration: c.Iteration, Finished: c.Finished().UTC()}
	switch i := slices.IndexFunc(m.Versions, func(x standing.Version) bool { return x.Version == c.Version }); {
	case i < 0:
		v.Mark, v.Note = MarkWithdrawn, "version "+v.Version+" is no longer in the repository"
		if j := slices.IndexFunc(m.Versions, func(x standing.Version) bool { return x.Digest != "" && x.Digest == c.Digest }); j >= 0 {
			v.Mark, v.Note = MarkRenamed, "the same file is now version "+outside.Line(m.Versions[j].Version, 100)
		}
	case m.Versions[i].Digest != "" && m.Versions[i].Digest != c.Digest:
		v.Mark, v.Note = MarkReplaced, "another file replaced version "+v.Version
	}
	if c.Iteration == 0 && v.Mark == "" {
		v.Mark, v.Note = MarkOutOfOrder, "came after a newer version: kept, but not an iteration"
	}
	return v
}

// rows are the precisions of the newest candidate.
func rows(m *standing.Model, now time.Time) []Row {
	s, c := m.Series, *m.Current
	precisions, expected := s.Precisions(), c.Expected(m.Precisions)
	for _, p := range expected {
		if !slices.Contains(precisions, p) {
			precisions = append(precisions, p)
		}
	}
	slices.SortFunc(precisions, func(x, y engine.Precision) int {
		return cmp.Compare(slices.Index(engine.AllPrecisions, x), slices.Index(engine.AllPrecisions, y))
	})
	out := []Row{}
	for _, p := range precisions {
		row := Row{Precision: p}
		e, ok := c.Entry(p)
		if !ok && !slices.Contains(expected, p) {
			continue // other candidates have it
		}
		switch r, known := m.Record(e); {
		case !ok || !known:
			row.State = RowWaiting
		case r.OK():
			row.State = RowMeasured
			row.Result = result(s, r, now)
			row.Verdicts = rowVerdicts(m, c, e)
		default:
			row.State = RowFailed
			if r.Unsupported() {
				row.State = RowUnsupported
			}
			row.Failure = failure(r, now)
		}
		if row.Result == nil {
			if g, ok := s.LastGood(p); ok {
				if r, ok := m.Record(g); ok {
					row.LastGood = result(s, r, now)
				}
			}
		}
		out = append(out, row)
	}
	return out
}

// Row returns the row of precision p.
func (m ModelView) Row(p engine.Precision) (Row, bool) {
	for _, r := range m.Rows {
		if r.Precision == p {
			return r, true
		}
	}
	return Row{}, false
}
