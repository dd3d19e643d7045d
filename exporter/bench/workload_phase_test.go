package bench

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/onnxruntime"
	"github.com/plancast/plancast/exporter/engine/onnxruntime/runtimetest"
	"github.com/plancast/plancast/exporter/onnx"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
	"github.com/plancast/plancast/exporter/workload"
)

// sized is a shape with sizes given as "sequence", 8, "batch", 2.
func sized(weight float64, sizes ...any) workload.Shape {
	s := workload.Shape{Weight: weight, Dims: map[string]int64{}}
	for i := 0; i < len(sizes); i += 2 {
		s.Dims[sizes[i].(string)] = int64(sizes[i+1].(int))
	}
	return s
}

func phased(name string, p workload.Phase, mix ...workload.Shape) workload.Workload {
	return workload.Workload{Name: name, Phase: p, Shapes: mix, Concurrency: 1}
}

// decoding measures workloads of a model with ONNX Runtime.
func decoding(t *testing.T, model string, dims map[string]int64, list ...workload.Workload) Measurement {
	t.Helper()
	runtimetest.Need(t)
	return decodingBy(t, onnxruntime.New(onnxruntime.Options{}), model, dims, list...)
}

func decodingBy(t *testing.T, b engine.Backend, model string, dims map[string]int64, list ...workload.Workload) Measurement {
	t.Helper()
	o := DefaultOptions()
	o.WarmUp, o.MinWindow, o.SweepWindow, o.MinQueries, o.Concurrency = 5*time.Millisecond, 10*time.Millisecond, 5*time.Millisecond, 20, nil
	o.Workloads = list
	j := Job{ModelPath: model, Dims: dims, Precision: engine.FP32, Options: o, Settings: engine.Settings{Threads: 1}, WorkDir: t.TempDir()}
	m, err := Measure(context.Background(), b, j, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestPhasesOfADecoderAreMeasured(t *testing.T) {
	small := map[string]int64{"sequence": 1, "past_sequence": 8} // the mask follows
	many := phased("many", workload.Decode, sized(3, "past_sequence", 4), sized(1, "past_sequence", 40, "batch", 2))
	many.Concurrency = 2
	m := decoding(t, onnxtest.Generated(t, "decoder.onnx"), small,
		phased("prefill", workload.Prefill, sized(1, "sequence", 6)), phased("decode", workload.Decode, sized(1, "past_sequence", 100)), many)
	const token = 2 * 2 * 2 * 8 * 4 // bytes of keys and values, of two layers with two heads of eight floats
	for _, c := range []struct {
		name, judged, other string
		tokens              float64 // a request
		cache               []CacheSize
	}{
		{"prefill", "ttft", "tpot", 6, []CacheSize{{6, 1, 6 * token}}},
		{"decode", "tpot", "ttft", 1, []CacheSize{{100, 1, 100 * token}}},
		{"many", "tpot", "ttft", 0, []CacheSize{{4, 1, 4 * token}, {40, 2, 80 * token}}},
	} {
		w := m.Workload(c.name)
		if w.Failure != nil || w.Latency == nil || len(w.Warnings) > 0 && strings.Contains(strings.Join(w.Warnings, ""), "recognized") {
			t.Errorf("%s: %+v", c.name, w)
			continue
		}
		if !reflect.DeepEqual(w.Generation.Cache, c.cache) {
			t.Errorf("%s: caches %+v, want %+v", c.name, w.Generation.Cache, c.cache)
		}
		judged, ok := w.Figure(c.judged)
		if _, other := w.Figure(c.other); !ok || other || judged != w.Latency.Mean {
			t.Errorf("%s: %s is %v %v, the mean %v", c.name, c.judged, judged, ok, w.Latency.Mean)
		}
		tokens, ok := w.Figure("tokens")
		if perRequest := tokens / w.Answered; !ok || c.tokens > 0 && (perRequest < 0.999*c.tokens || perRequest > 1.001*c.tokens) || c.tokens == 0 && (perRequest <= 1 || perRequest >= 2) {
			t.Errorf("%s: %v tokens of %v requests a second", c.name, tokens, w.Answered)
		}
	}
}

func TestAPhaseThatCannotBeIsAFailureThatSaysWhatToWrite(t *testing.T) {
	m := decoding(t, onnxtest.Generated(t, "decoder.onnx"), map[string]int64{"sequence": 1, "past_sequence": 8},
		phased("no-prompt", workload.Prefill, sized(1)), phased("no-context", workload.Decode, sized(1)),
		phased("several", workload.Decode, sized(1, "past_sequence", 4, "sequence", 3)), phased("long", workload.Decode, sized(1, "past_sequence", 600)),
		phased("stray", workload.Decode, sized(1, "past_sequence", 4, "images", 3)))
	for name, want := range map[string]string{
		"no-prompt":  "the length of the prompt is not known: write dims: {sequence: TOKENS}",
		"no-context": "how many tokens the cache holds is not known: write dims: {past_sequence: TOKENS}",
		"several":    "a step makes one token, and the workload has 3: leave out sequence",
		"long":       "a context of 601 tokens is longer than the model's 512 positions: make sequence or past_sequence smaller",
		"stray":      `no input has a dimension "images"`,
	} {
		if f := m.Workload(name).Failure; f == nil || f.Kind != engine.KindInvalidInput || !strings.Contains(f.Error(), want) {
			t.Errorf("%s: %v, want %q", name, f, want)
		}
	}
}

func TestLengthsAreKnownWithoutAPhase(t *testing.T) {
	m := decoding(t, onnxtest.Generated(t, "decoder.onnx"), map[string]int64{"sequence": 1, "past_sequence": 8},
		workload.Workload{Name: "both", Concurrency: 1, Shapes: []workload.Shape{sized(1, "sequence", 2, "past_sequence", 30), sized(1, "past_sequence", 5, "batch", 2)}},
		workload.Workload{Name: "stray", Concurrency: 1, Shapes: []workload.Shape{sized(1, "past_sequence", 30, "images", 3)}})
	if w := m.Workload("both"); w.Failure != nil || w.Latency == nil || w.Generation != nil {
		t.Errorf("%+v", w)
	}
	if f := m.Workload("stray").Failure; f == nil || !strings.Contains(f.Error(), `no input has a dimension "images"`) {
		t.Errorf("%v", f)
	}
}

func TestAnUnknownCacheIsTimedAsAPlainCall(t *testing.T) {
	m := decoding(t, onnxtest.Write(t, onnxtest.Elementwise("Relu", onnxtest.Float, "N", "past", 4)), map[string]int64{"past": 3},
		phased("decode", workload.Decode, sized(1, "past", 5)))
	w := m.Workload("decode")
	if w.Failure != nil || w.Generation != nil || !strings.Contains(strings.Join(w.Warnings, "\n"), "the model's key-value cache is not recognized (no input is named like past_key_values.0.key): each call copies it in and out") {
		t.Errorf("%+v", w)
	}
	if _, ok := w.Figure("tpot"); !ok {
		t.Error("no time per output token")
	}
}

// liar is an engine whose steps give something else than its calls.
type liar struct{ engine.Engine }

func (e liar) Walk(ctx context.Context, c engine.Chain) ([][]engine.Tensor, error) {
	walked, err := e.Engine.Walk(ctx, c)
	clear(walked[len(walked)-1][0].Data)
	return walked, err
}

func TestStepsThatGiveSomethingElseThanPlainCallsAreRefused(t *testing.T) {
	runtimetest.Need(t)
	model := onnxtest.Generated(t, "decoder.onnx")
	b := onnxruntime.New(onnxruntime.Options{})
	plan, err := b.Build(t.Context(), engine.BuildRequest{ModelPath: model, Precision: engine.FP32, WorkDir: t.TempDir(), Progress: func(engine.Progress) {}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := b.Load(t.Context(), plan, engine.LoadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, c := range []struct {
		engine engine.Engine
		kind   engine.Kind
	}{{e, ""}, {liar{e}, engine.KindAccuracy}} {
		w := phased("decode", workload.Decode, sized(1, "past_sequence", 4))
		tr := &traffic{run: &run{engine: c.engine, inputs: e.Inputs(), batches: []int{1}}, w: w}
		_, err := tr.chainOf(t.Context(), w.Shapes[0])
		if c.kind == "" && err != nil || c.kind != "" && engine.AsError(err).Kind != c.kind {
			t.Errorf("%T: %v, want %q", c.engine, err, c.kind)
		}
	}
}

func TestEachWorkloadHasAnOptimizationProfileOfItsOwn(t *testing.T) {
	model, err := onnx.ReadFile(onnxtest.Generated(t, "decoder.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	o := DefaultOptions()
	o.Workloads = []workload.Workload{
		phased("prefill", workload.Prefill, sized(1, "sequence", 16), sized(2, "sequence", 64, "batch", 2)),
		phased("decode", workload.Decode, sized(1, "past_sequence", 100)),
		phased("again", workload.Decode, sized(3, "past_sequence", 100)),
		phased("wrong", workload.Decode, sized(1)),
		phased("loop", "", sized(1)),
	}
	r := &run{job: Job{Options: o, Dims: map[string]int64{"sequence": 1, "past_sequence": 8}}}
	r.declared.inputs, r.declared.outputs = model.Inputs, model.Outputs
	if err := r.plan(model.Inputs); err != nil {
		t.Fatal(err)
	}
	closed, err := r.ranges()
	if err != nil {
		t.Fatal(err)
	}
	more := r.trafficRanges(closed)
	if want := map[string]int{"prefill": 1, "decode": 2, "again": 2, "loop": 0}; !reflect.DeepEqual(r.profiles, want) || len(more) != 2 {
		t.Fatalf("%d profiles beside the closed loop's, %v, want %v", len(more), r.profiles, want)
	}
	last := int64(100 + decodeSteps - 1)
	for _, c := range []struct {
		profile int
		input   string
		want    engine.Profile
	}{
		{0, "input_ids", engine.Profile{Min: []int64{1, 16}, Opt: []int64{2, 64}, Max: []int64{2, 64}}},
		{0, "attention_mask", engine.Profile{Min: []int64{1, 16}, Opt: []int64{2, 64}, Max: []int64{2, 64}}},
		{0, "past_key_values.1.value", engine.Profile{Min: []int64{1, 2, 0, 8}, Opt: []int64{2, 2, 0, 8}, Max: []int64{2, 2, 0, 8}}},
		{1, "input_ids", engine.Profile{Min: []int64{1, 1}, Opt: []int64{1, 1}, Max: []int64{1, 1}}},
		{1, "attention_mask", engine.Profile{Min: []int64{1, 101}, Opt: []int64{1, 101}, Max: []int64{1, last + 1}}},
		{1, "past_key_values.0.key", engine.Profile{Min: []int64{1, 2, 100, 8}, Opt: []int64{1, 2, 100, 8}, Max: []int64{1, 2, last, 8}}},
	} {
		if got := more[c.profile][c.input]; !reflect.DeepEqual(got, c.want) {
			t.Errorf("profile %d, %s: %+v, want %+v", c.profile+1, c.input, got, c.want)
		}
	}
	// Where the configuration says what an input is built for, that is for all.
	wide := engine.Profile{Min: []int64{1, 1}, Opt: []int64{1, 8}, Max: []int64{4, 128}}
	r.job.Profiles = map[string]engine.Profile{"input_ids": wide}
	for i, p := range r.trafficRanges(closed) {
		if !slices.Equal(p["input_ids"].Max, wide.Max) {
			t.Errorf("profile %d: %+v, want %+v", i+1, p["input_ids"], wide)
		}
	}
}
