package fleet

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/common/model"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/tsdb"
	"github.com/plancast/plancast/tsdb/iterations"
)

// failed stands for the kind of a failure that a store does not know.
const failed engine.Kind = "unknown"

// records are the history of a subject as its exporter recorded it, as far as a
// store knows: one for each engine of each candidate, in order of time. What a
// store does not know of a measurement is absent.
func (t texts) records(s tsdb.Measured) []history.Record {
	var out []history.Record
	last := map[string]int{} // iteration, by environment
	before := map[result]history.Record{}
	candidates := s.Candidates()
	shown := make([]int, len(s.Engines)) // the candidate whose result each engine's metrics show
	for i, c := range candidates {
		for k, step := range c.Steps {
			if step != nil && !step.Guessed {
				shown[k] = i
			}
		}
	}
	for i, c := range candidates {
		it := c.Iteration()
		// A count that started over goes on: two candidates are two iterations.
		number := max(int(it.Number), last[it.Environment]+1)
		last[it.Environment] = number
		for k, step := range c.Steps {
			if step == nil {
				continue
			}
			e := s.Engines[k]
			r := history.Record{
				ID: int64(len(out) + 1), Model: s.Name, Precision: engine.Precision(e.Precision), Backend: e.Backend, Device: e.Device,
				Fingerprint: step.Environment, Environment: environment(s.Environments[step.Environment], e), Iteration: number,
				Started: step.Time, Finished: step.Time,
			}
			if i == shown[k] {
				r.Version, r.Digest = s.Live[e.Precision].Version, s.Live[e.Precision].Digest
			}
			if r.Version == "" { // what a store would have to keep a series of each candidate for
				r.Version, r.Digest = t.unnamed(step.Environment, number)
			}
			if step.Guessed {
				r.Failure = unknownFailure()
			} else {
				r.Measurement = measurement(step, s.Quantities, r.Precision)
				r.Measurement.Comparison = comparison(step, func(number float64) (history.Record, bool) {
					b, ok := before[result{k, step.Environment, number}]
					return b, ok
				})
				before[result{k, step.Environment, step.Number}] = r
			}
			out = append(out, r)
		}
	}
	if s.Environment != "" && last[s.Environment] == 0 {
		out = append(out, t.failures(s.Subject, s.Environments[s.Environment], len(out))...)
	}
	return out
}

// texts hold each text once, for all models: a fleet has many candidates, and few
// numbers of iterations.
type texts map[string]string

// unnamed is what stands for a candidate that the store does not name.
func (t texts) unnamed(environment string, iteration int) (version, digest string) {
	return t.once(fmt.Sprintf("of iteration %d", iteration)), t.once(fmt.Sprintf("%s/%d", environment, iteration))
}

func (t texts) once(s string) string {
	if known, ok := t[s]; ok {
		return known
	}
	t[s] = s
	return s
}

// result names a result as its exporter published it.
type result struct {
	engine      int
	environment string
	number      float64
}

// comparison is what a pair showed of a step; nil where it was not timed in turns with a
// result that the store knows.
func comparison(s *iterations.Step, before func(number float64) (history.Record, bool)) *bench.Comparison {
	var out *bench.Comparison
	for i, q := range terms.Quantities() {
		p := s.Pairs[i]
		if p == nil {
			continue
		}
		b, ok := before(p.Against)
		if !ok {
			return nil
		}
		if out == nil {
			out = &bench.Comparison{Version: b.Version, Digest: b.Digest, Iteration: b.Iteration}
		}
		verdict := bench.Inconclusive // or equivalent: a store knows only that it is no certain change
		if p.Changed {
			verdict = bench.Changed
		}
		out.Changes = append(out.Changes, bench.Change{Quantity: q.Name, Ratio: p.Ratio, Low: p.Low, High: p.High, Verdict: verdict})
	}
	return out
}

// failures stand for those in the environment that counts, where no result is: it
// counts for an exporter from the first record on. Nothing else is known of them
// where the environment is on another device.
func (t texts) failures(s tsdb.Subject, l model.Metric, before int) []history.Record {
	var out []history.Record
	for _, p := range precisions(s) {
		e := tsdb.Engine{Precision: string(p), Backend: string(l["backend"]), Device: string(l["device"])}
		version, digest := t.unnamed(s.Environment, 1)
		out = append(out, history.Record{
			ID: int64(before + len(out) + 1), Model: s.Name, Version: version, Digest: digest,
			Precision: p, Backend: e.Backend, Device: e.Device, Fingerprint: s.Environment, Environment: environment(l, e), Iteration: 1,
			Started: s.Since, Finished: s.Since, Failure: unknownFailure(),
		})
	}
	return out
}

// unknownFailure is one whose reason the store does not hold.
func unknownFailure() *history.Failure {
	return &history.Failure{Error: engine.Error{Kind: failed, Op: "measure", Message: "the exporter recorded a failure: its own report says why"}}
}

// measurement is what the values of a step say of one.
func measurement(s *iterations.Step, quantities []terms.Quantity, p engine.Precision) *bench.Measurement {
	m := &bench.Measurement{Stable: true}
	for i, q := range quantities {
		v := s.Values[i]
		name, workload := terms.SplitWorkload(q.Name)
		switch {
		case math.IsNaN(v):
		case workload != "":
			putWorkload(m, workload, name, v)
		case !math.IsInf(v, 0):
			put[q.Name](m, v)
		}
		if s.Disturbed[i] {
			disturb(m, workload)
		}
	}
	if p == engine.INT8 {
		const most = 1 << 16 // layers: a figure from outside makes no list of any length
		m.Layers = &bench.LayerSummary{Unquantized: make([]string, min(max(s.Unquantized, 0), most))}
	}
	if s.NoEffect {
		m.Layers = cmp.Or(m.Layers, &bench.LayerSummary{})
		m.Layers.NoEffect = "nothing in the engine computes in it, as the exporter reports"
	}
	return m
}

// put says where a measurement holds each quantity; history.Quantities reads it
// back from there.
var put = map[string]func(*bench.Measurement, float64){
	"mean":               func(m *bench.Measurement, v float64) { m.Latency.Mean = v },
	"p50":                quantile(0.5),
	"p90":                quantile(0.9),
	"p95":                quantile(0.95),
	"p99":                quantile(0.99),
	"throughput":         func(m *bench.Measurement, v float64) { m.Throughput = v },
	"top1":               func(m *bench.Measurement, v float64) { accuracy(m).Top1 = &v },
	"accuracy_deviation": func(m *bench.Measurement, v float64) { accuracy(m).Deviation = v },
	"memory":             func(m *bench.Measurement, v float64) { m.Memory.PeakBytes = new(int64(v)) },
	"size":               func(m *bench.Measurement, v float64) { m.Plan.SizeBytes = int64(v) },
	"build_duration":     func(m *bench.Measurement, v float64) { m.Plan.Duration = time.Duration(v * float64(time.Second)) },
}

// disturb says that other work disturbed the measurement, or that of a workload.
func disturb(m *bench.Measurement, workload string) {
	d := &bench.Disturbance{Suffered: 1, Cause: "other work, as the exporter reports"}
	if workload == "" {
		m.Stable, m.Disturbance = false, d
	} else if w := m.Workload(workload); w != nil {
		w.Stable, w.Disturbance = false, d
	}
}

// putWorkload is put for a quantity of a workload. A latency without end is that of a
// saturated one.
func putWorkload(m *bench.Measurement, workload, quantity string, v float64) {
	w := m.Workload(workload)
	if w == nil {
		m.Workloads = append(m.Workloads, bench.WorkloadResult{})
		w = &m.Workloads[len(m.Workloads)-1]
		w.Name, w.Stable = workload, true
	}
	if math.IsInf(v, 0) {
		w.Saturated = true
		return
	}
	w.SetFigure(quantity, v)
}

func quantile(q float64) func(*bench.Measurement, float64) {
	return func(m *bench.Measurement, v float64) {
		m.Latency.Quantiles = append(m.Latency.Quantiles, bench.Quantile{Q: q, Value: v})
	}
}

func accuracy(m *bench.Measurement) *bench.Accuracy {
	if m.Accuracy == nil {
		m.Accuracy = &bench.Accuracy{}
	}
	return m.Accuracy
}

// environment is what is known of the one that an engine was measured in.
func environment(l model.Metric, e tsdb.Engine) engine.Environment {
	cores, _ := strconv.Atoi(string(l["cores"]))
	return engine.Environment{
		Backend: e.Backend, BackendVersion: string(l["backend_version"]), Device: e.Device, Cores: cores, Governor: string(l["governor"]),
		Driver: string(l["driver"]), CUDA: string(l["cuda"]), Platform: string(l["platform"]),
	}
}

// precisions are those that a subject's exporter publishes, most exact first.
func precisions(s tsdb.Subject) []engine.Precision {
	var out []engine.Precision
	for _, p := range engine.AllPrecisions {
		if _, ok := s.Live[string(p)]; ok {
			out = append(out, p)
		}
	}
	return slices.Clip(out)
}
