package compare_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/compare"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
)

// measured is a record of a P99 in milliseconds whose interval reaches as far to
// each side, as a share.
func measured(version string, p99, half float64, edits ...func(*history.Record)) history.Record {
	low, high := p99/1e3*math.Exp(-half), p99/1e3*math.Exp(half)
	mlow, mhigh := 0.8*low, 0.8*high
	peak := int64(100 << 20)
	r := history.Record{
		ID: int64(len(version)), Model: "net", Version: version, Digest: "digest of " + version, Precision: engine.FP32, Fingerprint: "here",
		Environment: engine.Environment{Backend: "onnxruntime", BackendVersion: "1.32.0"},
		Measurement: &bench.Measurement{
			Stable: true, Throughput: 800 / p99,
			Latency: bench.Latency{Queries: 2000, Mean: 0.8 * p99 / 1e3, StdDev: 0.01 * p99 / 1e3, Quantiles: []bench.Quantile{
				{Q: 0.5, Value: 0.8 * p99 / 1e3, Low: &mlow, High: &mhigh}, {Q: 0.99, Value: p99 / 1e3, Low: &low, High: &high},
			}},
			Memory: engine.Memory{PeakBytes: &peak}, Accuracy: &bench.Accuracy{Deviation: 0.001},
			Plan: engine.Plan{SizeBytes: 1000},
		},
	}
	for _, f := range edits {
		f(&r)
	}
	return r
}

func disturbed(r *history.Record) {
	r.Measurement.Disturbance = &bench.Disturbance{Suffered: 1}
}

func elsewhere(r *history.Record) {
	r.Fingerprint, r.Environment.BackendVersion = "there", "1.33.0"
}

func deviates(v float64) func(*history.Record) {
	return func(r *history.Record) { r.Measurement.Accuracy.Deviation = v }
}

// turns gives a record the comparison with another that was timed in turns.
func turns(digest string, low, high float64) func(*history.Record) {
	return func(r *history.Record) {
		r.Measurement.Comparison = &bench.Comparison{Digest: digest, Changes: []bench.Change{{Quantity: "p99", Ratio: math.Sqrt(low * high), Low: low, High: high}}}
	}
}

func failed(r *history.Record) {
	r.Measurement, r.Failure = nil, &history.Failure{Error: engine.Error{Kind: engine.KindTimeout}}
}

var margin = compare.Options{Margin: 0.02}

func TestWhatTheIntervalsOfTwoResultsSay(t *testing.T) {
	for _, c := range []struct {
		name    string
		a, b    history.Record
		p99     compare.Verdict
		overall compare.Verdict
		says    string // of the row of P99 or of the obstacles
	}{
		{"much faster", measured("1", 10, 0.01), measured("2", 6, 0.01), compare.Improved, compare.Improved, ""},
		{"much slower", measured("1", 6, 0.01), measured("2", 10, 0.01), compare.Regressed, compare.Regressed, ""},
		{"the same, known closely", measured("1", 10, 0.005), measured("2", 10, 0.005), compare.Unchanged, compare.Unchanged, ""},
		{"the same, known loosely", measured("1", 10, 0.1), measured("2", 10, 0.1), compare.Undecided, compare.Undecided, "is too wide"},
		{"a little slower, known loosely", measured("1", 10, 0.1), measured("2", 10.5, 0.1), compare.Undecided, compare.Undecided, "is too wide"},
		{"the first disturbed", measured("1", 10, 0.01, disturbed), measured("2", 6, 0.01), compare.Undecided, compare.Undecided, "disturbed"},
		{"the second disturbed", measured("1", 10, 0.01), measured("2", 6, 0.01, disturbed), compare.Undecided, compare.Undecided, "disturbed"},
		{"another environment", measured("1", 10, 0.01), measured("2", 6, 0.01, elsewhere), compare.Undecided, compare.Undecided, "backend version 1.32.0 and 1.33.0"},
		{"another environment, timed in turns", measured("1", 10, 0.01), measured("2", 9, 0.01, elsewhere, turns("digest of 1", 0.5, 0.6)), compare.Improved, compare.Undecided, ""},
		{"timed in turns by the first", measured("2", 10, 0.01, turns("digest of 1", 0.5, 0.6)), measured("1", 10, 0.01), compare.Regressed, compare.Regressed, ""},
		{"disturbed, timed in turns", measured("1", 10, 0.01, disturbed), measured("2", 9, 0.01, disturbed, turns("digest of 1", 0.99, 1.01)), compare.Unchanged, compare.Undecided, ""},
		{"a failure", measured("1", 10, 0.01), measured("2", 10, 0.01, failed), compare.Undecided, compare.Undecided, "the second has no measurement"},
		{"the same result twice", measured("1", 10, 0.005, finished), measured("1", 10, 0.005, finished), compare.Undecided, compare.Undecided, "both are the same result"},
		{"faster and less exact", measured("1", 10, 0.01), measured("2", 6, 0.01, deviates(0.01)), compare.Improved, compare.Regressed, ""},
		{"less exact by what nobody sees", measured("1", 10, 0.005), measured("2", 10, 0.005, deviates(0.00105)), compare.Unchanged, compare.Unchanged, ""},
	} {
		r := compare.Results(c.a, c.b, margin)
		row, ok := r.Row("p99")
		if !ok || row.Verdict != c.p99 || r.Verdict != c.overall {
			t.Errorf("%s: P99 %s, all in all %s; want %s and %s", c.name, row.Verdict, r.Verdict, c.p99, c.overall)
		}
		if said := row.Why + strings.Join(r.Obstacles, " "); !strings.Contains(said, c.says) {
			t.Errorf("%s: %q; want %q", c.name, said, c.says)
		}
		if row.Verdict == compare.Undecided && row.Why == "" {
			t.Errorf("%s: undecided without a reason", c.name)
		}
	}
}

func finished(r *history.Record) { r.Finished = time.Date(2026, 11, 27, 8, 0, 0, 0, time.UTC) }

// chat has a P99 in milliseconds, known to a hundredth, under the workload of that name.
func chat(p99 float64) func(*history.Record) {
	return func(r *history.Record) {
		w := bench.WorkloadResult{Latency: &measured("1", p99, 0.01).Measurement.Latency, Answered: 200}
		w.Name = "chat"
		r.Measurement.Workloads = []bench.WorkloadResult{w}
	}
}

func TestWorkloadsAreComparedByTheirOwnIntervals(t *testing.T) {
	busy := func(r *history.Record) {
		r.Measurement.Workloads[0].Disturbance = &bench.Disturbance{Suffered: 1}
	}
	for _, c := range []struct {
		name string
		a, b history.Record
		want compare.Verdict
	}{
		{"faster", measured("1", 10, 0.01, chat(50)), measured("2", 10, 0.01, chat(30)), compare.Improved},
		{"slower", measured("1", 10, 0.01, chat(50)), measured("2", 10, 0.01, chat(60)), compare.Regressed},
		{"disturbed alone", measured("1", 10, 0.01, chat(50)), measured("2", 10, 0.01, chat(60), busy), compare.Undecided},
		{"quiet beside a disturbed engine", measured("1", 10, 0.01, chat(50), disturbed), measured("2", 10, 0.01, chat(60)), compare.Regressed},
		{"gone", measured("1", 10, 0.01, chat(50)), measured("2", 10, 0.01), compare.Undecided},
	} {
		row, ok := compare.Results(c.a, c.b, margin).Row("p99@chat")
		if !ok || row.Verdict != c.want || row.Title != "P99 latency of chat" {
			t.Errorf("%s: %+v, %t; want %s", c.name, row, ok, c.want)
		}
	}
}

// Whoever asks the other way round gets the opposite answer.
func TestAComparisonTurnedRoundSaysTheOpposite(t *testing.T) {
	opposite := map[compare.Verdict]compare.Verdict{
		compare.Regressed: compare.Improved, compare.Improved: compare.Regressed, compare.Unchanged: compare.Unchanged, compare.Undecided: compare.Undecided,
	}
	random := rand.New(rand.NewPCG(3, 3))
	seen := map[compare.Verdict]int{}
	for range 2000 {
		edits := []func(*history.Record){deviates(0.01 * float64(random.IntN(3)))}
		if random.IntN(3) == 0 {
			edits = append(edits, turns("digest of 1", 0.8+0.4*random.Float64(), 1.2+0.2*random.Float64()))
		}
		a := measured("1", 5+10*random.Float64(), 0.05*random.Float64(), deviates(0.01*float64(random.IntN(3))))
		b := measured("22", 5+10*random.Float64(), 0.05*random.Float64(), edits...)
		there, back := compare.Results(a, b, margin), compare.Results(b, a, margin)
		for i, row := range there.Rows {
			seen[row.Verdict]++
			other := back.Rows[i]
			if other.Verdict != opposite[row.Verdict] {
				t.Fatalf("%s: %s there, %s back: %+v %+v", row.Quantity, row.Verdict, other.Verdict, row.Change, other.Change)
			}
			if c, d := row.Change, other.Change; c != nil && d != nil && math.Abs(c.Ratio*d.Ratio-1) > 1e-9 {
				t.Fatalf("%s: ratios %g and %g", row.Quantity, c.Ratio, d.Ratio)
			}
		}
	}
	for v := range opposite {
		if seen[v] == 0 {
			t.Errorf("no row was %s", v)
		}
	}
}

// What building twice changed counts as noise.
func TestARebuildWidensTheInterval(t *testing.T) {
	a, b := measured("1", 10, 0.001), measured("2", 10.3, 0.001)
	if row, _ := compare.Results(a, b, margin).Row("p99"); row.Verdict != compare.Regressed {
		t.Fatalf("without a rebuild: %s", row.Verdict)
	}
	b.Measurement.Rebuild = &bench.Comparison{Changes: []bench.Change{{Quantity: "p99", Ratio: 1.05}}}
	if row, _ := compare.Results(a, b, margin).Row("p99"); row.Verdict != compare.Undecided {
		t.Errorf("with one that changed as much: %s", row.Verdict)
	}
}

func TestAResultWithoutIntervalsIsComparedAndDecidesNoTime(t *testing.T) {
	bare := func(r *history.Record) {
		r.Source = "a table"
		for i := range r.Measurement.Latency.Quantiles {
			r.Measurement.Latency.Quantiles[i].Low, r.Measurement.Latency.Quantiles[i].High = nil, nil
		}
	}
	r := compare.Results(measured("1", 10, 0.01, bare), measured("2", 5, 0.01), margin)
	row, _ := r.Row("p99")
	if row.Verdict != compare.Undecided || row.Change == nil || math.Abs(row.Change.Ratio-0.5) > 1e-9 || !slices.Contains(r.A.Marks, "imported") {
		t.Errorf("%+v, marks %v", row, r.A.Marks)
	}
}

func TestLayersThatChanged(t *testing.T) {
	with := func(precision engine.Precision) func(*history.Record) {
		return func(r *history.Record) {
			r.Measurement.Layers = &bench.LayerSummary{Layers: []engine.Layer{{Name: "conv", Precision: precision}}}
		}
	}
	r := compare.Results(measured("1", 10, 0.01, with(engine.FP32)), measured("2", 5, 0.01, with(engine.INT8)), margin)
	if r.Layers == nil || r.Layers.Counts[engine.PrecisionChanged] != 1 || len(r.Layers.Lines) != 1 {
		t.Errorf("%+v", r.Layers)
	}
	if r := compare.Results(measured("1", 10, 0.01), measured("2", 5, 0.01, with(engine.INT8)), margin); r.Layers != nil {
		t.Errorf("of unknown layers: %+v", r.Layers)
	}
}

func TestRefs(t *testing.T) {
	entry := func(id int64, version string, iteration int, p engine.Precision, p99 float64, fingerprint string) history.Entry {
		r := measured(version, p99, 0.01)
		r.ID, r.Iteration, r.Precision, r.Fingerprint = id, iteration, p, fingerprint
		return history.EntryOf(r)
	}
	entries := []history.Entry{
		entry(1, "1", 1, engine.FP32, 10, "old"), entry(2, "2", 2, engine.FP32, 9, "old"),
		entry(3, "2", 1, engine.FP32, 8, "new"), entry(4, "2", 1, engine.INT8, 5, "new"),
		entry(5, "3", 2, engine.FP32, 9, "new"), entry(6, "3", 2, engine.INT8, 4, "new"),
	}
	m := history.ByModel(entries)[0]
	for text, want := range map[string][]int64{
		"newest": {5, 6}, "base": {3, 4}, "best": {3, 6}, "version:2": {3, 4}, "version:1": {1}, "version:9": nil,
	} {
		ref, err := compare.ParseRef(text)
		if err != nil {
			t.Fatal(err)
		}
		found, err := ref.In(m)
		var got []int64
		for _, e := range found {
			got = append(got, e.ID)
		}
		if !slices.Equal(got, want) || (err != nil) != (want == nil) || ref.String() != text {
			t.Errorf("%s: %v, %v; want %v", ref, got, err, want)
		}
	}
	noisy := measured("1", 10, 0.01, disturbed)
	noisy.Iteration = 1
	if _, err := (compare.Ref{Which: compare.Best}).In(history.ByModel([]history.Entry{history.EntryOf(noisy)})[0]); err == nil || !strings.Contains(err.Error(), "all are disturbed") {
		t.Errorf("the best of disturbed results: %v", err)
	}
	for _, text := range []string{"", "0", "-1", "version:", "oldest", "1.5"} {
		if ref, err := compare.ParseRef(text); err == nil || !strings.Contains(err.Error(), "does not name a result") {
			t.Errorf("%q: %+v, %v", text, ref, err)
		}
	}
}

func FuzzParseRef(f *testing.F) {
	for _, s := range []string{"17", "version:3", "newest", "best", "base", "version:version:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := compare.ParseRef(s)
		if err != nil {
			return
		}
		if again, err := compare.ParseRef(ref.String()); err != nil || again != ref {
			t.Errorf("%q became %+v, %v", s, again, err)
		}
	})
}
