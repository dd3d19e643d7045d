package bench

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/fake"
	"github.com/plancast/plancast/exporter/workload"
)

// lengths is the script of a model that takes x float32[N,length].
var lengths = fake.Script{Inputs: []engine.TensorInfo{{Name: "x", DType: engine.Float32, Dims: []engine.Dim{{Size: -1, Name: "N"}, {Size: -1, Name: "length"}}}}}

// samples are n samples of that length, for x.
func samples(array string, n, length int64) engine.Tensor {
	return floats(array, []int64{n, length}, make([]float32, n*length)...)
}

// logged measures a workload that takes its shapes from inputs.npz; without arrays there
// is none.
func logged(t *testing.T, watch *served, arrays ...engine.Tensor) (Measurement, WorkloadResult) {
	t.Helper()
	j := job(t, lengths)
	if len(arrays) > 0 {
		j.InputsPath = write(t, "inputs.npz", arrays...)
	} else {
		j.Dims = map[string]int64{"length": 8}
	}
	j.Options.Workloads = []workload.Workload{{Name: "logged", Recorded: true, Concurrency: 1}}
	m, err := Measure(context.Background(), watch, j, nil)
	if err != nil {
		t.Fatal(err)
	}
	return m, m.Workloads[0]
}

// served is the fake backend that notes what it serves.
type served struct {
	fake.Backend
	chains []engine.Chain
}

func serving() *served { return &served{Backend: *fake.New()} }

func (b *served) Load(ctx context.Context, plan engine.Plan, o engine.LoadOptions) (engine.Engine, error) {
	e, err := b.Backend.Load(ctx, plan, o)
	return servedEngine{e, b}, err
}

type servedEngine struct {
	engine.Engine
	b *served
}

func (e servedEngine) Serve(ctx context.Context, chains []engine.Chain, requests []engine.Request, o engine.ServeOptions) ([]engine.Answer, error) {
	e.b.chains = chains
	return e.Engine.Serve(ctx, chains, requests, o)
}

func TestTheMixAsRecordedIsThatOfTheSamples(t *testing.T) {
	long := samples("x/1", 2, 32)
	long.Data[0] = 7
	b := serving()
	m, w := logged(t, b, samples("x", 5, 8), long, samples("x/2", 3, 8))
	if w.Failure != nil || len(w.Warnings) > 0 {
		t.Fatalf("%v, %q", w.Failure, w.Warnings)
	}
	want := []workload.Shape{{Weight: 8, Dims: map[string]int64{"length": 8}}, {Weight: 2, Dims: map[string]int64{"length": 32}}}
	if !reflect.DeepEqual(w.Shapes, want) {
		t.Errorf("shapes %+v, want %+v", w.Shapes, want)
	}
	if got := w.String(); got != "80 % length 8, 20 % 32, as recorded, each request after the one before" {
		t.Error(got)
	}
	if len(b.chains) != 2 || !reflect.DeepEqual(b.chains[1].Steps[0][0].Data, long.Data[:4*32]) {
		t.Errorf("requests of 32 are not timed on the sample that has that shape: %v", b.chains)
	}
	if m.Latency.Batch != 1 || m.Accuracy != nil && m.Accuracy.Samples != 5 {
		t.Errorf("beside the workload the first group counts: %+v", m.Accuracy)
	}
}

func TestAMixAsRecordedHasItsOptimizationProfile(t *testing.T) {
	r := &run{job: Job{Options: DefaultOptions()}, npz: []engine.Tensor{samples("x", 5, 8), samples("x/1", 2, 32), samples("x/2", 9, 16)}}
	r.job.Options.Workloads = []workload.Workload{{Name: "logged", Recorded: true, Concurrency: 1}}
	if err := r.plan(lengths.Inputs); err != nil {
		t.Fatal(err)
	}
	closed, err := r.ranges()
	if err != nil {
		t.Fatal(err)
	}
	if want := (engine.Profile{Min: []int64{1, 8}, Opt: []int64{1, 8}, Max: []int64{1, 8}}); !reflect.DeepEqual(closed["x"], want) {
		t.Errorf("the closed loop is built for %+v, want %+v", closed["x"], want)
	}
	more := r.trafficRanges(closed)
	if want := (engine.Profile{Min: []int64{1, 8}, Opt: []int64{1, 16}, Max: []int64{1, 32}}); len(more) != 1 || !reflect.DeepEqual(more[0]["x"], want) {
		t.Errorf("the workload is built for %+v, want %+v", more, want)
	}
}

func TestAMixThatCannotBeTakenAsRecordedSaysWhy(t *testing.T) {
	var many []engine.Tensor
	for n := range 65 {
		many = append(many, samples(fmt.Sprintf("x/%d", n), 1, int64(n+1)))
	}
	odd := floats("x/1", []int64{1, 2, 3, 4}, make([]float32, 24)...)
	for name, c := range map[string]struct {
		arrays []engine.Tensor
		want   []string
	}{
		"no inputs.npz":                   {nil, []string{"take the shapes as recorded", "there is no inputs.npz beside the model", "write shapes for the workload"}},
		"samples that the model rejects":  {[]engine.Tensor{samples("x", 1, 8), odd}, []string{"inputs.npz, group 1", `array "x": its array has the shape [1 2 3 4]`}},
		"more shapes than are held ready": {many, []string{"inputs.npz has 65 shapes, more than 64", "round their sizes up"}},
	} {
		_, w := logged(t, serving(), c.arrays...)
		if w.Failure == nil || w.Failure.Kind != engine.KindInvalidInput {
			t.Errorf("%s: %v", name, w.Failure)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(w.Failure.Error(), want) {
				t.Errorf("%s: %v lacks %q", name, w.Failure, want)
			}
		}
	}
}

func TestSizesHaveTheNamesOfTheirDimensions(t *testing.T) {
	dim := func(name string) engine.Dim { return engine.Dim{Size: -1, Name: name} }
	inputs := []engine.TensorInfo{{Name: "ids", Dims: []engine.Dim{dim("batch"), dim("sequence")}}, {Name: "mask", Dims: []engine.Dim{dim("batch"), dim("sequence")}}, {Name: "image", Dims: []engine.Dim{dim("batch"), dim("?")}}}
	for name, c := range map[string]struct{ sizes, want map[string]int64 }{
		"one size for all of a name":    {map[string]int64{"ids/1": 8, "mask/1": 8, "image/1": 3}, map[string]int64{"sequence": 8, "image/1": 3}},
		"two sizes of one name":         {map[string]int64{"ids/1": 8, "mask/1": 9}, map[string]int64{"ids/1": 8, "mask/1": 9}},
		"a size of some of a name only": {map[string]int64{"ids/1": 8}, map[string]int64{"sequence": 8}},
	} {
		if got := byName(inputs, c.sizes); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
