package standing

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/gains"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/forecast"
)

// State is where everything stands at one moment. It is never changed once it
// is made, so any number of readers may hold it.
type State struct {
	Now        time.Time
	Models     []*Model         // in the repository, by name
	Gone       []string         // models of the history that the repository no longer holds, by name
	Absences   []Absence        // models that thresholds are about and the repository lacks
	Refused    []Refusal        // folders that cannot be models
	Milestones []MilestoneState // in the order of the configuration
	Track      *forecast.Score
	Backend    Backend
	Activity   Activity
	Gains      []gains.Gain // what each kind of change did to the models, the best first
	By         []string     // the labels that tell the models of a fleet apart; nil on an exporter
}

// Model is one model with its newest candidate in the environment that counts.
// It is shared by states until something of it changes.
type Model struct {
	Held
	Labels  map[string]string // what a store knows of it; nil on an exporter
	History history.Model
	// Series is the history in the environment that counts: that of the current
	// configuration and machine where it has an entry of the model, else that of
	// the newest measured result, else that of the newest entry. It is empty
	// without any entry.
	Series   history.Series
	Current  *history.Trial // the newest; nil before the first
	Status   Status
	Verdicts []Verdict // of the thresholds that select the model: targets first, then milestones
	Totals   Totals

	records map[int64]history.Record
	tried   tried // of each kind of change
}

// Record is the full record of an entry: of the newest trial in each
// environment, and of the last good result of each precision there. It is false
// for others: they are in the store only.
func (m *Model) Record(e history.Entry) (history.Record, bool) {
	r, ok := m.records[e.ID]
	return r, ok
}

// Change is what is known of the change that led to the newest candidate; nil when
// nothing is.
func (m *Model) Change() *change.Change {
	if m.Current == nil {
		return nil
	}
	for e := range m.Current.Entries() {
		if r, ok := m.Record(e); ok {
			return r.Change
		}
	}
	return nil
}

// Environment is what the results of a series were measured on. It is false
// when the series has no entry.
func (m *Model) Environment(s history.Series) (history.Record, bool) {
	return m.Record(s.Newest)
}

// Verdict is the answer of the threshold, and false when it does not select the model.
func (m *Model) Verdict(k Kind, name string) (Verdict, bool) {
	for _, v := range m.Verdicts {
		if v.Threshold.Kind == k && v.Threshold.Name == name {
			return v, true
		}
	}
	return Verdict{}, false
}

// Deciding are the verdicts that a model's status speaks of: its targets, or
// the milestones where it has no target.
func (m *Model) Deciding() []Verdict {
	n := slices.IndexFunc(m.Verdicts, func(v Verdict) bool { return v.Threshold.Kind != KindTarget })
	if n <= 0 {
		return m.Verdicts // of one kind
	}
	return m.Verdicts[:n]
}

// Status sums a model up in one word.
type Status string

// The statuses of a model. The first that applies holds.
const (
	StatusNoResult  Status = "no_result" // no job ended yet in the environment that counts
	StatusFailed    Status = "failed"    // the newest candidate failed altogether
	StatusMeasuring Status = "measuring" // the newest candidate is not through yet
	StatusMissed    Status = "missed"    // a threshold is missed
	StatusUnknown   Status = "unknown"   // a threshold cannot be judged
	StatusUndecided Status = "undecided" // a threshold is undecided: the machine was disturbed
	StatusMet       Status = "met"       // every threshold is met
	StatusMeasured  Status = "measured"  // there is no threshold for this model
)

// MilestoneState is where a milestone stands.
type MilestoneState struct {
	config.Milestone
	ModelsTotal  int // that count: those of the repository and those that are absent
	ModelsReady  int
	ModelsNeeded int
	Met          bool // exactly where State is forecast.Met
	State        forecast.State
	Members      []Member  // models that count, by name
	Missing      []Missing // those of them that are not ready, the nearest first
	// Forecast is nil without any model, and where it could not be made.
	Forecast *Forecast
}

// Member is a model that counts for a milestone.
type Member struct {
	Model  string
	Ready  bool
	Absent bool // the repository lacks it
}

// Missing is a model that a milestone waits for.
type Missing struct {
	Model string
	Verdict
}

// derive makes the state of one model, all but its forecasts.
func (m *Model) derive(all []Threshold) {
	m.Series = m.counting()
	m.Current, m.Verdicts, m.Status = nil, nil, StatusNoResult
	if current, ok := m.Series.Current(); ok {
		m.Current = &current
	}
	for _, t := range all {
		if t.Selects(m.Name, m.Labels) {
			m.Verdicts = append(m.Verdicts, m.judge(t))
		}
	}
	m.Status = m.status()
}

// counting is the series of the environment that counts.
func (m *Model) counting() history.Series {
	if s, ok := m.History.In(m.Fingerprint); ok {
		return s
	}
	best, newest := history.Series{}, int64(0)
	for _, s := range m.History.Series {
		id := int64(0)
		for _, t := range s.Trials {
			for e := range t.Entries() {
				if e.OK() {
					id = max(id, e.ID)
				}
			}
		}
		if id >= newest { // of those with nothing measured the newest
			best, newest = s, id
		}
	}
	return best
}

// judge answers one threshold for the model.
func (m *Model) judge(t Threshold) Verdict {
	v := Verdict{Threshold: t, Outcome: Unknown}
	s := m.Series
	if t.Environment != "" {
		var ok bool
		if s, ok = m.History.In(t.Environment); !ok && len(m.History.Series) > 0 {
			v.Reason = OtherEnvironment
			return v
		}
	}
	switch {
	case t.Kind == KindTarget && m.Current == nil, len(s.Trials) == 0:
		v.Reason = NoResult
		return v
	case t.Kind == KindTarget:
		v.Trial, v.Engine = m.Current, Judge(t.Select, t.Criteria, *m.Current)
	default:
		w := workspaces.Get().(*workspace)
		defer workspaces.Put(w)
		x := stands(w.iterations(t, s, m.Precisions, never, never)) // no further back than it stands
		if x == nil {
			v.Reason = NoEngine
			for i := range slices.Backward(s.Trials) {
				if broughtNothing(t.Select, s.Trials[i]) {
					v.Reason, v.Trial = NoEffect, new(s.Trials[i])
					break
				}
			}
			return v
		}
		v.Trial, v.Engine = new(x.trial), x.engine.clone() // which is memory of w
	}
	switch {
	case v.Engine != nil && v.Engine.Outcome == Met:
		v.Outcome = Met
	case t.Kind == KindTarget && !through(t.Select, *v.Trial, m.Precisions):
		v.Reason = StillMeasuring
	case v.Engine == nil && broughtNothing(t.Select, *v.Trial):
		v.Reason = NoEffect
	case v.Engine == nil:
		v.Reason = NoEngine
	default:
		v.Outcome = v.Engine.Outcome
	}
	return v
}

// never is later than every entry.
var never = time.Unix(0, 1<<63-1)

func (m *Model) status() Status {
	c := m.Current
	switch {
	case c == nil:
		return StatusNoResult
	case !c.Measured() && c.Complete(m.Precisions):
		return StatusFailed
	case !c.Measured():
		return StatusMeasuring
	}
	status := StatusMeasured
	for _, v := range m.Deciding() {
		switch {
		case v.Outcome == Missed:
			return StatusMissed
		case v.Outcome == Unknown:
			status = StatusUnknown
		case v.Outcome == Undecided && status != StatusUnknown:
			status = StatusUndecided
		case status == StatusMeasured:
			status = StatusMet
		}
	}
	if status != StatusMet && !c.Complete(m.Precisions) {
		return StatusMeasuring
	}
	return status
}

// shown are the entries whose full records are kept: those of the newest two
// candidates, since the newest may not be through yet, and the last good ones.
func shown(h history.Model) map[int64]bool {
	out := map[int64]bool{}
	for _, s := range h.Series {
		out[s.Newest.ID] = true
		for _, c := range s.Trials[max(0, len(s.Trials)-2):] {
			for e := range c.Entries() {
				out[e.ID] = true
			}
		}
		for _, p := range engine.AllPrecisions {
			if e, ok := s.LastGood(p); ok {
				out[e.ID] = true
			}
		}
	}
	return out
}

// milestone derives where a milestone stands, all but its forecast.
func milestone(m config.Milestone, members []member) MilestoneState {
	out := MilestoneState{Milestone: m, ModelsTotal: len(members), State: forecast.InsufficientData}
	for _, x := range members {
		v := Verdict{Outcome: Unknown, Reason: Absent}
		if x.model != nil {
			v, _ = x.model.Verdict(KindMilestone, m.Name)
		}
		out.Members = append(out.Members, Member{x.name, v.Outcome == Met, x.model == nil})
		if v.Outcome == Met {
			out.ModelsReady++
		} else {
			out.Missing = append(out.Missing, Missing{x.name, v})
		}
	}
	gap := func(x Missing) float64 {
		if x.Engine == nil {
			return math.Inf(1)
		}
		return x.Engine.Gap()
	}
	slices.SortStableFunc(out.Missing, func(a, b Missing) int { return cmp.Compare(gap(a), gap(b)) })
	out.ModelsNeeded = forecast.Needed(m.Share, out.ModelsTotal)
	out.Met = out.ModelsTotal > 0 && out.ModelsReady >= out.ModelsNeeded
	return out
}

// check holds a forecast to the verdicts: both come from the same iterations,
// so a difference is a fault of this package.
func (m MilestoneState) check() error {
	if m.Forecast != nil && (m.Forecast.Met != m.Met || (m.State == forecast.Met) != m.Met) {
		return fmt.Errorf("milestone %s: %d of %d models are ready by their verdicts and %d by the forecast", m.Name, m.ModelsReady, m.ModelsTotal, m.Forecast.ModelsReady)
	}
	return nil
}

// At is the state as somebody sees it later, while something else goes on.
func (s *State) At(now time.Time, a Activity) *State {
	later := *s
	later.Now, later.Activity = now.UTC(), a
	return &later
}
