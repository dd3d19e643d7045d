package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/units"
)

// result is what a record measured, and how it changed.
func result(of history.Series, r history.Record, now time.Time) *Result {
	m := r.Measurement
	at := func(q float64) *float64 {
		if x, ok := m.Latency.At(q); ok {
			return num(x.Value)
		}
		return nil
	}
	x := &Result{
		Version: outside.Line(r.Version, 100), Iteration: r.Iteration, Finished: r.Finished.UTC(), Age: age(now, r.Finished),
		Mean: num(m.Latency.Mean), StdDev: num(m.Latency.StdDev), P50: at(0.5), P90: at(0.9), P95: at(0.95),
		Queries: m.Latency.Queries, Batch: m.Latency.Batch, Throughput: num(m.Throughput),
		Size: num(float64(m.Plan.SizeBytes)), Stable: m.Stable,
	}
	if q, ok := m.Latency.At(0.5); ok {
		x.P50Low, x.P50High = numOf(q.Low), numOf(q.High)
	}
	x.P99, x.Workloads = percentile99(m.Latency), workloadViews(m.Workloads)
	if a := m.Accuracy; a != nil {
		x.Deviation, x.Measure, x.Reference = num(a.Deviation), a.Measure, outside.Line(a.Reference, 100)
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
	case m.Stable, m.Disturbed(): // which says why itself
	case m.Telemetry != nil && m.Telemetry.Suffered > 0:
		x.Warnings = append(x.Warnings, fmt.Sprintf("not stable: the GPU was throttled in %s that count", units.Count(m.Telemetry.Suffered, "window")))
	default:
		x.Warnings = append(x.Warnings, fmt.Sprintf("not stable: %s did not agree with each other", units.Count(m.Windows, "window")))
	}
	if x.P99 == nil {
		x.Warnings = append(x.Warnings, fmt.Sprintf("no P99: it needs at least 459 queries; got %s", units.Number(float64(m.Latency.Queries))))
	}
	if l := m.Layers; l != nil && l.NoEffect != "" {
		x.NoEffect = outside.Line(l.Nothing(r.Precision), 300)
	}
	for _, w := range slices.Concat(m.Plan.Warnings, m.Warnings) {
		if x.NoEffect != "" && outside.Line(w, 300) == x.NoEffect {
			continue // which the row says itself
		}
		x.Warnings = append(x.Warnings, outside.Line(w, 300))
	}
	if d := m.Disturbance; d != nil {
		x.Disturbance = &Disturbance{Disturbed: m.Disturbed(), Share: d.Share, Cause: d.Cause, Discarded: d.Discarded}
	}
	x.Change = changeOf(of, r)
	if t, ok := m.Comparison.Of("throughput"); ok && x.Change != nil && x.Change.Paired {
		x.ThroughputChange = &ThroughputChange{
			Ratio: t.Ratio - 1, Low: t.Low - 1, High: t.High - 1, Verdict: t.Verdict, WithinRebuild: t.WithinRebuild, Text: pairText(t),
		}
	}
	return x
}

// percentile99 is the P99 of a latency with its evidence; nil when there is none.
func percentile99(l bench.Latency) *Percentile {
	q, ok := l.At(0.99)
	if !ok || num(q.Value) == nil {
		return nil
	}
	p := &Percentile{Value: q.Value, Queries: l.Queries, Low: numOf(q.Low), High: numOf(q.High)}
	if q.Upper != nil {
		p.Upper = num(*q.Upper)
	}
	return p
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
		say(e, "%.3g mJ per inference", 1e3)
	} else {
		say(e, "%.2f J per inference", 1)
	}
	if t.Discarded > 0 {
		parts = append(parts, units.Count(t.Discarded, "throttled window")+" discarded")
	}
	if len(parts) == 0 {
		return nil
	}
	x.Text = "GPU " + strings.Join(parts, ", ")
	return x
}

// changeOf compares r with the candidate before it: with the same precision when
// that was measured then (or, when it failed then, with its last good result),
// otherwise with that candidate's best engine. Where the two were timed in turns,
// that is what counts.
func changeOf(s history.Series, r history.Record) *Change {
	e := history.EntryOf(r)
	now, ok := p99(e)
	before, found := s.TrialBefore(e.Iteration)
	if !ok || !found || e.Iteration == 0 {
		return nil
	}
	old, found := before.Entry(e.Precision)
	if found && !old.OK() {
		old, found = s.Before(e.Precision, e.Iteration)
	}
	then, ok := 0.0, false
	if found {
		then, ok = p99(old)
	}
	if !ok {
		for x := range before.Entries() {
			if v, has := p99(x); has && (!ok || v < then) {
				old, then, ok = x, v, true
			}
		}
	}
	if !ok || then <= 0 {
		return nil
	}
	c := &Change{
		Ratio: now/then - 1, From: then, Version: outside.Line(old.Version, 100), Iteration: old.Iteration,
		Precision: old.Precision, Same: old.Precision == e.Precision,
	}
	pair := r.Measurement.Comparison
	x, ok := pair.Of("p99")
	switch {
	case ok && c.Same && pair.Digest == old.Digest:
		c.Ratio, c.Paired, c.Verdict, c.WithinRebuild = x.Ratio-1, true, x.Verdict, x.WithinRebuild
		c.Low, c.High = num(x.Low-1), num(x.High-1)
		c.Text = pairText(x)
	case e.Disturbed || old.Disturbed:
		c.Verdict, c.Text = bench.Inconclusive, "change unknown (disturbed)"
	default:
		c.Text = units.Change(c.Ratio) + " (unpaired)"
	}
	return c
}

// pairText says what a pair shows: "down 38 % (36-40 %)", "no change (within
// 1.2 %)", "change unclear (down 3 % to up 5 %)".
func pairText(x bench.Change) string {
	between := func() string { return units.Change(x.Low-1) + " to " + units.Change(x.High-1) }
	switch x.Verdict {
	case bench.Changed:
		s := units.ChangeWithin(x.Ratio-1, x.Low-1, x.High-1)
		if x.WithinRebuild {
			s += ", no more than building the same candidate twice changes"
		}
		return s
	case bench.Equivalent:
		return "no change (" + between() + ")"
	}
	return "change unclear (" + between() + ")"
}

// Class says whether the change is good or bad: "good", "bad" or "".
func (c Change) Class() string {
	switch {
	case !c.Significant():
		return ""
	case c.Ratio < 0:
		return "good"
	}
	return "bad"
}

// Significant reports whether the change is one: of a pair, that its interval
// clears the margin; of a plain quotient, that there is one at all.
func (c Change) Significant() bool {
	if c.Verdict != "" {
		return c.Verdict == bench.Changed
	}
	return math.Abs(c.Ratio) >= 0.001
}

func p99(e history.Entry) (float64, bool) {
	v, ok := e.Value("p99")
	return v, ok && num(v) != nil
}

// failure says why a record has no measurement.
func failure(r history.Record, now time.Time) *Failure {
	f := r.Failure
	v := &Failure{
		Kind: f.Kind, Title: kindTitle(f.Kind), Op: outside.Line(strings.TrimSpace(f.Op+" "+f.Subject), 200),
		Message: outside.Line(f.Message, 1000), Node: outside.Line(f.Node, 200), Operator: outside.Line(f.Operator, 100), Hint: outside.Line(f.Hint, 500),
		Version: outside.Line(r.Version, 100), Finished: r.Finished.UTC(), Age: age(now, r.Finished),
	}
	for _, l := range f.Log {
		v.Log = append(v.Log, outside.Line(l, 300))
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

// maxPoints is how many iterations of a series a view has at most.
const maxPoints = 100

// points are the newest iterations of a series, and whether there are more.
func points(s history.Series, most int) ([]History, bool) {
	candidates, truncated := s.Trials, false
	if len(candidates) > most {
		candidates, truncated = candidates[len(candidates)-most:], true
	}
	out := []History{}
	for _, p := range s.Precisions() {
		h := History{Precision: p, Points: []Point{}}
		for _, c := range candidates {
			e, ok := c.Entry(p)
			if !ok || e.Unsupported() {
				continue
			}
			x := Point{Iteration: c.Iteration, Version: outside.Line(c.Version, 100), Finished: e.Finished.Time()}
			if e.OK() {
				if v, ok := p99(e); ok {
					x.P99 = &v
				}
				if v, ok := e.Value("throughput"); ok {
					x.Throughput = num(v)
				}
			} else {
				x.Failure = e.Failure
			}
			h.Points = append(h.Points, x)
		}
		if len(h.Points) > 0 {
			out = append(out, h)
		}
	}
	return out, truncated
}
