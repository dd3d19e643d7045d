// Package report turns evidence into a view, and a view into text, Markdown,
// JSON and a web page. Build and the renderers are pure: the same input gives
// the same bytes, and the time is part of the input. Every number is written
// by package units, so it looks the same in each form.
package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/verdict"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/units"
)

// maxPoints is how many iterations of a series a view keeps.
const maxPoints = 100

// threshold is what targets and milestones have in common.
type threshold struct {
	kind     ThresholdKind
	name     string
	sel      config.Select
	criteria []forecast.Criterion
	env      string
}

func thresholds(in Input) []threshold {
	var out []threshold
	for _, t := range in.Targets {
		out = append(out, threshold{KindTarget, t.Name, t.Select, t.Criteria, ""})
	}
	for _, m := range in.Milestones {
		out = append(out, threshold{KindMilestone, m.Name, m.Select, m.Criteria, m.Environment})
	}
	return out
}

// Build makes the view of in.
func Build(in Input) View {
	byName := map[string]history.Model{}
	v := View{
		SchemaVersion: SchemaVersion, Generated: in.Now.UTC(), Version: in.Version, Backend: in.Backend,
		Running: []JobView{}, Queue: []JobView{}, Milestones: []Milestone{}, Models: []Model{}, Gone: []string{},
	}
	if in.Track != nil && in.Track.Questions > 0 {
		v.Track = in.Track
	}
	present := map[string]bool{}
	for _, m := range in.Models {
		present[m.Name] = true
	}
	for _, m := range in.ByModel() {
		byName[m.Name] = m
		if !present[m.Name] {
			v.Gone = append(v.Gone, m.Name)
		}
	}
	v.Unmatched = in.Unmatched
	for _, r := range in.Refused {
		v.Refused = append(v.Refused, Refusal{oneLine(r.Name, 100), oneLine(r.Reason, 500)})
	}
	for _, j := range in.Running {
		v.Running = append(v.Running, jobView(j, in.Now))
	}
	for _, j := range in.Queue {
		v.Queue = append(v.Queue, jobView(j, in.Now))
	}
	if c := in.LastPass; c != nil {
		v.LastPass = &PassView{c.Finished.UTC(), c.Duration.Seconds()}
	}
	if !in.NextPass.IsZero() {
		v.NextPass = new(in.NextPass.UTC())
	}

	all := thresholds(in)
	models := slices.SortedFunc(slices.Values(in.Models), func(a, b ModelState) int { return cmp.Compare(a.Name, b.Name) })
	for _, state := range models {
		h, ok := byName[state.Name]
		b := builder{in: in, state: state, thresholds: all}
		if ok {
			b.history = &h
		}
		m := b.model()
		v.Models = append(v.Models, m)
		v.Summary.count(m)
	}
	v.Milestones = milestones(in, models, byName)
	return v
}

// Milestones says where each milestone stands; by is in.ByModel().
func Milestones(in Input, by []history.Model) []Milestone {
	byName := make(map[string]history.Model, len(by))
	for _, m := range by {
		byName[m.Name] = m
	}
	return milestones(in, in.Models, byName)
}

func milestones(in Input, models []ModelState, byName map[string]history.Model) []Milestone {
	out := []Milestone{}
	for _, m := range in.Milestones {
		out = append(out, milestone(in, m, models, byName))
	}
	return out
}

func (s *Summary) count(m Model) {
	s.Models++
	switch m.Status {
	case StatusMet:
		s.Met++
	case StatusMissed:
		s.Missed++
	case StatusFailed:
		s.Failed++
	case StatusNoResult:
		s.NoResult++
	}
	if slices.ContainsFunc(m.Rows, func(r Row) bool { return r.Result != nil }) {
		s.Measured++
	}
	s.Judged = s.Met + s.Missed
}

func jobView(j Job, now time.Time) JobView {
	v := JobView{Model: j.Model, Version: j.Version, Precision: j.Precision, Stage: oneLine(j.Progress.Stage, 60), Message: oneLine(j.Progress.Message, 200)}
	if p := j.Progress; p.Total > 0 {
		v.Progress = num(min(max(p.Done/p.Total, 0), 1))
	}
	if !j.Started.IsZero() {
		v.Elapsed = max(now.Sub(j.Started).Seconds(), 0)
	}
	return v
}

// builder makes the view of one model.
type builder struct {
	in         Input
	state      ModelState
	history    *history.Model
	thresholds []threshold
}

// expected are the precisions each candidate is measured at.
func expected(state ModelState, s history.Series) []engine.Precision {
	if len(state.Precisions) > 0 {
		return state.Precisions
	}
	return s.Precisions()
}

func (b builder) model() Model {
	m := Model{
		Name: b.state.Name, Owner: oneLine(b.state.Owner, 100), Status: StatusNoResult,
		Rows: []Row{}, Verdicts: []Verdict{}, History: []History{},
	}
	for _, v := range b.state.Versions {
		if v.State == Pending || v.State == Refused {
			m.Waiting = append(m.Waiting, VersionView{oneLine(v.Version, 100), v.State, oneLine(v.Reason, 500)})
		}
	}
	if b.history == nil {
		m.Headline = b.noResult(m)
		return m
	}
	s := b.history.Newest()
	m.Environment = &Environment{Environment: s.Environment, Fingerprint: s.Fingerprint, Text: environmentText(s.Environment), Since: s.First}
	m.Changed = environmentChange(*b.history)
	for _, c := range s.OutOfOrder {
		m.OutOfOrder = append(m.OutOfOrder, b.candidate(c))
	}
	current, ok := s.Current()
	if !ok {
		m.Headline = b.noResult(m)
		return m
	}
	m.Candidate = new(b.candidate(current))
	m.Rows = b.rows(s, current)
	m.Verdicts = b.verdicts(current)
	m.History, m.Truncated = points(s)
	m.Status = b.status(m, current, expected(b.state, s))
	m.Best = best(m)
	m.Headline = b.headline(m)
	return m
}

func (b builder) candidate(c history.Candidate) Candidate {
	v := Candidate{Version: oneLine(c.Version, 100), Digest: c.Digest, Iteration: c.Iteration, Finished: c.Finished().UTC()}
	switch i := slices.IndexFunc(b.state.Versions, func(x VersionState) bool { return x.Version == c.Version }); {
	case i < 0:
		v.Mark, v.Note = MarkWithdrawn, "version "+v.Version+" is no longer in the repository"
		if j := slices.IndexFunc(b.state.Versions, func(x VersionState) bool { return x.Digest != "" && x.Digest == c.Digest }); j >= 0 {
			v.Mark, v.Note = MarkRenamed, "the same file is now version "+oneLine(b.state.Versions[j].Version, 100)
		}
	case b.state.Versions[i].Digest != "" && b.state.Versions[i].Digest != c.Digest:
		v.Mark, v.Note = MarkReplaced, "another file has been put in place of version "+v.Version
	}
	if c.Iteration == 0 && v.Mark == "" {
		v.Mark, v.Note = MarkOutOfOrder, "came after a newer version: kept, but not an iteration"
	}
	return v
}

func (b builder) rows(s history.Series, c history.Candidate) []Row {
	precisions := slices.Clone(s.Precisions())
	for _, p := range b.state.Precisions {
		if !slices.Contains(precisions, p) {
			precisions = append(precisions, p)
		}
	}
	slices.SortFunc(precisions, func(x, y engine.Precision) int {
		return cmp.Compare(slices.Index(engine.Precisions, x), slices.Index(engine.Precisions, y))
	})
	rows := []Row{}
	for _, p := range precisions {
		r, ok := c.Record(p)
		row := Row{Precision: p}
		switch {
		case !ok && !slices.Contains(expected(b.state, s), p):
			continue // measured once, not wanted any more
		case !ok:
			row.State = RowWaiting
		case r.OK():
			row.State = RowMeasured
			row.Result = b.result(s, r)
			row.Verdicts = b.rowVerdicts(s, r)
		default:
			row.State = RowFailed
			if r.Unsupported() {
				row.State = RowUnsupported
			}
			row.Failure = b.failure(r)
		}
		if row.Result == nil {
			if g, ok := s.LastGood(p); ok {
				row.LastGood = b.result(s, g)
			}
		}
		rows = append(rows, row)
	}
	return rows
}

func (b builder) result(s history.Series, r history.Record) *Result {
	m := r.Measurement
	at := func(q float64) *float64 {
		if x, ok := m.Latency.At(q); ok {
			return num(x.Value)
		}
		return nil
	}
	x := &Result{
		Version: oneLine(r.Version, 100), Iteration: r.Iteration, Finished: r.Finished.UTC(), Age: age(b.in.Now, r.Finished),
		Mean: num(m.Latency.Mean), P50: at(0.5), P90: at(0.9), P95: at(0.95),
		Queries: m.Latency.Queries, Batch: m.Latency.Batch, Throughput: num(m.Throughput),
		Size: num(float64(m.Plan.SizeBytes)), Stable: m.Stable,
	}
	if q, ok := m.Latency.At(0.99); ok && num(q.Value) != nil {
		x.P99 = &Percentile{Value: q.Value, Queries: m.Latency.Queries}
		if q.Upper != nil {
			x.P99.Upper = num(*q.Upper)
		}
	}
	if a := m.Accuracy; a != nil {
		x.Deviation, x.Measure, x.Reference = num(a.Deviation), a.Measure, oneLine(a.Reference, 100)
		x.Top1, x.Top1Agreement = numOf(a.Top1), numOf(a.Top1Agreement)
	}
	if p := m.Memory.PeakBytes; p != nil {
		x.PeakMemory = num(float64(*p))
	}
	if !m.Plan.Reused {
		x.Build = num(m.Plan.Duration.Seconds())
	}
	x.Telemetry = telemetry(m)
	switch {
	case m.Stable:
	case m.Telemetry != nil && m.Telemetry.Suffered > 0:
		x.Warnings = append(x.Warnings, fmt.Sprintf("not stable: the GPU was throttled in %s that count", units.Count(m.Telemetry.Suffered, "window")))
	default:
		x.Warnings = append(x.Warnings, fmt.Sprintf("not stable: %s did not agree with each other", units.Count(m.Windows, "window")))
	}
	if x.P99 == nil {
		x.Warnings = append(x.Warnings, fmt.Sprintf("no P99: it takes 459 queries, there were %s", units.Number(float64(m.Latency.Queries))))
	}
	for _, w := range slices.Concat(m.Plan.Warnings, m.Warnings) {
		x.Warnings = append(x.Warnings, oneLine(w, 300))
	}
	x.Change = change(s, r)
	return x
}

func telemetry(m *bench.Measurement) *Telemetry {
	t := m.Telemetry
	if t == nil {
		return nil
	}
	x := &Telemetry{
		Utilization: numOf(t.Utilization), SMClock: numOf(t.SMClock), Power: numOf(t.Power), Temperature: numOf(t.Temperature), Discarded: t.Discarded,
	}
	if e, ok := m.EnergyPerInference(); ok {
		x.EnergyPerInference = num(e)
	}
	var parts []string
	say := func(v *float64, format string, scale float64) {
		if v != nil {
			parts = append(parts, fmt.Sprintf(format, *v*scale))
		}
	}
	say(x.Utilization, "busy %.0f %% of the time", 100)
	say(x.SMClock, "SMs at %.0f MHz", 1e-6)
	say(x.Temperature, "up to %.0f °C", 1)
	say(x.Power, "%.0f W", 1)
	if e := x.EnergyPerInference; e != nil && *e < 1 {
		say(e, "%.3g mJ an inference", 1e3)
	} else {
		say(e, "%.2f J an inference", 1)
	}
	if t.Discarded > 0 {
		parts = append(parts, units.Count(t.Discarded, "throttled window")+" thrown away")
	}
	if len(parts) == 0 {
		return nil
	}
	x.Text = "GPU " + strings.Join(parts, ", ")
	return x
}

// change compares r with the candidate before it: with the same precision when
// that was measured then (or, when it failed then, with its last good result),
// otherwise with that candidate's best engine.
func change(s history.Series, r history.Record) *Change {
	now, ok := p99(r)
	before, found := s.CandidateBefore(r.Iteration)
	if !ok || !found || r.Iteration == 0 {
		return nil
	}
	old, found := before.Record(r.Precision)
	if found && !old.OK() {
		old, found = s.Before(r.Precision, r.Iteration)
	}
	then, ok := p99(old)
	if !found || !ok {
		for _, x := range before.Records {
			if v, has := p99(x); has && (!ok || v < then) {
				old, then, ok = x, v, true
			}
		}
	}
	if !ok || then <= 0 {
		return nil
	}
	c := &Change{
		Ratio: now/then - 1, From: then, Version: oneLine(old.Version, 100), Iteration: old.Iteration,
		Precision: old.Precision, Same: old.Precision == r.Precision,
	}
	c.Text = units.Change(c.Ratio)
	return c
}

func p99(r history.Record) (float64, bool) {
	if !r.OK() {
		return 0, false
	}
	q, ok := r.Measurement.Latency.At(0.99)
	return q.Value, ok && num(q.Value) != nil
}

func (b builder) failure(r history.Record) *Failure {
	f := r.Failure
	v := &Failure{
		Kind: f.Kind, Title: KindTitle(f.Kind), Op: oneLine(strings.TrimSpace(f.Op+" "+f.Subject), 200),
		Message: oneLine(f.Message, 1000), Node: oneLine(f.Node, 200), Operator: oneLine(f.Operator, 100), Hint: oneLine(f.Hint, 500),
		Version: oneLine(r.Version, 100), Finished: r.Finished.UTC(), Age: age(b.in.Now, r.Finished),
	}
	for _, l := range f.Log {
		v.Log = append(v.Log, oneLine(l, 300))
	}
	return v
}

// Text is the failure in one line.
func (f Failure) Text() string {
	var s strings.Builder
	s.WriteString(f.Title)
	var where []string
	if f.Operator != "" {
		where = append(where, "operator "+f.Operator)
	}
	if f.Node != "" {
		where = append(where, "node "+f.Node)
	}
	if len(where) > 0 {
		s.WriteString(" (" + strings.Join(where, ", ") + ")")
	}
	if f.Message != "" {
		s.WriteString(": " + f.Message)
	}
	return s.String()
}

// KindTitle is a failure kind in words.
func KindTitle(k engine.Kind) string {
	switch k {
	case engine.KindInvalidModel:
		return "not a usable ONNX model"
	case engine.KindInvalidInput:
		return "inputs do not fit the model"
	case engine.KindUnsupportedInput:
		return "an input or output that cannot be measured"
	case engine.KindUnsupportedOperator:
		return "unsupported operator"
	case engine.KindUnsupportedPrecision:
		return "unsupported here"
	case engine.KindBuildFailed:
		return "the engine could not be built"
	case engine.KindRunFailed:
		return "the engine was built but does not run"
	case engine.KindOutOfMemory:
		return "out of memory"
	case engine.KindTimeout:
		return "took too long"
	case engine.KindCrashed:
		return "the worker crashed"
	case engine.KindAccuracy:
		return "wrong outputs"
	case engine.KindUnavailable:
		return "the runtime cannot be used"
	case engine.KindInternal:
		return "internal error"
	}
	return oneLine(string(k), 60)
}

func (b builder) rowVerdicts(s history.Series, r history.Record) []RowVerdict {
	var out []RowVerdict
	for _, t := range b.thresholds {
		if !t.sel.Matches(b.state.Name) || !t.sel.Counts(r.Precision) || (t.env != "" && t.env != s.Fingerprint) {
			continue
		}
		e := verdict.Judge(t.criteria, r)
		v := RowVerdict{Kind: t.kind, Name: t.name, Outcome: e.Outcome, Criteria: []CriterionView{}}
		for _, c := range e.Criteria {
			v.Criteria = append(v.Criteria, criterionView(c))
		}
		out = append(out, v)
	}
	return out
}

func criterionView(c verdict.Criterion) CriterionView {
	title := c.Metric
	if q, err := history.QuantityByName(c.Metric); err == nil {
		title = q.Title
	}
	return CriterionView{Text: c.String(), Metric: c.Metric, Title: title, Target: c.Target, Unit: c.Unit, Outcome: c.Outcome, Value: c.Value}
}

// judge answers one threshold for a model: a target speaks of the newest
// candidate, a milestone of the one that the model stands on.
func judge(t threshold, state ModelState, h *history.Model, current *history.Candidate) (Verdict, *verdict.Engine) {
	v := Verdict{Kind: t.kind, Name: t.name, Outcome: verdict.Unknown, P99Target: p99Target(t.criteria)}
	if h == nil {
		v.Why = "no result yet"
		return v, nil
	}
	s, ok := h.In(t.env)
	if !ok {
		v.Why = "no result in environment " + t.env
		return v, nil
	}
	wanted := expected(state, s)
	var c history.Candidate
	if t.kind == KindTarget {
		if current == nil {
			v.Why = "no result yet"
			return v, nil
		}
		c = *current
	} else if c, ok = verdict.Standing(t.sel, s, wanted); !ok {
		v.Why = "no measured engine yet"
		return v, nil
	}
	v.Version = oneLine(c.Version, 100)
	j := verdict.JudgeCandidate(t.sel, t.criteria, c)
	v.Outcome = j.Outcome
	if j.Engine != nil {
		v.Precision = j.Engine.Precision
	}
	switch {
	case v.Outcome == verdict.Met:
	case t.kind == KindTarget && !verdict.Through(t.sel, c, wanted):
		v.Outcome, v.Why = verdict.Unknown, "still being measured"
	case j.Engine == nil:
		v.Why = noEngine(t.sel, c)
	default:
		v.Why = why(*j.Engine)
	}
	return v, j.Engine
}

func noEngine(sel config.Select, c history.Candidate) string {
	for _, r := range c.Records {
		if sel.Counts(r.Precision) && r.Failure != nil && !r.Unsupported() {
			return fmt.Sprintf("%s failed: %s", r.Precision, KindTitle(r.Failure.Kind))
		}
	}
	for _, r := range c.Records {
		if sel.Counts(r.Precision) && r.Unsupported() {
			return fmt.Sprintf("%s is not supported here", r.Precision)
		}
	}
	return "no measured engine"
}

// why names what an engine misses, with value and target.
func why(e verdict.Engine) string {
	var parts []string
	for _, c := range e.Criteria {
		title := criterionView(c).Title
		switch c.Outcome {
		case verdict.Missed:
			parts = append(parts, fmt.Sprintf("%s %s, wanted %s %s", title, units.Format(*c.Value, c.Unit), c.Comparison, units.Format(c.Target, c.Unit)))
		case verdict.Unknown:
			parts = append(parts, title+" not measured")
		}
	}
	return strings.Join(parts, "; ")
}

func p99Target(criteria []forecast.Criterion) *float64 {
	for _, c := range criteria {
		if c.Metric == "p99" && c.Comparison.LowerIsBetter() {
			return num(c.Target)
		}
	}
	return nil
}

func (b builder) verdicts(current history.Candidate) []Verdict {
	out := []Verdict{}
	for _, t := range b.thresholds {
		if t.sel.Matches(b.state.Name) {
			v, _ := judge(t, b.state, b.history, &current)
			out = append(out, v)
		}
	}
	return out
}

// deciding are the verdicts that a model's status speaks of: its targets, or
// the milestones where it has no target.
func (m Model) deciding() []Verdict {
	for _, kind := range []ThresholdKind{KindTarget, KindMilestone} {
		var out []Verdict
		for _, v := range m.Verdicts {
			if v.Kind == kind {
				out = append(out, v)
			}
		}
		if len(out) > 0 {
			return out
		}
	}
	return nil
}

// decides tells whether the engine of precision p is why the model has not met
// a threshold: what the other engines miss is of no interest.
func (m Model) decides(p engine.Precision, of RowVerdict) bool {
	return slices.ContainsFunc(m.Verdicts, func(v Verdict) bool {
		return v.Kind == of.Kind && v.Name == of.Name && v.Precision == p && v.Outcome != verdict.Met
	})
}

func (b builder) status(m Model, c history.Candidate, expected []engine.Precision) Status {
	if !c.Measured() {
		if c.Complete(expected) {
			return StatusFailed
		}
		return StatusMeasuring
	}
	deciding := m.deciding()
	status := StatusMeasured
	for _, v := range deciding {
		switch {
		case v.Outcome == verdict.Missed:
			return StatusMissed
		case v.Outcome == verdict.Unknown:
			status = StatusUnknown
		case status == StatusMeasured:
			status = StatusMet
		}
	}
	if status != StatusMet && !c.Complete(expected) {
		return StatusMeasuring
	}
	return status
}

// best is the row to speak of: by the first threshold of the newest candidate the
// fastest engine that meets it, or the one that comes nearest; otherwise the one of
// the lowest P99.
func best(m Model) engine.Precision {
	for _, v := range m.deciding() {
		if row, _ := m.Row(v.Precision); m.Candidate == nil || v.Version != m.Candidate.Version || row.Result == nil {
			continue
		}
		if v.Outcome != verdict.Met {
			return v.Precision
		}
		met := fastest(m.Rows, func(r Row) *Result {
			if !slices.ContainsFunc(r.Verdicts, func(x RowVerdict) bool {
				return x.Kind == v.Kind && x.Name == v.Name && x.Outcome == verdict.Met
			}) {
				return nil
			}
			return r.Result
		})
		// A milestone of another environment judges none of these rows.
		return cmp.Or(met, v.Precision)
	}
	return fastest(m.Rows, func(r Row) *Result { return r.Result })
}

func fastest(rows []Row, of func(Row) *Result) engine.Precision {
	var p engine.Precision
	least := math.Inf(1)
	for _, r := range rows {
		x := of(r)
		if x == nil {
			continue
		}
		v := math.MaxFloat64
		if x.P99 != nil {
			v = x.P99.Value
		}
		if v < least {
			p, least = r.Precision, v
		}
	}
	return p
}

// Row returns the row of precision p.
func (m Model) Row(p engine.Precision) (Row, bool) {
	for _, r := range m.Rows {
		if r.Precision == p {
			return r, true
		}
	}
	return Row{}, false
}

func (b builder) noResult(m Model) string {
	s := m.Name + ": no result yet"
	for _, j := range b.in.Running {
		if j.Model == m.Name {
			return s + "; version " + oneLine(j.Version, 100) + " is being measured"
		}
	}
	for _, j := range b.in.Queue {
		if j.Model == m.Name {
			return s + "; version " + oneLine(j.Version, 100) + " is queued"
		}
	}
	if len(m.Waiting) > 0 {
		w := m.Waiting[len(m.Waiting)-1]
		s += fmt.Sprintf("; version %s is %s", w.Version, w.State)
		if w.Reason != "" {
			s += ": " + w.Reason
		}
	}
	return s
}

// headline is the result in one sentence.
func (b builder) headline(m Model) string {
	s := m.Name
	if m.Environment != nil {
		s += " on " + DeviceName(m.Environment.Device)
	}
	s += ": "
	if m.Best == "" {
		state := "failed"
		if m.Status == StatusMeasuring {
			state = "is being measured"
		}
		s += "version " + m.Candidate.Version + " " + state
		for _, r := range m.Rows {
			if r.State == RowFailed {
				s += ", " + r.Failure.Title
				break
			}
		}
		if g := lastGood(m); g != nil {
			s += fmt.Sprintf("; last good result: version %s, %s, %s", g.Version, latencyText(*g), units.Ago(seconds(g.Age)))
		}
		return s
	}
	row, _ := m.Row(m.Best)
	r := row.Result
	s += latencyText(*r)
	if len(m.Rows) > 1 {
		s += " with " + string(m.Best)
	}
	if c := r.Change; c != nil {
		s += " (" + c.Text
		if !c.Same {
			s += " from " + string(c.Precision)
		}
		s += ")"
	}
	if r.Throughput != nil {
		s += ", " + units.Format(*r.Throughput, units.PerSec)
	}
	if t := thresholdText(m); t != "" {
		s += ", " + t
	}
	return s
}

func lastGood(m Model) *Result {
	p := fastest(m.Rows, func(r Row) *Result { return r.LastGood })
	r, _ := m.Row(p)
	return r.LastGood
}

func latencyText(r Result) string {
	switch {
	case r.P99 != nil:
		return "P99 " + units.Format(r.P99.Value, units.Seconds)
	case r.Mean != nil:
		return "mean " + units.Format(*r.Mean, units.Seconds)
	}
	return "no latency"
}

// thresholdText says which thresholds are met: "meets the launch threshold".
func thresholdText(m Model) string {
	if m.Status == StatusMeasuring {
		return "still being measured"
	}
	names := map[verdict.Outcome][]string{}
	var reason string
	noun := "threshold"
	for _, v := range m.deciding() {
		names[v.Outcome] = append(names[v.Outcome], v.Name)
		if v.Outcome != verdict.Met && v.Why != "" && (reason == "" || v.Outcome == verdict.Missed) {
			reason = v.Why
		}
		if v.Kind == KindMilestone {
			noun = "milestone"
		}
	}
	var parts []string
	for _, x := range []struct {
		outcome verdict.Outcome
		words   string
	}{{verdict.Met, "meets the"}, {verdict.Missed, "misses the"}, {verdict.Unknown, "cannot be judged on the"}} {
		switch n := names[x.outcome]; len(n) {
		case 0:
		case 1:
			parts = append(parts, x.words+" "+n[0]+" "+noun)
		default:
			parts = append(parts, x.words+" "+and(n)+" "+noun+"s")
		}
	}
	s := strings.Join(parts, ", ")
	if reason != "" {
		s += " (" + reason + ")"
	}
	return s
}

func and(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

func points(s history.Series) ([]History, bool) {
	candidates, truncated := s.Candidates, false
	if len(candidates) > maxPoints {
		candidates, truncated = candidates[len(candidates)-maxPoints:], true
	}
	out := []History{}
	for _, p := range s.Precisions() {
		h := History{Precision: p, Points: []Point{}}
		for _, c := range candidates {
			r, ok := c.Record(p)
			if !ok || r.Unsupported() {
				continue
			}
			x := Point{Iteration: c.Iteration, Version: oneLine(c.Version, 100), Finished: r.Finished.UTC()}
			if r.OK() {
				if v, ok := p99(r); ok {
					x.P99 = &v
				}
				x.Throughput = num(r.Measurement.Throughput)
			} else {
				x.Failure = r.Failure.Kind
			}
			h.Points = append(h.Points, x)
		}
		if len(h.Points) > 0 {
			out = append(out, h)
		}
	}
	return out, truncated
}

func environmentText(e engine.Environment) string {
	parts := []string{strings.TrimSpace(backendTitle(e.Backend) + " " + e.BackendVersion), DeviceName(e.Device)}
	if e.Cores > 0 {
		parts = append(parts, units.Count(e.Cores, "core"))
	}
	if e.Governor != "" {
		parts = append(parts, "governor "+e.Governor)
	}
	if e.Driver != "" {
		parts = append(parts, "driver "+e.Driver)
	}
	if e.CUDA != "" {
		parts = append(parts, "CUDA "+e.CUDA)
	}
	return oneLine(strings.Join(append(parts, e.Platform), ", "), 300)
}

func backendTitle(name string) string {
	switch name {
	case "onnxruntime":
		return "ONNX Runtime"
	case "tensorrt":
		return "TensorRT"
	}
	return oneLine(name, 60)
}

// DeviceName shortens a device's name for a sentence: trade marks and the
// word CPU are left out.
func DeviceName(s string) string {
	s = strings.NewReplacer("(R)", "", "(r)", "", "(TM)", "", "(tm)", "", " CPU", "").Replace(s)
	if s = oneLine(s, 80); s == "" {
		return "an unnamed device"
	}
	return s
}

func environmentChange(m history.Model) *EnvironmentChange {
	if len(m.Series) < 2 {
		return nil
	}
	now, before := m.Newest(), m.Series[len(m.Series)-2]
	c := &EnvironmentChange{At: now.First.UTC(), From: before.Fingerprint}
	for _, s := range m.Series[:len(m.Series)-1] {
		c.Iterations += len(s.Candidates)
	}
	var what []string
	add := func(name, from, to string) {
		if from != to {
			what = append(what, fmt.Sprintf("%s %s became %s", name, cmp.Or(from, "unknown"), cmp.Or(to, "unknown")))
		}
	}
	a, b := before.Environment, now.Environment
	add("the backend", backendTitle(a.Backend), backendTitle(b.Backend))
	if a.Backend == b.Backend {
		add(backendTitle(b.Backend), a.BackendVersion, b.BackendVersion)
	}
	add("the device", DeviceName(a.Device), DeviceName(b.Device))
	if a.Cores != b.Cores {
		what = append(what, fmt.Sprintf("%s became %s", units.Count(a.Cores, "core"), units.Count(b.Cores, "core")))
	}
	add("the governor", a.Governor, b.Governor)
	add("the driver", a.Driver, b.Driver)
	add("CUDA", a.CUDA, b.CUDA)
	add("the platform", a.Platform, b.Platform)
	if len(what) == 0 {
		what = []string{"the benchmark settings or inputs changed"}
	}
	c.What = oneLine(strings.Join(what, ", "), 400)
	c.Text = fmt.Sprintf("New environment since %s: %s. %s measured before that are not compared.",
		c.At.Format("2 January 2006"), c.What, upperFirst(units.Count(c.Iterations, "iteration")))
	return c
}

func upperFirst(s string) string {
	for i, r := range s {
		return string(unicode.ToUpper(r)) + s[i+len(string(r)):]
	}
	return s
}

func milestone(in Input, m config.Milestone, models []ModelState, byName map[string]history.Model) Milestone {
	v := Milestone{
		Name: m.Name, Description: oneLine(m.Description, 500), Precision: m.Precision, Share: m.Share,
		Criteria: []string{}, Missing: []Missing{}, Horizon: m.Horizon, Threshold: m.Ready, Forecast: in.Forecasts[m.Name].short(),
	}
	t := threshold{KindMilestone, m.Name, m.Select, m.Criteria, m.Environment}
	type gap struct {
		Missing
		gap float64
	}
	var missing []gap
	for _, state := range models {
		if !m.Matches(state.Name) {
			continue
		}
		v.Total++
		var h *history.Model
		if x, ok := byName[state.Name]; ok {
			h = &x
		}
		j, e := judge(t, state, h, nil)
		if j.Outcome == verdict.Met {
			v.Ready++
			continue
		}
		g := gap{Missing{state.Name, j.Outcome, j.Why}, math.Inf(1)}
		if e != nil {
			g.gap = math.Inf(-1)
			for _, c := range e.Criteria {
				g.gap = max(g.gap, c.Gap())
			}
		}
		missing = append(missing, g)
	}
	slices.SortStableFunc(missing, func(a, b gap) int { return cmp.Compare(a.gap, b.gap) })
	for _, g := range missing {
		v.Missing = append(v.Missing, g.Missing)
	}
	// A share that comes out whole must not be rounded up by its last digit.
	v.Needed = int(math.Ceil(m.Share*float64(v.Total) - 1e-9))
	v.Met = v.Total > 0 && v.Ready >= v.Needed

	var words []string
	for _, c := range m.Criteria {
		v.Criteria = append(v.Criteria, c.String())
		title := c.Metric
		if q, err := history.QuantityByName(c.Metric); err == nil {
			title = q.Title
		}
		words = append(words, fmt.Sprintf("%s %s %s", title, comparisonWords(c.Comparison), units.Format(c.Target, c.Unit)))
	}
	v.Text = upperFirst(and(words))
	if m.Precision != config.Best && m.Precision != "" {
		v.Text += " with " + m.Precision
	}
	if v.Total == 1 {
		v.Text += " for 1 model"
	} else if m.Share >= 1 {
		v.Text += fmt.Sprintf(" for all of %s", units.Count(v.Total, "model"))
	} else {
		v.Text += fmt.Sprintf(" for at least %s of %s", units.Percent(m.Share), units.Count(v.Total, "model"))
	}
	if !m.Deadline.IsZero() {
		d := m.Deadline.UTC()
		v.Deadline, v.Remaining = &d, num(m.Deadline.Sub(in.Now).Seconds())
		v.Text += ", by " + m.Deadline.Format("2 January 2006") // in the zone it was given in
	}
	if m.Horizon > 0 {
		if !m.Deadline.IsZero() {
			v.Text += " and"
		}
		v.Text += " within " + units.Count(m.Horizon, "further iteration")
	}
	return v
}

func comparisonWords(c forecast.Comparison) string {
	switch c {
	case forecast.Below:
		return "below"
	case forecast.AtMost:
		return "at most"
	case forecast.Above:
		return "above"
	case forecast.AtLeast:
		return "at least"
	}
	return string(c)
}

// ExitCode is that of plancast run: the targets of every model selected by
// only (nil for all); a candidate without any result counts as undecided, and
// so does a target without any model.
// Milestones have no say in it.
func (v View) ExitCode(only func(model string) bool) int {
	var outcomes []verdict.Outcome
	for _, u := range v.Unmatched {
		if u.Kind == KindTarget {
			outcomes = append(outcomes, verdict.Unknown) // a gate that guards nothing
		}
	}
	for _, m := range v.Models {
		if only != nil && !only(m.Name) {
			continue
		}
		if m.Status == StatusFailed {
			outcomes = append(outcomes, verdict.Unknown)
		}
		for _, x := range m.Verdicts {
			if x.Kind == KindTarget {
				outcomes = append(outcomes, x.Outcome)
			}
		}
	}
	return verdict.ExitCode(outcomes)
}

// num is a pointer to x, or nil when x is no number that can be shown.
func num(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

func numOf(p *float64) *float64 {
	if p == nil {
		return nil
	}
	return num(*p)
}

func age(now, then time.Time) float64 { return now.Sub(then).Seconds() }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// oneLine makes outside text safe to show anywhere: control characters and
// runs of white space become one space, invalid UTF-8 is replaced, characters
// that change the direction of text are dropped, and it is cut after limit
// characters.
func oneLine(s string, limit int) string {
	var b strings.Builder
	n, space := 0, false
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			space = true
			continue
		case unicode.Is(unicode.Bidi_Control, r) || unicode.Is(unicode.Cf, r):
			continue
		}
		if n >= limit {
			b.WriteString("…")
			return b.String()
		}
		if space && n > 0 {
			b.WriteByte(' ')
			n++
		}
		space = false
		b.WriteRune(r)
		n++
	}
	return b.String()
}
