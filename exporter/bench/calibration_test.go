package bench

import (
	"context"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/fake"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
	"github.com/plancast/plancast/exporter/tensorio"
)

// calibrating is the scripted backend as one that has calibrated.
type calibrating struct {
	*fake.Backend
	calibration engine.Calibration
}

func (b calibrating) Build(ctx context.Context, req engine.BuildRequest) (engine.Plan, error) {
	p, err := b.Backend.Build(ctx, req)
	p.Calibration = &b.calibration
	return p, err
}

// rows writes an array x of rows; the scripted model has y = x, so the largest
// value of a row is its class.
func rows(t *testing.T, name string, values ...[4]float32) string {
	t.Helper()
	a := engine.Tensor{Name: "x", DType: engine.Float32, Shape: []int64{int64(len(values)), 4}}
	for _, v := range values {
		a.Data = append(a.Data, onnxtest.Floats(v[:]...)...)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := tensorio.WriteNPZ(path, []engine.Tensor{a}); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCalibrationDataAreHeldAgainstTheEvaluationInputs(t *testing.T) {
	// Each row is one class; all channels reach from 0 to 1.
	all := [][4]float32{{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}}
	limits := CalibrationLimits{Samples: 4, Values: 0.99, Channels: 0.95, Classes: 0.5}
	for _, c := range []struct {
		name         string
		data         [][4]float32
		plan         engine.Calibration
		coverage     float64
		values       float64
		channels     float64
		classes      float64
		warns        string // "" warns of nothing
		noEvaluation bool
	}{
		{name: "the same data", data: all, plan: engine.Calibration{Samples: 4, Ranged: 9, Tensors: 9}, coverage: 1, values: 1, channels: 1, classes: 1},
		{name: "too few samples", data: all[:3], plan: engine.Calibration{Samples: 3, Ranged: 9, Tensors: 9}, coverage: 0.75, values: 1, channels: 0.75, classes: 0.75, warns: "3 samples instead of 4"},
		{name: "a channel that is dark", data: slices.Repeat(all[:3], 2), plan: engine.Calibration{Samples: 6, Ranged: 9, Tensors: 9}, coverage: 0.75 / 0.95, values: 1, channels: 0.75, classes: 0.75, warns: "75 % of the input channels are covered instead of 95 %"},
		{name: "too dim", data: [][4]float32{{0.5, 0, 0, 0}, {0, 0.5, 0, 0}, {0, 0, 0.5, 0}, {0, 0, 0, 0.5}}, plan: engine.Calibration{Samples: 4, Ranged: 9, Tensors: 9}, coverage: 0, values: 0.75, channels: 0, classes: 1, warns: "75 % of the evaluation inputs' values lie in their range"},
		{name: "one class", data: [][4]float32{{1, 1, 1, 1}, {0, 0, 0, 0}, {1, 1, 1, 1}, {0, 0, 0, 0}}, plan: engine.Calibration{Samples: 4, Ranged: 9, Tensors: 9}, coverage: 0.5, values: 1, channels: 1, classes: 0.25, warns: "25 % of the predicted classes occur in them instead of 50 %"},
		{name: "tensors without a range", data: all, plan: engine.Calibration{Samples: 4, Ranged: 6, Tensors: 9}, coverage: 6. / 9, values: 1, channels: 1, classes: 1, warns: "no range was found for 3 of 9 tensors"},
		{name: "nothing to hold them against", data: all, plan: engine.Calibration{Samples: 4, Ranged: 9, Tensors: 9}, coverage: 1, noEvaluation: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			j := job(t, fake.Script{})
			j.CalibrationPath, j.CalibrationLimits = rows(t, "calibration.npz", c.data...), limits
			if !c.noEvaluation {
				j.InputsPath = rows(t, "inputs.npz", all...)
			}
			m, err := Measure(t.Context(), calibrating{fake.New(), c.plan}, j, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := m.Calibration
			close := func(p *float64, want float64) bool {
				return c.noEvaluation && p == nil || p != nil && math.Abs(*p-want) < 1e-9
			}
			if math.Abs(got.Coverage-c.coverage) > 1e-9 || !close(got.Values, c.values) || !close(got.Channels, c.channels) || !close(got.Classes, c.classes) {
				t.Errorf("coverage %g, values %v, channels %v, classes %v", got.Coverage, deref(got.Values), deref(got.Channels), deref(got.Classes))
			}
			var warned []string
			for _, w := range m.Warnings {
				if strings.HasPrefix(w, "calibration data are insufficient: ") {
					warned = append(warned, w)
				}
			}
			if text := strings.Join(warned, "\n"); c.warns == "" && text != "" || !strings.Contains(text, c.warns) {
				t.Errorf("warnings %q, want %q", warned, c.warns)
			}
		})
	}
}

func deref(p *float64) any {
	if p == nil {
		return nil
	}
	return *p
}

func TestWithoutCalibrationNothingIsJudged(t *testing.T) {
	m, err := Measure(t.Context(), fake.New(), job(t, fake.Script{}), nil)
	if err != nil || m.Calibration != nil {
		t.Errorf("%+v, %v", m.Calibration, err)
	}
}

func TestChannelsAreTheSecondDimensionOfAnInput(t *testing.T) {
	a, err := engine.NewTensor("x", engine.Float32, []int64{2, 3, 2})
	if err != nil {
		t.Fatal(err)
	}
	a.Data = onnxtest.Floats(0, 1, 10, 11, 20, 21, 100, 101, 110, 111, 120, 121)
	for _, c := range []struct {
		rank int
		want [][]float64
	}{
		{3, [][]float64{{0, 1, 100, 101}, {10, 11, 110, 111}, {20, 21, 120, 121}}}, // [N, C, L]
		{2, [][]float64{{0, 10, 20, 100, 110, 120}, {1, 11, 21, 101, 111, 121}}},   // whole inputs [3, 2], two of them
		{1, [][]float64{{0, 1, 10, 11, 20, 21, 100, 101, 110, 111, 120, 121}}},     // no channels
	} {
		var got [][]float64
		for _, channel := range byChannel(a, c.rank) {
			got = append(got, slices.Collect(channel))
		}
		if !slices.EqualFunc(got, c.want, slices.Equal[[]float64]) {
			t.Errorf("rank %d: %v, want %v", c.rank, got, c.want)
		}
	}
}

func TestProfilesAreWidenedToWhatIsMeasured(t *testing.T) {
	input := engine.TensorInfo{Name: "x", DType: engine.Float32, Dims: []engine.Dim{{Size: -1, Name: "N"}, {Size: -1, Name: "length"}, {Size: 3}}}
	fixed := engine.Profile{Min: []int64{1, 16, 3}, Opt: []int64{4, 32, 3}, Max: []int64{8, 64, 3}}
	for _, c := range []struct {
		name     string
		batches  []int
		batch    *engine.BatchRange
		maxBatch int
		given    *engine.Profile
		want     engine.Profile
		refused  string
	}{
		{name: "the batches that are measured", batches: []int{1, 4}, want: engine.Profile{Min: []int64{1, 32, 3}, Opt: []int64{1, 32, 3}, Max: []int64{4, 32, 3}}},
		{name: "the range of the settings", batches: []int{1}, batch: &engine.BatchRange{Min: 1, Opt: 8, Max: 8}, want: engine.Profile{Min: []int64{1, 32, 3}, Opt: []int64{8, 32, 3}, Max: []int64{8, 32, 3}}},
		{name: "a batch beyond it", batches: []int{1, 32}, batch: &engine.BatchRange{Min: 1, Opt: 8, Max: 8}, want: engine.Profile{Min: []int64{1, 32, 3}, Opt: []int64{8, 32, 3}, Max: []int64{32, 32, 3}}},
		{name: "a model that takes less", batches: []int{1}, batch: &engine.BatchRange{Min: 1, Opt: 8, Max: 8}, maxBatch: 4, want: engine.Profile{Min: []int64{1, 32, 3}, Opt: []int64{4, 32, 3}, Max: []int64{4, 32, 3}}},
		{name: "a profile of its own", batches: []int{1, 8}, batch: &engine.BatchRange{Min: 1, Opt: 8, Max: 16}, given: &fixed, want: fixed},
		{name: "a profile that is too narrow", batches: []int{1, 16}, given: &fixed, refused: "dimension 0 covers 1 to 8 and is measured from 1 to 16"},
		{name: "a profile of another rank", batches: []int{1}, given: &engine.Profile{Min: []int64{1}, Opt: []int64{1}, Max: []int64{1}}, refused: "has 1 dimensions and the input has 3"},
		{name: "a profile against the model", batches: []int{1}, given: &engine.Profile{Min: []int64{1, 16, 4}, Opt: []int64{4, 32, 4}, Max: []int64{8, 64, 4}}, refused: "dimension 2 is fixed to 3"},
		{name: "a profile that falls", batches: []int{1}, given: &engine.Profile{Min: []int64{1, 64, 3}, Opt: []int64{4, 32, 3}, Max: []int64{8, 64, 3}}, refused: "must satisfy min <= opt <= max"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := DefaultOptions()
			o.Batches = c.batches
			r := &run{job: Job{Options: o, Dims: map[string]int64{"length": 32}, MaxBatch: c.maxBatch, Settings: engine.Settings{ProfileBatch: c.batch}}}
			if c.given != nil {
				r.job.Profiles = map[string]engine.Profile{"x": *c.given}
			}
			if err := r.plan([]engine.TensorInfo{input}); err != nil {
				t.Fatal(err)
			}
			got, err := r.ranges()
			if c.refused != "" {
				if err == nil || !strings.Contains(err.Error(), c.refused) {
					t.Errorf("%v, want %q", err, c.refused)
				}
				return
			}
			p := got["x"]
			if err != nil || !slices.Equal(p.Min, c.want.Min) || !slices.Equal(p.Opt, c.want.Opt) || !slices.Equal(p.Max, c.want.Max) {
				t.Errorf("%+v %v, want %+v", p, err, c.want)
			}
		})
	}
}

func TestChangesAreCountedAndTheWeightyOnesComeFirst(t *testing.T) {
	conv := func(p engine.Precision, tactic string) engine.Layer {
		return engine.Layer{Name: "conv", Type: "Convolution", Precision: p, Tactic: tactic, Origins: []string{"conv", "relu"}}
	}
	j := job(t, fake.Script{Layers: []engine.Layer{conv(engine.FP32, "a"), {Name: "pool", Type: "Pooling", Tactic: "new"}}})
	j.PreviousVersion, j.PreviousLayers = "6", []engine.Layer{conv(engine.FP16, "a"), {Name: "pool", Type: "Pooling", Tactic: "old"}}
	m, err := Measure(t.Context(), fake.New(), j, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := m.Layers.Changes
	if c.Against != "6" || c.Counts[engine.PrecisionChanged] != 1 || c.Counts[engine.TacticChanged] != 1 || len(c.Counts) != 2 ||
		!slices.Equal(c.Lines, []string{"[conv + relu]: fp16 -> fp32", "[pool]: tactic old -> new"}) {
		t.Errorf("%+v", c)
	}
}

func TestLayersThatStayedAboveEightBitsAreNamed(t *testing.T) {
	layers := []engine.Layer{
		{Name: "a", Type: "fusion", Precision: engine.FP16, Origins: []string{"head", "bias"}, Quantizable: true},
		{Name: "b", Type: "Convolution", Precision: engine.INT8, Quantizable: true},
		{Name: "c", Type: "Softmax", Precision: engine.FP32},
		{Name: "d", Type: "Convolution", Quantizable: true}, // nobody knows
	}
	for _, c := range []struct {
		precision engine.Precision
		want      []string
	}{{engine.INT8, []string{"head + bias"}}, {engine.FP16, nil}} {
		j := job(t, fake.Script{Layers: layers})
		j.Precision = c.precision
		m, err := Measure(t.Context(), fake.New(), j, nil)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(m.Layers.Unquantized, c.want) || slices.ContainsFunc(m.Warnings, func(w string) bool { return strings.Contains(w, "head + bias") }) != (c.want != nil) {
			t.Errorf("%s: unquantized %q, warnings %q", c.precision, m.Layers.Unquantized, m.Warnings)
		}
	}
}
