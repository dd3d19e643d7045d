package trt_test

import (
	"errors"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/plancast/plancast/trt"
)

func TestRequire(t *testing.T) {
	found := trt.Versions{TensorRT: "10.6.0.26", CUDA: "13.0", Driver: "580.159.04"}
	for _, tc := range []struct {
		name string
		want trt.Require
		err  string
	}{
		{"nothing demanded", trt.Require{}, ""},
		{"prefix", trt.Require{TensorRT: "10.6", CUDA: "13", Driver: "580"}, ""},
		{"exact", trt.Require{TensorRT: "10.6.0.26"}, ""},
		{"a component is not a prefix of digits", trt.Require{TensorRT: "10.60"}, "version lock: TensorRT 10.60 is required, found 10.6.0.26"},
		{"longer than known", trt.Require{CUDA: "13.0.1"}, "version lock: CUDA 13.0.1 is required, found 13.0"},
		{"every mismatch is named", trt.Require{TensorRT: "8", CUDA: "12", Driver: "535"},
			"version lock: TensorRT 8 is required, found 10.6.0.26; CUDA 12 is required, found 13.0; driver 535 is required, found 580.159.04"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.want.Check(found)
			if got := text(err); got != tc.err {
				t.Errorf("got %q, want %q", got, tc.err)
			}
			var v *trt.VersionError
			if err != nil && !errors.As(err, &v) {
				t.Errorf("%T is no *VersionError", err)
			}
		})
	}
	if got, want := text(trt.Require{Driver: "580"}.Check(trt.Versions{})), "version lock: driver 580 is required, found none"; got != want {
		t.Errorf("unknown version: got %q, want %q", got, want)
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestTensorRoundTrip(t *testing.T) {
	values := []float32{0, 1, -1, 0.5, -2, 100, 3, -128}
	for _, d := range []trt.DType{trt.Float32, trt.Float16, trt.BFloat16, trt.Int8, trt.Int32, trt.Int64} {
		t.Run(d.String(), func(t *testing.T) {
			in := values
			if d == trt.Int8 || d == trt.Int32 || d == trt.Int64 {
				in = []float32{0, 1, -1, 2, -2, 100, 3, -128}
			}
			x, err := trt.FromFloat32(d, trt.Shape{2, 4}, in)
			if err != nil {
				t.Fatal(err)
			}
			got, err := x.Float32s()
			if err != nil || !reflect.DeepEqual(got, in) {
				t.Errorf("got %v, %v, want %v", got, err, in)
			}
		})
	}
}

// Expected bits are those of numpy.float16 and of ml_dtypes.bfloat16.
func TestHalfRounding(t *testing.T) {
	for _, tc := range []struct {
		in         float32
		half, bf16 uint16
	}{
		{1, 0x3c00, 0x3f80},
		{-2, 0xc000, 0xc000},
		{65504, 0x7bff, 0x4780},
		{65520, 0x7c00, 0x4780}, // rounds to infinity in half
		{1e9, 0x7c00, 0x4e6e},
		{0.1, 0x2e66, 0x3dcd},
		{1.0 / 3, 0x3555, 0x3eab},
		{6.1035156e-05, 0x0400, 0x3880}, // smallest normal half
		{6.0975552e-05, 0x03ff, 0x3880}, // largest subnormal half
		{5.9604645e-08, 0x0001, 0x3380}, // smallest subnormal half
		{2.9802322e-08, 0x0000, 0x3300}, // half of it: ties to even
		{4.470348e-08, 0x0001, 0x3340},
		{1.00048828125, 0x3c00, 0x3f80}, // tie, to even
		{1.00146484375, 0x3c02, 0x3f80}, // tie, to even
		{float32(math.Inf(-1)), 0xfc00, 0xff80},
	} {
		for d, want := range map[trt.DType]uint16{trt.Float16: tc.half, trt.BFloat16: tc.bf16} {
			x, err := trt.FromFloat32(d, trt.Shape{1}, []float32{tc.in})
			if err != nil {
				t.Fatal(err)
			}
			if got := uint16(x.Data[0]) | uint16(x.Data[1])<<8; got != want {
				t.Errorf("%v of %g: got %#04x, want %#04x", d, tc.in, got, want)
			}
		}
	}
}

// Every half is a float32, so reading and rounding again gives it back.
func TestHalfReadsBack(t *testing.T) {
	for h := range 1 << 16 {
		x := trt.Tensor{DType: trt.Float16, Shape: trt.Shape{1}, Data: []byte{byte(h), byte(h >> 8)}}
		v, err := x.Float32s()
		if err != nil {
			t.Fatal(err)
		}
		if v[0] != v[0] {
			continue
		}
		back, _ := trt.FromFloat32(trt.Float16, trt.Shape{1}, v)
		if got := int(back.Data[0]) | int(back.Data[1])<<8; got != h {
			t.Fatalf("%#04x became %g became %#04x", h, v[0], got)
		}
	}
}

func TestTensorRefusals(t *testing.T) {
	if _, err := trt.FromFloat32(trt.Float32, trt.Shape{2, 2}, make([]float32, 3)); !errors.Is(err, trt.ErrInvalid) {
		t.Errorf("three values for 2x2: %v", err)
	}
	if _, err := trt.RandomTensor(trt.Float32, trt.Shape{-1, 2}, 0); !errors.Is(err, trt.ErrInvalid) {
		t.Errorf("open shape: %v", err)
	}
	if _, err := trt.FromFloat32(trt.FP8, trt.Shape{1}, []float32{1}); !errors.Is(err, trt.ErrUnsupported) {
		t.Errorf("fp8: %v", err)
	}
	if _, err := (trt.Tensor{DType: trt.Float32, Shape: trt.Shape{2}, Data: make([]byte, 7)}).Float32s(); !errors.Is(err, trt.ErrInvalid) {
		t.Errorf("seven bytes: %v", err)
	}
	if n := (trt.Shape{1 << 32, 1 << 32}).Elements(); n != -1 {
		t.Errorf("an overflowing shape has %d elements", n)
	}
}

func TestRandomTensorIsInRangeAndRepeats(t *testing.T) {
	a, err := trt.RandomTensor(trt.Float32, trt.Shape{1000}, 7)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := trt.RandomTensor(trt.Float32, trt.Shape{1000}, 7)
	c, _ := trt.RandomTensor(trt.Float32, trt.Shape{1000}, 8)
	if !reflect.DeepEqual(a, b) || reflect.DeepEqual(a, c) {
		t.Error("the seed alone should decide the values")
	}
	v, _ := a.Float32s()
	sum := 0.0
	for _, x := range v {
		if x < -1 || x >= 1 {
			t.Fatalf("%g is outside [-1, 1)", x)
		}
		sum += float64(x)
	}
	// The mean of 1000 uniform values has a standard deviation of 0.018.
	if mean := sum / 1000; math.Abs(mean) > 0.09 {
		t.Errorf("mean %g", mean)
	}
}

func TestParseCalibrationCache(t *testing.T) {
	c, err := trt.ParseCalibrationCache([]byte("TRT-100600-EntropyCalibration2\nimage: 3c010a14\n/layer:0: 3f800000\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Header != "TRT-100600-EntropyCalibration2" {
		t.Errorf("header %q", c.Header)
	}
	if got, want := slices.Sorted(maps.Keys(c.Scales)), []string{"/layer:0", "image"}; !reflect.DeepEqual(got, want) {
		t.Errorf("tensors %q, want %q", got, want)
	}
	if c.Scales["/layer:0"] != 1 || math.Abs(float64(c.Scales["image"])-1.0/127) > 1e-5 {
		t.Errorf("scales %v", c.Scales)
	}
	for bad, want := range map[string]string{
		"":                    "the first line is not a TensorRT header",
		"nonsense\n":          "the first line is not a TensorRT header",
		"TRT-1-X\nimage\n":    "line 2 has no colon",
		"TRT-1-X\n\nimage: z": "line 3 has no hexadecimal scale",
	} {
		if _, err := trt.ParseCalibrationCache([]byte(bad)); !errors.Is(err, trt.ErrInvalid) || !strings.Contains(text(err), want) {
			t.Errorf("%q: got %v, want %q", bad, err, want)
		}
	}
}

func FuzzParseCalibrationCache(f *testing.F) {
	f.Add([]byte("TRT-100600-EntropyCalibration2\nimage: 3c010a14\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := trt.ParseCalibrationCache(b); err == nil && !strings.HasPrefix(c.Header, "TRT-") {
			t.Errorf("took the header %q", c.Header)
		}
	})
}

func TestParserErrorNamesTheNode(t *testing.T) {
	e := &trt.ParseError{Model: "m.onnx", Errors: []trt.ParserError{
		{Code: trt.ParserUnsupportedNode, Message: "no importer", NodeIndex: 3, NodeName: "/act/Mish", Operator: "MyMish"},
		{Code: trt.ParserUnsupportedNodeDataType, NodeIndex: 4, Operator: "Other"},
		{Code: trt.ParserUnsupportedNode, NodeIndex: 9, Operator: "MyMish"},
	}}
	want := `tensorrt: parse m.onnx: unsupported node at node 3 "/act/Mish" (MyMish): no importer (and 2 more)`
	if e.Error() != want {
		t.Errorf("got  %s\nwant %s", e, want)
	}
	if got := e.Operators(); !reflect.DeepEqual(got, []string{"MyMish", "Other"}) {
		t.Errorf("operators %q", got)
	}
	if got := trt.ParserCode(99).String(); got != "parser code 99" {
		t.Errorf("unknown code: %q", got)
	}
}

func TestSamples(t *testing.T) {
	s := &trt.Samples{Compute: []float64{1, 2}, H2D: []float64{0.25, 0.5}, D2H: []float64{0.5, 0.5}, Wall: 4}
	if got := s.Latency(); !reflect.DeepEqual(got, []float64{1.75, 3}) {
		t.Errorf("latency %v", got)
	}
	if s.Queries() != 2 || s.Throughput() != 0.5 {
		t.Errorf("%d queries, %g per second", s.Queries(), s.Throughput())
	}
	if got := (&trt.Samples{Compute: []float64{1}}).Latency(); !reflect.DeepEqual(got, []float64{1}) {
		t.Errorf("without transfers %v", got)
	}
}
