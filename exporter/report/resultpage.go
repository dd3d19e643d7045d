package report

import (
	_ "embed"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/chart"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/units"
)

//go:embed resultpage.html
var resultPageText string

var resultPageTemplate = parse("result", resultPageText)

// OneResult is all that the page of a result is made of.
type OneResult struct {
	Record history.Record // with its layers
	// Entries are those of the model in the record's environment, ascending by ID.
	Entries []history.Entry
	Now     time.Time
	Samples bool // the latencies of its queries are kept
}

// mostLayers is how many layers of an engine the page lists.
const mostLayers = 400

type resultPage struct {
	frame
	ID                      int64
	Model, Version, Digest  string
	Precision               engine.Precision
	Iteration               int
	Started, Finished, Made time.Time
	Took                    float64
	State                   ResultState
	Note, Source            string
	WhatChanged             *change.Change
	Result                  *Result
	Failure                 *Failure
	Measurement             *bench.Measurement
	Percentiles             []percentileLine
	Histogram               chart.Histogram
	Comparison              []comparisonLine
	Against                 string
	Layers                  []engine.Layer
	MoreLayers              int
	LayerCounts             []string
	LayerChanges            []string
	Environment             string
	Fingerprint             string
	Settings                string
	Samples                 bool
	Workloads               workloadTable
	Before, After           int64 // neighbors of the same precision; 0 without one
}

type percentileLine struct {
	Name, Value, Interval, Bound string
}

type comparisonLine struct {
	Quantity, Text string
	Verdict        bench.Verdict
}

// WriteResultPage writes the page of a result.
func WriteResultPage(w io.Writer, in OneResult, docsURL string) error {
	r := in.Record
	e := history.EntryOf(r)
	p := resultPage{
		frame: newFrame(fmt.Sprintf("%s version %s %s · plancast", r.Model, outside.Line(r.Version, 100), r.Precision), docsURL, "../"),
		ID:    r.ID, Model: r.Model, Version: outside.Line(r.Version, 100), Digest: r.Digest, Precision: r.Precision, Iteration: r.Iteration,
		Started: r.Started, Finished: r.Finished, Made: r.CandidateTime, Took: r.Duration().Seconds(), State: stateOf(e), Note: standsAside(r),
		Source: outside.Line(r.Source, 200), WhatChanged: r.Change, Measurement: r.Measurement, Environment: environmentText(r.Environment),
		Fingerprint: r.Fingerprint, Settings: settingsText(r.Settings), Samples: in.Samples,
	}
	var series history.Series
	for _, m := range history.ByModel(in.Entries) {
		series, _ = m.In(r.Fingerprint)
	}
	p.Before, p.After = neighbors(in.Entries, e)
	if r.OK() {
		p.Result = result(series, r, in.Now)
		p.measured(r)
		p.Workloads = newWorkloadTable(workloadLines([]Row{{Precision: r.Precision, Result: p.Result}}))
	} else {
		p.Failure = failure(r, in.Now)
	}
	return resultPageTemplate.Execute(w, p)
}

// neighbors are the results of the same precision just before and after, in the
// order of iterations; 0 without one.
func neighbors(entries []history.Entry, e history.Entry) (before, after int64) {
	var least, most history.Entry
	for _, x := range entries {
		switch {
		case x.Precision != e.Precision || !x.Counts() || x.Iteration == 0 || x.Iteration == e.Iteration:
		case x.Iteration < e.Iteration && (most.ID == 0 || x.Iteration >= most.Iteration):
			most = x
		case x.Iteration > e.Iteration && (least.ID == 0 || x.Iteration < least.Iteration):
			least = x
		}
	}
	return most.ID, least.ID
}

func (p *resultPage) measured(r history.Record) {
	m := r.Measurement
	p.Histogram = chart.Histogram{ID: "histogram", Title: "Latency of single queries", Buckets: m.Latency.Buckets, Factor: math.Exp2(math.Exp2(-bench.BucketSchema))}
	for _, q := range m.Latency.Quantiles {
		name := percentileName(q.Q)
		line := percentileLine{Name: name, Value: units.Format(q.Value, units.Seconds), Interval: none, Bound: none}
		switch {
		case q.Low != nil && q.High != nil:
			line.Interval = units.Format(*q.Low, units.Seconds) + " to " + units.Format(*q.High, units.Seconds)
		case q.Low != nil:
			line.Interval = "from " + units.Format(*q.Low, units.Seconds)
		}
		if q.Upper != nil {
			line.Bound = "≤ " + units.Format(*q.Upper, units.Seconds)
		}
		p.Percentiles = append(p.Percentiles, line)
		if q.Q == 0.5 || q.Q == 0.99 {
			p.Histogram.Marks = append(p.Histogram.Marks, chart.Mark{Value: q.Value, Text: name + " " + line.Value})
		}
	}
	if c := m.Comparison; c != nil {
		p.Against = outside.Line(c.Version, 100)
		for _, x := range c.Changes {
			p.Comparison = append(p.Comparison, comparisonLine{x.Quantity, pairText(x), x.Verdict})
		}
	}
	if l := m.Layers; l != nil {
		p.Layers = l.Layers[:min(len(l.Layers), mostLayers)]
		p.MoreLayers = len(l.Layers) - len(p.Layers)
		for _, precision := range engine.Precisions {
			if n := l.ByPrecision[precision]; n > 0 {
				p.LayerCounts = append(p.LayerCounts, fmt.Sprintf("%d %s", n, precision))
			}
		}
		if l.Changes != nil {
			for _, line := range l.Changes.Lines {
				p.LayerChanges = append(p.LayerChanges, outside.Line(line, 300))
			}
		}
	}
}

func percentileName(q float64) string {
	return "P" + strings.TrimSuffix(fmt.Sprintf("%g", math.Round(q*1e6)/1e4), ".0")
}

// settingsText are the settings that are not their zero value.
func settingsText(s engine.Settings) string {
	var parts []string
	say := func(ok bool, format string, args ...any) {
		if ok {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	say(s.Threads > 0, "%s", units.Count(s.Threads, "thread"))
	say(s.GraphOptimization != "", "graph optimization %s", s.GraphOptimization)
	say(s.WorkspaceBytes > 0, "workspace %s", units.Format(float64(s.WorkspaceBytes), units.Bytes))
	if s.OptimizationLevel != nil {
		say(true, "optimization level %d", *s.OptimizationLevel)
	}
	for _, x := range []struct {
		on   bool
		name string
	}{
		{s.TF32, "TF32"}, {s.FP16Fallback, "FP16 fallback"}, {s.CUDAGraph, "CUDA graph"}, {s.SpinWait, "spin wait"}, {s.Transfers, "with transfers"},
		{s.HardwareCompatible, "hardware compatible"},
	} {
		say(x.on, "%s", x.name)
	}
	if b := s.ProfileBatch; b != nil {
		say(true, "built for batches %d to %d, best for %d", b.Min, b.Max, b.Opt)
	}
	return outside.Line(strings.Join(parts, ", "), 500)
}

// Accuracy says in words how the outputs compare with the reference; "" when they
// were not compared.
func (p resultPage) Accuracy() string {
	a := p.Measurement.Accuracy
	if a == nil {
		return ""
	}
	s := fmt.Sprintf("%s from %s (%s) over %s", quantity(num(a.Deviation), units.Ratio), outside.Line(a.Reference, 100), strings.ReplaceAll(a.Measure, "_", " "), units.Count(a.Samples, "sample"))
	if a.NaNs+a.Infs > 0 {
		s += fmt.Sprintf("; %d NaN, %d infinite", a.NaNs, a.Infs)
	}
	return s
}

// Ordinal counts from 1.
func (p resultPage) Ordinal(i int) int { return i + 1 }

// Tags are the free tags of the change, by name.
func (p resultPage) Tags() (out []option) {
	if p.WhatChanged == nil {
		return nil
	}
	for name, value := range p.WhatChanged.Tags {
		out = append(out, option{name, value})
	}
	slices.SortFunc(out, func(a, b option) int { return strings.Compare(a.Value, b.Value) })
	return out
}
