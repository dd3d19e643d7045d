package bench

import (
	"context"
	"encoding/json"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/fake"
	"github.com/plancast/plancast/exporter/engine/onnxruntime"
	"github.com/plancast/plancast/exporter/engine/onnxruntime/runtimetest"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
	"github.com/plancast/plancast/exporter/tensorio"
	"github.com/plancast/plancast/exporter/workload"
)

// batches is a mix of batches, each of the same weight.
func batches(sizes ...int64) (mix []workload.Shape) {
	for _, n := range sizes {
		mix = append(mix, workload.Shape{Weight: 1, Dims: map[string]int64{workload.Batch: n}})
	}
	return mix
}

func chat(rate float64, mix ...workload.Shape) workload.Workload {
	return workload.Workload{Name: "chat", Shapes: mix, Rate: rate, Burstiness: 1, Concurrency: 1}
}

// under measures a fake engine whose call takes 1 ms for each sample of a batch.
func under(t *testing.T, w workload.Workload, with ...func(*run)) (Measurement, WorkloadResult) {
	t.Helper()
	j := job(t, fake.Script{PerSample: true})
	j.Options.Workloads = []workload.Workload{w}
	m, err := Measure(context.Background(), fake.New(), j, nil, with...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := json.Marshal(m); err != nil {
		t.Errorf("it does not travel as JSON: %v", err)
	}
	return m, m.Workloads[0]
}

func TestAWorkloadLeavesAllOtherFiguresAsTheyAre(t *testing.T) {
	j := job(t, fake.Script{Jitter: 0.1})
	plain, err := Measure(context.Background(), fake.New(), j, nil)
	if err != nil {
		t.Fatal(err)
	}
	j.Options.Workloads = []workload.Workload{chat(100, batches(1, 4)...)}
	m, err := Measure(context.Background(), fake.New(), j, nil)
	if err != nil {
		t.Fatal(err)
	}
	if m.Workload("chat") == nil || m.Workload("other") != nil {
		t.Fatalf("workloads %+v", m.Workloads)
	}
	m.Workloads = nil
	if !reflect.DeepEqual(m, plain) {
		t.Errorf("with a workload\n%+v\nwithout\n%+v", m, plain)
	}
}

func TestAnOpenLoopHasItsRateAndCountsTheWaiting(t *testing.T) {
	_, w := under(t, chat(300, batches(1)...))
	if w.Failure != nil || w.Saturated || math.Abs(w.Capacity-1000) > 1 || math.Abs(w.Answered/300-1) > 0.1 {
		t.Fatalf("%#v", w)
	}
	p50, ok := w.Latency.At(0.5)
	if !ok || p50.Value != 0.001 {
		t.Errorf("P50 %+v: more than half of the requests find the engine free", p50)
	}
	// Pollaczek and Khinchine at a load of 0.3, within what some thousand requests show.
	want := 0.3 / (2 * 0.7) * 0.001
	if math.Abs(w.Wait.Mean/want-1) > 0.3 || math.Abs(w.Latency.Mean-w.Wait.Mean-0.001) > 1e-9 {
		t.Errorf("mean waiting %v of %v, the formula says %v", w.Wait.Mean, w.Latency.Mean, want)
	}
	if b := w.Mix[0].BackToBack; b == nil || *b != 0.001 {
		t.Errorf("back to back a call takes %v", b)
	}
	if w.Goodput != nil || w.HighestRate != nil {
		t.Errorf("goodput %v and highest rate %v without a limit", w.Goodput, w.HighestRate)
	}
}

func TestAMixHasTheTimesOfEachShape(t *testing.T) {
	_, w := under(t, chat(0, batches(1, 4)...))
	if len(w.Mix) != 2 || w.Mix[0].P50 != 0.001 || w.Mix[1].P50 != 0.004 || w.Mix[1].Shape != "batch 4" {
		t.Errorf("mix %+v", w.Mix)
	}
	if b := w.Mix[0].BackToBack; b != nil {
		t.Errorf("a closed loop is compared with itself: %v", *b)
	}
	if w.Wait != nil || math.Abs(w.Answered-400) > 10 || math.Abs(w.Latency.Mean-0.0025) > 0.0001 {
		t.Errorf("a closed loop of 1 ms and 4 ms answers %v a second, mean %v, waiting %v", w.Answered, w.Latency.Mean, w.Wait)
	}
}

func TestWhatCannotBeServedIsSaidAtOnce(t *testing.T) {
	w := chat(2000, batches(1)...)
	w.Within = 5 * time.Millisecond
	_, got := under(t, w)
	if !got.Saturated || got.Latency != nil || got.Windows != 0 || math.Abs(got.Answered-1000) > 1 || *got.Goodput != 0 {
		t.Errorf("%#v", got)
	}
	if !slices.Equal(got.Warnings, []string{"cannot serve 2,000/s; keeps up to 1,000/s"}) {
		t.Errorf("warnings %q", got.Warnings)
	}
	for figure, want := range map[string]float64{"p99": math.Inf(1), "mean": math.Inf(1), "rate": 1000, "goodput": 0} {
		if v, ok := got.Figure(figure); !ok || math.Abs(v-want) > 1 {
			t.Errorf("%s is %v, %t; want %v", figure, v, ok, want)
		}
	}
}

func TestARejectedShapeFailsItsWorkloadAlone(t *testing.T) {
	for name, c := range map[string]struct {
		shape workload.Shape
		want  string
	}{
		"a size that the model fixes": {workload.Shape{Weight: 1, Dims: map[string]int64{"x/1": 7}}, "with x/1 7: dimension 1 is fixed to 4"},
		"a dimension that nobody has": {workload.Shape{Weight: 1, Dims: map[string]int64{"sequence": 7}}, `with sequence 7: no input has a dimension "sequence": name a symbolic dimension of the model, or one by input and position`},
		"more than can be generated":  {workload.Shape{Weight: 1, Dims: map[string]int64{workload.Batch: 1 << 30}}, "with batch 1073741824: 4294967296 elements are too many to generate: make its dimensions smaller"},
	} {
		m, w := under(t, chat(100, c.shape))
		if w.Failure == nil || !strings.Contains(w.Failure.Error(), c.want) {
			t.Errorf("%s: %v", name, w.Failure)
		}
		if strings.Contains(w.Failure.Error(), "inputs were generated") {
			t.Errorf("%s: its inputs are not why: %v", name, w.Failure)
		}
		if len(m.Latency.Quantiles) == 0 {
			t.Errorf("%s: the candidate has no latency", name)
		}
		if _, ok := w.Figure("rate"); ok {
			t.Errorf("%s: a failed workload has a rate", name)
		}
	}
	j := job(t, fake.Script{Fault: fake.RunFailed, At: "serve", Message: "no such shape"})
	j.Options.Workloads = []workload.Workload{chat(100, batches(1)...)}
	m, err := Measure(context.Background(), fake.New(), j, nil)
	if err != nil || m.Workloads[0].Failure == nil || m.Workloads[0].Failure.Kind != engine.KindRunFailed {
		t.Errorf("%v, %+v", err, m.Workloads)
	}
}

func TestGoodputCountsAnswersWithinTheLimit(t *testing.T) {
	w := chat(250, batches(1, 4)...)
	w.Within = 2 * time.Millisecond
	_, got := under(t, w)
	// Every request of 4 ms is late, and those of 1 ms that wait for one.
	if g := *got.Goodput; g < 50 || g > 100 {
		t.Errorf("goodput %v of %v", g, got.Answered)
	}
}

func TestTheHighestRateKeepsItsPercentileWithinTheLimit(t *testing.T) {
	w := chat(100, batches(1)...)
	w.Within, w.MaxRate = 5*time.Millisecond, 0.99
	_, got := under(t, w)
	// At a load of 0.57 one request in a hundred waits longer than four services.
	if got.HighestRate == nil || *got.HighestRate < 500 || *got.HighestRate > 620 {
		t.Errorf("highest rate %v of %v", *got.HighestRate, got.Capacity)
	}
	w.Within = time.Microsecond
	if _, got = under(t, w); *got.HighestRate != 0 {
		t.Errorf("highest rate %v, and no call is so quick", *got.HighestRate)
	}
}

func TestADisturbedWorkloadSaysSo(t *testing.T) {
	quiet, busy := load(func(*Load) {}), load(func(l *Load) { l.Others = 1.5 })
	h := &scriptedHost{loads: []Load{quiet, quiet, quiet, quiet, busy}} // the closed loop's, then the workload's
	m, w := under(t, chat(300, batches(1)...), On(h))
	if _, saturated := under(t, chat(3000, batches(1)...), On(&scriptedHost{loads: []Load{quiet, quiet, quiet, busy}})); !saturated.Saturated || !saturated.Disturbed() {
		t.Errorf("what a busy machine cannot serve is %#v", saturated)
	}
	if m.Disturbed() || !w.Disturbed() || w.Stable || !strings.Contains(strings.Join(w.Warnings, " "), "disturbed") {
		t.Errorf("the engine is disturbed %t, the workload %+v, %q", m.Disturbed(), w.Disturbance, w.Warnings)
	}
}

func TestAWindowHasItsRequestsAtItsRate(t *testing.T) {
	o := DefaultOptions()
	for rate, want := range map[float64]int{1: 60, 100: 662, 200: 662, 2000: 4000, 1e6: mostRequests} {
		if got := o.requests(rate); got != want {
			t.Errorf("%v a second: %d requests, want %d", rate, got, want)
		}
	}
}

func TestHowLongAWorkloadTakesFollowsFromItsRate(t *testing.T) {
	for _, c := range []struct {
		name        string
		w           workload.Workload
		least, most time.Duration
	}{
		{"662 requests in a window", chat(100), 15240 * time.Millisecond, 35100 * time.Millisecond},
		{"the window's least time", chat(2000), 6 * time.Second, 12 * time.Second},
		{"a closed loop", chat(0), 6 * time.Second, 12 * time.Second},
	} {
		least, most := DefaultOptions().ExpectWorkload(c.w)
		if (least-c.least).Abs() > time.Millisecond || (most-c.most).Abs() > time.Millisecond {
			t.Errorf("%s: %v to %v, want %v to %v", c.name, least, most, c.least, c.most)
		}
	}
}

func TestARemedyForTooFewRequestsHelps(t *testing.T) {
	trace := func(n int, gap time.Duration) workload.Workload {
		w := workload.Workload{Rate: 1 / gap.Seconds()}
		for i := range n {
			w.Trace = append(w.Trace, workload.Traced{At: time.Duration(i) * gap})
		}
		return w
	}
	for _, c := range []struct {
		name string
		w    workload.Workload
		want string
	}{
		{"enough in five windows of a minute", workload.Workload{Rate: 2}, ""},
		{"too seldom", workload.Workload{Rate: 1}, "raise benchmark.max_window"},
		{"a closed loop", workload.Workload{}, ""},
		{"a trace that is long enough", trace(92, 10*time.Millisecond), ""},
		{"a short trace", trace(50, 10*time.Millisecond), "record a longer trace"},
		{"a trace that windows cut off", trace(500, 2*time.Second), "raise benchmark.max_window"},
	} {
		if got := DefaultOptions().MoreRequests(c.w); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestAShapesSizesGoBeforeEveryOther(t *testing.T) {
	inputs := []engine.TensorInfo{{Name: "ids", DType: engine.Int64, Dims: []engine.Dim{{Size: -1, Name: "batch"}, {Size: -1, Name: "sequence"}}}}
	for name, base := range map[string]tensorio.Shapes{
		"by symbol":           {Batch: 1, Dims: map[string]int64{"sequence": 128}},
		"by place":            {Batch: 1, Dims: map[string]int64{"ids/1": 128}},
		"of config.pbtxt":     {Batch: 1, InputDims: map[string][]int64{"ids": {128}}},
		"of config.pbtxt too": {Batch: 1, InputDims: map[string][]int64{"ids": {1, 128}}},
	} {
		s, err := base.With(inputs, map[string]int64{"sequence": 32})
		if err != nil {
			t.Fatal(err)
		}
		if shapes, err := s.Resolve(inputs); err != nil || !slices.Equal(shapes[0], []int64{1, 32}) {
			t.Errorf("%s: %v, %v", name, shapes, err)
		}
	}
}

func TestAShapeThatTheEngineRejectsIsNamed(t *testing.T) {
	runtimetest.Need(t)
	rows := func(n int64) workload.Shape {
		return workload.Shape{Weight: 1, Dims: map[string]int64{"n": n}}
	}
	o := DefaultOptions()
	o.WarmUp, o.MinWindow, o.SweepWindow, o.MinQueries, o.MaxWindows = time.Millisecond, time.Millisecond, time.Millisecond, 1, 1
	o.Workloads = []workload.Workload{chat(0, rows(1), rows(3), rows(2))}
	model := onnxtest.Model{Graph: onnxtest.Graph{ // two rows are added to one or two
		Nodes:        []onnxtest.Node{{Op: "Add", Name: "sum", Inputs: []string{"x", "two"}, Outputs: []string{"y"}}},
		Inputs:       []onnxtest.Value{{Name: "x", Type: onnxtest.Float, Dims: []onnxtest.Dim{"n", 4}}},
		Outputs:      []onnxtest.Value{{Name: "y", Type: onnxtest.Float, Dims: []onnxtest.Dim{2, 4}}},
		Initializers: []onnxtest.Tensor{{Name: "two", Type: onnxtest.Float, Dims: []int64{2, 4}, Data: onnxtest.Noise(8, 1)}},
	}}
	j := Job{ModelPath: onnxtest.Write(t, model), Precision: engine.FP32, Options: o, Settings: engine.Settings{Threads: 1}, WorkDir: t.TempDir()}
	m, err := Measure(context.Background(), onnxruntime.New(onnxruntime.Options{}), j, nil)
	if err != nil {
		t.Fatal(err)
	}
	if f := m.Workloads[0].Failure; f == nil || !strings.HasPrefix(f.Error(), "run engine with n 3: ") || f.Operator != "Add" {
		t.Errorf("%v", f)
	}
}

func TestAWindowWithoutAnArrivalSaysHowLongItIs(t *testing.T) {
	j := job(t, fake.Script{})
	j.Options.MinWindow, j.Options.MaxWindow = time.Second, time.Second
	j.Options.Workloads = []workload.Workload{chat(1.0/60, batches(1)...)}
	m, err := Measure(context.Background(), fake.New(), j, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := "serve a workload chat: no request arrives within 1 s at 0.0167/s: raise benchmark.max_window"
	if f := m.Workloads[0].Failure; f == nil || f.Error() != want {
		t.Errorf("got  %v\nwant %s", f, want)
	}
}

func TestWorkloadsOnRealRuntime(t *testing.T) {
	runtimetest.Need(t)
	quick := DefaultOptions()
	quick.WarmUp, quick.MinWindow, quick.SweepWindow, quick.MinQueries = 10*time.Millisecond, 10*time.Millisecond, 10*time.Millisecond, 20
	open, closed := chat(200, batches(1, 8)...), chat(0, batches(2)...)
	open.Within, open.Concurrency = time.Minute, 2
	closed.Name = "batch"
	rejected := chat(200, workload.Shape{Weight: 1, Dims: map[string]int64{"sequence": 3}})
	rejected.Name = "rejected"
	quick.Workloads = []workload.Workload{open, closed, rejected}
	j := Job{ModelPath: onnxtest.Write(t, onnxtest.Classifier(16, 32, 8)), Precision: engine.FP32, Options: quick, Settings: engine.Settings{Threads: 1}, WorkDir: t.TempDir()}
	m, err := Measure(context.Background(), onnxruntime.New(onnxruntime.Options{}), j, nil)
	if err != nil {
		t.Fatal(err)
	}
	// A machine that stalls may be too slow for any rate.
	if w := m.Workload("chat"); w.Failure != nil || w.Capacity <= 0 || !w.Saturated && (w.Latency == nil || w.Wait == nil || w.Goodput == nil || *w.Goodput != w.Answered || w.Latency.Queries != 20*w.Windows || len(w.Mix) != 2) {
		t.Errorf("open loop: %#v", w)
	}
	if w := m.Workload("batch"); w.Failure != nil || w.Latency == nil || w.Wait != nil || w.Answered <= 0 {
		t.Errorf("closed loop: %#v", w)
	}
	if w := m.Workload("rejected"); w.Failure == nil || w.Failure.Kind != engine.KindInvalidInput {
		t.Errorf("a dimension that the model lacks: %#v", w)
	}
}

func TestAWorkloadIsTimedInTurnsWithTheCandidateBefore(t *testing.T) {
	closed, open := chat(0, batches(1)...), chat(300, batches(1)...)
	open.Name = "open"
	job := func(partner bool) Job {
		j := job(t, fake.Script{Latency: ms(0.9)[0]})
		j.Options.Workloads = []workload.Workload{closed, open}
		if partner {
			before := filepath.Join(t.TempDir(), "before.json")
			if err := fake.Write(before, fake.Script{Latency: ms(1)[0]}); err != nil {
				t.Fatal(err)
			}
			j.Partner = &Partner{Version: "7", Digest: "before", Iteration: 3, ModelPath: before}
		}
		return j
	}
	counted := func(partner bool) (Measurement, map[string]int) {
		b := &counting{Backend: *fake.New(), served: map[string]int{}}
		m, err := Measure(context.Background(), b, job(partner), nil)
		if err != nil {
			t.Fatal(err)
		}
		return m, b.served
	}
	alone, without := counted(false)
	m, with := counted(true)
	// Calls are 0.9 times as long. Of what waits, less does so: rho/(2(1-rho)) services of
	// a load of 0.27 instead of 0.3.
	for i, want := range []float64{0.9, (0.9 + 0.166) / (1 + 0.214)} {
		name := []string{"chat", "open"}[i]
		w, c := &m.Workloads[i], m.Workloads[i].Comparison
		if c == nil || c.Version != "7" || c.Iteration != 3 || c.Disturbed {
			t.Fatalf("%s: %+v, warnings %q", name, c, w.Warnings)
		}
		x, ok := w.ChangeOf("mean")
		if !ok || x.Verdict != Changed || math.Abs(x.Ratio-want) > 0.01 {
			t.Errorf("%s: the mean is %+v of the one before, want %v", name, x, want)
		}
		if _, ok := w.ChangeOf("ttft"); !ok { // a prefill's is its mean
			t.Errorf("%s: no change of the time to first token", name)
		}
		if alone.Workloads[i].Comparison != nil {
			t.Errorf("%s: compared with nobody: %+v", name, alone.Workloads[i].Comparison)
		}
		w.Comparison = nil
		if !reflect.DeepEqual(*w, alone.Workloads[i]) {
			t.Errorf("%s: the turns change its own figures\n%+v\n%+v", name, *w, alone.Workloads[i])
		}
	}
	if more := with["own"] + with["partner"] - without["own"]; more > without["own"] || with["partner"] == 0 || with["partner"] != more/2 {
		t.Errorf("%d requests more than %d, %d of them of the one before", more, without["own"], with["partner"])
	}
}

// counting is the fake backend that counts the requests of each engine, the second of
// which is the partner's.
type counting struct {
	fake.Backend
	served map[string]int
	loaded int
}

func (b *counting) Load(ctx context.Context, plan engine.Plan, o engine.LoadOptions) (engine.Engine, error) {
	e, err := b.Backend.Load(ctx, plan, o)
	b.loaded++
	return countedEngine{e, b, []string{"own", "partner"}[b.loaded-1]}, err
}

type countedEngine struct {
	engine.Engine
	b    *counting
	name string
}

func (e countedEngine) Serve(ctx context.Context, chains []engine.Chain, requests []engine.Request, o engine.ServeOptions) ([]engine.Answer, error) {
	e.b.served[e.name] += len(requests)
	return e.Engine.Serve(ctx, chains, requests, o)
}
