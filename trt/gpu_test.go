//go:build tensorrt && cgo && gpu

package trt_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/trt"
)

func TestDevice(t *testing.T) {
	ds, err := library(t).Devices()
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range ds {
		if d.Index != i || !strings.HasPrefix(d.UUID, "GPU-") && !strings.HasPrefix(d.UUID, "MIG-") || len(d.UUID) != 40 || d.Multiprocessors < 1 || d.MemoryBytes < 1<<30 {
			t.Errorf("device %+v", d)
		}
		t.Logf("%+v", d)
	}
	if v := library(t).Versions(); v.CUDA == "" || v.Driver == "" {
		t.Errorf("versions %+v", v)
	} else {
		t.Logf("%+v", v)
	}
	if _, err := library(t).NewRuntime(len(ds)); !errors.Is(err, trt.ErrNoDevice) {
		t.Errorf("a device too far: %v", err)
	}
}

// The results of each precision lie near those computed by hand in float64.
func TestInferAgreesWithReference(t *testing.T) {
	net := newConvNet(16, 1)
	for _, tc := range []struct {
		name  string
		model []byte
		o     trt.BuildOptions
		tol   float64
	}{
		{"fp32", net.model(), trt.BuildOptions{}, 1e-4},
		{"tf32", net.model(), trt.BuildOptions{TF32: true}, 5e-3},
		{"fp16", net.model(), trt.BuildOptions{Precision: trt.FP16}, 1e-2},
		{"int8-qdq", net.quantized(), trt.BuildOptions{Precision: trt.INT8, FP16Fallback: true}, 0.1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := build(t, tc.model, tc.o)
			e := load(t, r.Plan)
			raw, err := e.InspectJSON()
			if err != nil {
				t.Fatal(err)
			}
			keep(t, "inspect-"+tc.name+".json", raw)
			c, err := e.NewContext(0)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			for _, batch := range []int64{1, 8, 3} {
				x := images(batch, uint64(batch))
				out, err := c.Infer(map[string]trt.Tensor{"image": x})
				if err != nil {
					t.Fatal(err)
				}
				got, err := out["logits"].Float32s()
				if err != nil || int64(len(got)) != batch*10 {
					t.Fatalf("%d logits, %v", len(got), err)
				}
				pixels, _ := x.Float32s()
				worst := 0.0
				for b := range int(batch) {
					for k, want := range net.logits(pixels[b*3072 : (b+1)*3072]) {
						worst = max(worst, math.Abs(float64(got[b*10+k])-want))
					}
				}
				if worst > tc.tol {
					t.Errorf("batch %d: worst deviation %g", batch, worst)
				}
				if batch == 8 {
					t.Logf("worst deviation %.2g, build %v, %v", worst, r.Duration.Round(time.Millisecond), e.Info())
				}
			}
			layers, err := e.Layers()
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%+v", summarize(layers))
		})
	}
}

func TestEveryParserErrorIsData(t *testing.T) {
	g := &graph{}
	g.input("x", -1, 8)
	g.node("first", "Relu", "", []string{"x"}, []string{"a"})
	g.node("strange", "MyMish", "example", []string{"a"}, []string{"b"})
	g.node("stranger", "MyGelu", "example", []string{"b"}, []string{"y"})
	g.output("y", -1, 8)
	b, err := library(t).NewBuilder(0)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	_, err = b.Parse(g.model())
	var refused *trt.ParseError
	if !errors.As(err, &refused) {
		t.Fatalf("got %v", err)
	}
	for _, e := range refused.Errors {
		t.Logf("%v [%s] %s", e, e.Source, e.Functions)
	}
	ops := refused.Operators()
	if len(ops) != 2 || ops[0] != "MyMish" || ops[1] != "MyGelu" || refused.Errors[0].NodeName != "strange" || refused.Errors[0].NodeIndex != 1 {
		t.Errorf("operators %q, first %+v", ops, refused.Errors[0])
	}
	model := newConvNet(16, 1).model()
	if _, err := b.Parse(model[:len(model)/2]); !errors.As(err, &refused) {
		t.Errorf("a truncated model: %v", err)
	} else {
		t.Log(err)
	}
	if _, err := b.ParseFile("/nowhere.onnx"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

func TestBadPlans(t *testing.T) {
	plan := smallPlan(t)
	r, err := library(t).NewRuntime(0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for name, bad := range map[string][]byte{
		"half":     plan[:len(plan)/2],
		"header":   plan[:16],
		"nonsense": bytes.Repeat([]byte("no plan "), 1000),
		"empty":    nil,
	} {
		_, err := r.Load(bad)
		t.Logf("%s: %v", name, err)
		if !errors.Is(err, trt.ErrCorruptPlan) && !errors.Is(err, trt.ErrIncompatiblePlan) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Bytes 24 to 27 are the version, 28 to 31 the platform. TensorRT does not look at
	// every byte before.
	t.Logf("header % x", plan[:64])
	for at := range 32 {
		other := bytes.Clone(plan)
		other[at]++
		e, err := r.Load(other)
		t.Logf("byte %d changed: %v", at, err)
		switch {
		case err == nil:
			e.Close()
			if at >= 24 {
				t.Errorf("byte %d: a plan of another version or platform was loaded", at)
			}
		case at >= 24 && !errors.Is(err, trt.ErrIncompatiblePlan), at < 24 && !errors.Is(err, trt.ErrCorruptPlan):
			t.Errorf("byte %d: %v", at, err)
		}
	}
}

func TestProgressAndCancel(t *testing.T) {
	var reports []trt.Progress
	r := build(t, newConvNet(32, 2).model(), trt.BuildOptions{Progress: func(p trt.Progress) { reports = append(reports, p) }})
	if len(reports) < 3 {
		t.Fatalf("%d reports", len(reports))
	}
	if reports[len(reports)-1].Fraction != 1 {
		t.Errorf("%d reports, the last %+v", len(reports), reports[len(reports)-1])
	}
	phases := map[string]bool{}
	for _, p := range reports {
		phases[p.Phase] = true
	}
	t.Logf("%d reports of %v in %v", len(reports), phases, r.Duration)

	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the candidate was withdrawn")
	_, err := parse(t, newConvNet(32, 3).model()).Build(ctx, trt.BuildOptions{
		OptimizationLevel: 3, Progress: func(p trt.Progress) { cancel(why) },
	})
	if !errors.Is(err, why) {
		t.Errorf("canceled: %v", err)
	}
	func() {
		defer func() {
			if p := recover(); p != "oops" {
				t.Errorf("a panic in Progress came back as %v", p)
			}
		}()
		_, err := parse(t, newConvNet(32, 3).model()).Build(t.Context(), trt.BuildOptions{Progress: func(trt.Progress) { panic("oops") }})
		t.Errorf("no panic, %v", err)
	}()
}

func TestTimingCache(t *testing.T) {
	model := newConvNet(24, 4).model()
	cold := build(t, model, trt.BuildOptions{})
	if cold.CacheUse.Supplied || cold.CacheUse.Hit() || cold.CacheUse.Misses() < 1 || len(cold.TimingCache) == 0 {
		t.Errorf("cold: %+v, %d bytes", cold.CacheUse, len(cold.TimingCache))
	}
	warm := build(t, model, trt.BuildOptions{TimingCache: cold.TimingCache})
	if !warm.CacheUse.Hit() || warm.CacheUse.Misses() != 0 {
		t.Errorf("warm: %+v", warm.CacheUse)
	}
	t.Logf("cold %v %+v, warm %v %+v", cold.Duration, cold.CacheUse, warm.Duration, warm.CacheUse)
	for _, l := range warm.Log {
		t.Logf("%v: %s", l.Severity, l.Text)
	}
	other := build(t, newConvNet(40, 5).model(), trt.BuildOptions{TimingCache: cold.TimingCache})
	if other.CacheUse.Hit() || other.CacheUse.Misses() < 1 {
		t.Errorf("another model: %+v", other.CacheUse)
	}
	damaged := bytes.Clone(cold.TimingCache)
	for i := range min(64, len(damaged)) {
		damaged[i] ^= 0x5a
	}
	for name, cache := range map[string][]byte{"damaged": damaged, "nonsense": []byte("nonsense")} {
		r := build(t, model, trt.BuildOptions{TimingCache: cache})
		if r.CacheUse.Valid || r.CacheUse.Reason == "" || r.CacheUse.Hit() {
			t.Errorf("%s: %+v", name, r.CacheUse)
		}
	}
}

func TestCalibration(t *testing.T) {
	net := newConvNet(32, 6)
	batches := func(n int, fail error) func() (map[string][]float32, error) {
		return func() (map[string][]float32, error) {
			if n == 0 {
				if fail != nil {
					return nil, fail
				}
				return nil, io.EOF
			}
			n--
			v, err := images(8, uint64(n)).Float32s()
			return map[string][]float32{"image": v}, err
		}
	}
	o := trt.BuildOptions{Precision: trt.INT8, FP16Fallback: true, Calibration: &trt.Calibration{Next: batches(4, nil)}}
	first := build(t, net.model(), o)
	if c := first.Calibration; c == nil || c.Batches != 4 || c.Samples != 32 || c.FromCache {
		t.Errorf("calibration %+v", c)
	}
	cache, err := trt.ParseCalibrationCache(first.Calibration.Cache)
	if err != nil {
		t.Fatalf("%v in %q", err, first.Calibration.Cache)
	}
	if s := cache.Scales["image"]; math.Abs(float64(s)*127-1) > 0.2 {
		t.Errorf("the scale of a picture in [-1, 1) is %g", s)
	}
	t.Logf("%s", first.Calibration.Cache)
	e := load(t, first.Plan)
	layers, err := e.Layers()
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := e.InspectJSON()
	keep(t, "inspect-int8-calibrated.json", raw)
	t.Logf("%+v", summarize(layers))

	o.Calibration = &trt.Calibration{Cache: first.Calibration.Cache}
	second := build(t, net.model(), o)
	if c := second.Calibration; c == nil || c.Batches != 0 || !c.FromCache {
		t.Errorf("from the cache: %+v", c)
	}

	broken := errors.New("the archive ends early")
	o.Calibration = &trt.Calibration{Next: batches(1, broken)}
	if _, err := parse(t, net.model()).Build(t.Context(), o); !errors.Is(err, broken) {
		t.Errorf("a failing source: %v", err)
	}
	o.Calibration = &trt.Calibration{Next: func() (map[string][]float32, error) { return map[string][]float32{"image": {1}}, nil }}
	if _, err := parse(t, net.model()).Build(t.Context(), o); !errors.Is(err, trt.ErrInvalid) {
		t.Errorf("a short batch: %v", err)
	}
}

func TestQuantizedModelIsRecognised(t *testing.T) {
	n := parse(t, newConvNet(16, 1).quantized())
	if q := n.Info().QuantizeLayers; q != 8 {
		t.Errorf("%d quantize layers, want 8", q)
	}
	if q := parse(t, newConvNet(16, 1).model()).Info(); q.QuantizeLayers != 0 || len(q.Inputs) != 1 || q.Inputs[0].Shape.String() != "?x3x32x32" || q.Outputs[0].Name != "logits" {
		t.Errorf("plain model: %+v", q)
	}
}
