package trt

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func image(batch int64) TensorInfo {
	return TensorInfo{Name: "image", Input: true, DType: Float32, Shape: Shape{batch, 3, 32, 32}}
}

func TestBuildOptionsDefaults(t *testing.T) {
	job, err := BuildOptions{}.resolve(NetworkInfo{Inputs: []TensorInfo{image(-1)}})
	if err != nil {
		t.Fatal(err)
	}
	if job.WorkspaceBytes != 1<<30 || job.TimingIterations != 8 {
		t.Errorf("workspace %d, timing iterations %d", job.WorkspaceBytes, job.TimingIterations)
	}
	want := [][]inputRange{{{"image", Range{Min: Shape{1, 3, 32, 32}, Opt: Shape{8, 3, 32, 32}, Max: Shape{8, 3, 32, 32}}}}}
	if !reflect.DeepEqual(job.profiles, want) {
		t.Errorf("profiles %v, want %v", job.profiles, want)
	}
	job, err = BuildOptions{}.resolve(NetworkInfo{Inputs: []TensorInfo{image(4)}})
	if err != nil || job.profiles != nil {
		t.Errorf("a fixed shape needs no profile: %v, %v", job.profiles, err)
	}
}

func TestBuildOptionsRefusals(t *testing.T) {
	dynamic := NetworkInfo{Inputs: []TensorInfo{image(-1)}}
	batches := &Calibration{Next: func() (map[string][]float32, error) { return nil, nil }}
	s := func(n ...int64) Shape { return n }
	for _, tc := range []struct {
		name string
		o    BuildOptions
		net  NetworkInfo
		want string
	}{
		{"fallback without INT8", BuildOptions{Precision: FP16, FP16Fallback: true}, dynamic, "FP16Fallback goes with INT8, not with fp16"},
		{"level", BuildOptions{OptimizationLevel: 6}, dynamic, "optimization level 6 is not in 0..5"},
		{"precision", BuildOptions{Precision: 7}, dynamic, "precision(7)"},
		{"workspace", BuildOptions{WorkspaceBytes: -1}, dynamic, "workspace of -1 bytes"},
		{"INT8 without data", BuildOptions{Precision: INT8}, dynamic, "INT8 needs calibration data: the model has no Q/DQ nodes"},
		{"calibration without INT8", BuildOptions{Calibration: batches}, dynamic, "calibration goes with INT8, not with fp32"},
		{"calibration without data", BuildOptions{Precision: INT8, Calibration: &Calibration{}}, dynamic, "neither data nor a cache"},
		{"calibration of an unknown input", BuildOptions{Precision: INT8, Calibration: &Calibration{Next: batches.Next, Shapes: map[string]Shape{"x": s(1)}}}, dynamic, `the model has no input "x"`},
		{"batch range", BuildOptions{Batch: BatchRange{4, 2, 8}}, dynamic, "batch range 4/2/8 must rise from 1"},
		{"open height", BuildOptions{}, NetworkInfo{Inputs: []TensorInfo{{Name: "x", Shape: s(-1, 3, -1)}}}, `input "x" has shape ?x3x?: only the batch has a default`},
		{"unknown input", BuildOptions{Profiles: []map[string]Range{{"x": {}}}}, dynamic, `optimization profile 0: invalid argument: the model has no input "x"`},
		{"rank", BuildOptions{Profiles: []map[string]Range{{"image": {s(1), s(1), s(1)}}}}, dynamic, `input "image" has shape ?x3x32x32, the profile gives 1`},
		{"fixed dimension", BuildOptions{Profiles: []map[string]Range{{"image": {s(1, 3, 32, 32), s(1, 3, 32, 33), s(1, 3, 32, 32)}}}}, dynamic, "the profile gives 1x3x32x33"},
		{"falling", BuildOptions{Profiles: []map[string]Range{{"image": {s(4, 3, 32, 32), s(2, 3, 32, 32), s(8, 3, 32, 32)}}}}, dynamic, "does not rise"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := tc.o.resolve(tc.net)
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
	shape := NetworkInfo{Inputs: []TensorInfo{{Name: "size", Host: true, Shape: s(2)}}}
	if _, err := (BuildOptions{}).resolve(shape); !errors.Is(err, ErrUnsupported) {
		t.Errorf("a shape tensor: %v", err)
	}
}

func TestQuantizedModelNeedsNoCalibration(t *testing.T) {
	net := NetworkInfo{Inputs: []TensorInfo{image(-1)}, QuantizeLayers: 4}
	job, err := BuildOptions{Precision: INT8}.resolve(net)
	if err != nil || job.calibration != nil {
		t.Errorf("got %v, %v", job.calibration, err)
	}
	job, err = BuildOptions{Precision: INT8, Calibration: &Calibration{Cache: []byte("x")}}.resolve(net)
	if err != nil || job.calibration != nil {
		t.Errorf("its own ranges win over data: got %v, %v", job.calibration, err)
	}
}

func TestCalibrationShape(t *testing.T) {
	net := NetworkInfo{Inputs: []TensorInfo{image(-1)}}
	c := &Calibration{Cache: []byte("x")}
	job, err := BuildOptions{Precision: INT8, Calibration: c}.resolve(net)
	if err != nil || !reflect.DeepEqual(job.calibration, map[string]Shape{"image": {8, 3, 32, 32}}) {
		t.Errorf("the tuned-for shape: got %v, %v", job.calibration, err)
	}
	c.Shapes = map[string]Shape{"image": {16, 3, 32, 32}}
	job, err = BuildOptions{Precision: INT8, Calibration: c}.resolve(net)
	if err != nil || !reflect.DeepEqual(job.calibration, c.Shapes) {
		t.Errorf("the given shape: got %v, %v", job.calibration, err)
	}
	c.Shapes = map[string]Shape{"image": {16, 3, 32, 31}}
	if _, err = (BuildOptions{Precision: INT8, Calibration: c}).resolve(net); !errors.Is(err, ErrInvalid) {
		t.Errorf("a wrong shape: %v", err)
	}
}

func TestTimingCacheUse(t *testing.T) {
	log := func(lines ...string) (out []LogLine) {
		for _, l := range lines {
			out = append(out, LogLine{SeverityInfo, l})
		}
		return out
	}
	for _, tc := range []struct {
		name            string
		supplied, valid bool
		log             []LogLine
		usable, hit     bool
		misses          int
	}{
		{"cold", false, false, log("Serialized 40 timing cache entries"), false, false, 40},
		{"everything known", true, true, log("Serialized 40 timing cache entries", "Serialized 40 timing cache entries"), true, true, 0},
		{"some known", true, true, log("Serialized 40 timing cache entries", "Serialized 43 timing cache entries"), true, false, 3},
		{"taken for an empty one", true, true, log("Serialized 0 timing cache entries", "Serialized 25 timing cache entries"), false, false, 25},
		{"nothing timed, then or now", true, true, log("Serialized 0 timing cache entries", "Serialized 0 timing cache entries"), true, false, 0},
		{"refused", true, false, log("Serialized 12 timing cache entries"), false, false, 12},
		{"not reported", true, true, nil, true, false, -1},
		{"reported in part", true, true, log("Serialized 40 timing cache entries"), true, false, -1},
	} {
		u := cacheUse(tc.supplied, tc.valid, "", tc.log)
		if u.Valid != tc.usable || u.Hit() != tc.hit || u.Misses() != tc.misses {
			t.Errorf("%s: %+v, hit %v, misses %d, want usable %v, hit %v, misses %d", tc.name, u, u.Hit(), u.Misses(), tc.usable, tc.hit, tc.misses)
		}
	}
}
