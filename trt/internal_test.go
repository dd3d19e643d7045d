package trt

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
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

func engineInfo() EngineInfo {
	in := image(-1)
	in.Profiles = []Range{{Min: Shape{1, 3, 32, 32}, Opt: Shape{8, 3, 32, 32}, Max: Shape{8, 3, 32, 32}}}
	return EngineInfo{Profiles: 1, Tensors: []TensorInfo{in, {Name: "logits", Shape: Shape{-1, 10}}}}
}

func TestBenchOptions(t *testing.T) {
	job, err := BenchOptions{}.resolve(engineInfo())
	if err != nil {
		t.Fatal(err)
	}
	if job.Streams != 1 || job.Depth != 2 || len(job.steps) != 1 || len(job.steps[0]) != 1 || !reflect.DeepEqual(job.steps[0][0].Shape, Shape{8, 3, 32, 32}) {
		t.Errorf("defaults: %d streams, depth %d, inputs %v", job.Streams, job.Depth, job.steps[0][0].Shape)
	}
	job, err = BenchOptions{Shapes: map[string]Shape{"image": {2, 3, 32, 32}}}.resolve(engineInfo())
	if err != nil || job.steps[0][0].Shape[0] != 2 {
		t.Errorf("given shape: %v", err)
	}
	for name, o := range map[string]BenchOptions{
		`shape 9x3x32x32 is outside the profile's 1x3x32x32 to 8x3x32x32`: {Shapes: map[string]Shape{"image": {9, 3, 32, 32}}},
		`the engine has no input "x"`:                                     {Shapes: map[string]Shape{"x": {1}}},
		`the engine has no input "y"`:                                     {Inputs: map[string]Tensor{"y": NewTensor(Float32, Shape{1})}},
		`input "image" is fp32, given fp16`:                               {Inputs: map[string]Tensor{"image": NewTensor(Float16, Shape{1, 3, 32, 32})}},
		`depth 3, want 1 or 2`:                                            {Depth: 3},
		`-1 streams, want 1 to 128`:                                       {Streams: -1},
		`profile 1 of 1`:                                                  {Profile: 1},
	} {
		if _, err := o.resolve(engineInfo()); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %q", err, name)
		}
	}
}

// memory is an engine whose input past grows by a token with each step.
func memory() EngineInfo {
	past := TensorInfo{Name: "past", Input: true, Shape: Shape{1, -1, 4}, Profiles: []Range{{Min: Shape{1, 0, 4}, Opt: Shape{1, 2, 4}, Max: Shape{1, 8, 4}}}}
	return EngineInfo{Profiles: 1, Tensors: []TensorInfo{{Name: "x", Input: true, Shape: Shape{1, 1, 4}}, past, {Name: "present", Shape: Shape{1, -1, 4}}, {Name: "mean", Shape: Shape{1, 4}}}}
}

// steps are so many over a memory that begins with two tokens.
func steps(n int) *Chain {
	c := &Chain{Links: []Link{{Input: "past", Output: "present", Start: NewTensor(Float32, Shape{1, 2, 4}), Shapes: []Shape{{1, 2, 4}}}}}
	for i := range n {
		c.Steps = append(c.Steps, map[string]Tensor{"x": NewTensor(Float32, Shape{1, 1, 4})})
		c.Links[0].Shapes = append(c.Links[0].Shapes, Shape{1, int64(3 + i), 4})
	}
	return c
}

func TestChainsFitTheirEngine(t *testing.T) {
	job, err := BenchOptions{Depth: 1, Chain: steps(3)}.resolve(memory())
	if err != nil {
		t.Fatal(err)
	}
	if len(job.steps) != 3 || job.links[0].room() != 5*4*4 {
		t.Errorf("%d steps, memory of %d bytes", len(job.steps), job.links[0].room())
	}
	for i, step := range job.steps {
		if len(step) != 2 || step[1].name != "past" || !reflect.DeepEqual(step[1].Shape, Shape{1, int64(2 + i), 4}) || step[1].Data != nil {
			t.Errorf("step %d takes %+v", i, step)
		}
	}
	for want, change := range map[string]func(*BenchOptions){
		"a chain without steps":                                          func(o *BenchOptions) { o.Chain.Steps = nil },
		"a chain with a depth of 2":                                      func(o *BenchOptions) { o.Depth = 0 },
		`no output "past" to be linked with an input "past"`:             func(o *BenchOptions) { o.Chain.Links[0].Output = "past" },
		`input "past" is fp32 and starts with fp16`:                      func(o *BenchOptions) { o.Chain.Links[0].Start.DType = Float16 },
		"has 3 shapes for 3 steps":                                       func(o *BenchOptions) { o.Chain.Links[0].Shapes = o.Chain.Links[0].Shapes[:3] },
		"starts with 1x1x4":                                              func(o *BenchOptions) { o.Chain.Links[0].Start = NewTensor(Float32, Shape{1, 1, 4}) },
		"one is not fixed":                                               func(o *BenchOptions) { o.Chain.Links[0].Shapes[3][1] = -1 },
		"31 bytes for 1x2x4":                                             func(o *BenchOptions) { o.Chain.Links[0].Start.Data = make([]byte, 31) },
		`step 1: invalid argument: input "x" (fp32 1x1x4) is missing`:    func(o *BenchOptions) { o.Chain.Steps[1] = nil },
		`step 2: invalid argument: input "past": shape 1x9x4 is outside`: func(o *BenchOptions) { o.Chain.Links[0].Shapes[2][1] = 9 },
	} {
		o := BenchOptions{Depth: 1, Chain: steps(3)}
		change(&o)
		if _, err := o.resolve(memory()); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestSearchOrder(t *testing.T) {
	env := func(k string) string {
		if k == LibraryPathVariable {
			return "/env/a:/env/b"
		}
		return ""
	}
	glob := func(string) ([]string, error) { return []string{"/wheel"}, nil }
	s := newSearchPath(Options{LibraryPath: []string{"/option/", "/env/a"}}, env, glob)
	if want := []string{"/option", "/env/a", "/env/b"}; !reflect.DeepEqual(s.first, want) {
		t.Errorf("before the loader: %q, want %q", s.first, want)
	}
	var tried []string
	where, err := s.open("libnvinfer.so.10", func(p string) bool { return p == "/wheel/libnvinfer.so.10" || p == "/env/b/other" }, func(p string) error {
		tried = append(tried, p)
		if p == "/wheel/libnvinfer.so.10" {
			return nil
		}
		return errors.New("no such file")
	})
	if err != nil || where != "/wheel/libnvinfer.so.10" {
		t.Errorf("found %q, %v", where, err)
	}
	if want := []string{"libnvinfer.so.10", "/wheel/libnvinfer.so.10"}; !reflect.DeepEqual(tried, want) {
		t.Errorf("tried %q, want %q", tried, want)
	}
}

func TestMissingLibraryIsExplained(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "libnvinfer.so.8"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	s := searchPath{first: []string{dir}, last: []string{"/last"}}
	_, err := s.open("libnvinfer.so.10", fileExists, func(p string) error { return errors.New(p + ": cannot open shared object file") })
	want := "TensorRT is not available: cannot open libnvinfer.so.10: libnvinfer.so.10: cannot open shared object file; looked in " +
		dir + ", the dynamic loader's path, /last; found instead " + dir + "/libnvinfer.so.8; set TRT_LIBRARY_PATH or Options.LibraryPath to the folder that holds it"
	if !errors.Is(err, ErrUnavailable) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	// A file that is there and cannot be opened is the reason, not the places after it.
	if err := os.WriteFile(filepath.Join(dir, "libnvinfer.so.10"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = s.open("libnvinfer.so.10", fileExists, func(string) error { return errors.New("file too short") })
	if err == nil || !strings.Contains(err.Error(), "file too short") || strings.Contains(err.Error(), "/last") {
		t.Errorf("a damaged library: %v", err)
	}
}

func TestClassify(t *testing.T) {
	for _, tc := range []struct {
		log  string
		kind error
		node string
	}{
		{"IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Serialization assertion stdVersionRead == kSERIALIZATION_VERSION failed.Version tag does not match. Note: Current Version: 239, Serialized Engine Version: 236)", ErrIncompatiblePlan, ""},
		{"IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Serialization assertion plan->header.pad == expectedPlatformTag failed.Platform specific tag mismatch detected. TensorRT plan files are only supported on the target runtime platform they were created on.)", ErrIncompatiblePlan, ""},
		{"IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Serialization assertion plan->header.size == blobSize failed.)", ErrCorruptPlan, ""},
		{"The engine plan file is generated on an incompatible device, expecting compute 9.0 got compute 8.9, please rebuild.", ErrIncompatiblePlan, ""},
		{"IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Serialization assertion magicTagRead == kMAGIC_TAG failed.Magic tag does not match)", ErrCorruptPlan, ""},
		{"Error Code 10: Internal Error (Could not find any implementation for node /layer1/conv + /relu due to insufficient workspace. See verbose log for requested sizes.)", ErrNoImplementation, "/layer1/conv + /relu"},
		{"Error Code 10: Internal Error (Could not find any implementation for node {ForeignNode[a...b]}.)", ErrNoImplementation, "{ForeignNode[a...b]}"},
		{"Error Code 2: OutOfMemory (Requested size was 4294967296 bytes.)", ErrOutOfMemory, ""},
		{"something else", nil, ""},
	} {
		e := (&Error{Op: "x", Log: []LogLine{{SeverityError, tc.log}}}).classify()
		if !errors.Is(e.Kind, tc.kind) || e.Node != tc.node {
			t.Errorf("%s: got %v at %q, want %v at %q", tc.log, e.Kind, e.Node, tc.kind, tc.node)
		}
	}
	e := (&Error{Op: "load plan", Log: []LogLine{{SeverityError, "expecting compute 9.0 got compute 8.9, please rebuild."}}, Kind: ErrIncompatiblePlan}).classify()
	if want := "it was built for a GPU of compute capability 8.9, this one has 9.0"; !strings.Contains(e.Error(), want) {
		t.Errorf("got %v, want %q", e, want)
	}
	e = (&Error{Kind: ErrNoDevice, Text: "cuInit: CUDA_ERROR_NO_DEVICE"}).classify()
	if !errors.Is(e, ErrNoDevice) {
		t.Errorf("a known kind is kept: %v", e.Kind)
	}
}

// The header is that of a plan of 10.6.0.26.
func TestPlansOfAnotherVersionAreRefusedByName(t *testing.T) {
	plan := []byte("ftrt\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\xc4\x38\x06\x00\x00\x00\x00\x00\x0a\x06\x00\x1artrtNGNE")
	if v := planVersion(plan); v != "10.6.0.26" {
		t.Fatalf("version %q", v)
	}
	_, err := (&Runtime{version: "10.7.0.23"}).Load(plan)
	if !errors.Is(err, ErrIncompatiblePlan) || !strings.Contains(err.Error(), "built by TensorRT 10.6.0.26, this is 10.7.0.23") {
		t.Errorf("got %v", err)
	}
	for name, other := range map[string][]byte{
		"too short": plan[:27], "no plan": append([]byte("xtrt"), plan[4:]...), "another layout": append([]byte("ftrt\x01"), plan[5:]...),
	} {
		if v := planVersion(other); v != "" {
			t.Errorf("%s: version %q", name, v)
		}
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

func TestProgressNeverFallsAndEndsWhole(t *testing.T) {
	tree := newProgressTree()
	last := -1.0
	check := func(p Progress) Progress {
		t.Helper()
		if p.Fraction < last || p.Fraction < 0 || p.Fraction > 1 {
			t.Errorf("%+v after %g", p, last)
		}
		last = p.Fraction
		return p
	}
	check(tree.start("Building Engine", "", 2))
	check(tree.start("Tactics", "Building Engine", 4))
	for i := range 4 {
		check(tree.step("Tactics", i))
	}
	check(tree.finish("Tactics"))
	if last != 0.5 {
		t.Errorf("a whole child of two steps: %g", last)
	}
	check(tree.step("Building Engine", 0))
	check(tree.start("A", "Building Engine", 10))
	check(tree.start("B", "Building Engine", 10))
	if p := check(tree.step("A", 4)); p.Parent != "Building Engine" || p.Step != 5 || p.Steps != 10 || p.Fraction > 0.5+0.25 {
		t.Errorf("one of two siblings half done: %+v", p)
	}
	check(tree.finish("A"))
	check(tree.finish("B"))
	check(tree.step("unknown", 1))
	if p := check(tree.finish("Building Engine")); p.Fraction != 1 || !p.Done {
		t.Errorf("the end: %+v", p)
	}
	if len(tree.phases) != 0 {
		t.Errorf("%d phases left", len(tree.phases))
	}
}

// blockingBencher stands for a native call in progress: it says when it has begun
// and ends on request.
type blockingBencher struct {
	nativeBencher
	begun, end chan struct{}
	running    atomic.Int32
	freed      atomic.Int32
	t          *testing.T
}

func (b *blockingBencher) run(context.Context, Window) (*Samples, error) {
	if n := b.running.Add(1); n != 1 || b.freed.Load() != 0 {
		b.t.Errorf("%d calls at once, freed %d times", n, b.freed.Load())
	}
	b.begun <- struct{}{}
	<-b.end
	b.running.Add(-1)
	return &Samples{}, nil
}

func (b *blockingBencher) close() {
	if n := b.running.Load(); n != 0 {
		b.t.Errorf("free with %d calls running", n)
	}
	b.freed.Add(1)
}

func TestCloseWaitsAndCallsAreSerialised(t *testing.T) {
	n := &blockingBencher{begun: make(chan struct{}), end: make(chan struct{}), t: t}
	b := &Bencher{n: n}
	w := Window{MinQueries: 1}
	var calls, closers sync.WaitGroup
	for range 3 {
		calls.Go(func() {
			if _, err := b.Run(t.Context(), w); err != nil {
				t.Error(err)
			}
		})
	}
	for i := range 3 {
		<-n.begun
		if i == 2 { // the last call is in progress: Close has to wait for it
			for range 2 {
				closers.Go(b.Close)
			}
		}
		n.end <- struct{}{}
	}
	calls.Wait()
	closers.Wait()
	if got := n.freed.Load(); got != 1 {
		t.Errorf("freed %d times", got)
	}
	if _, err := b.Run(t.Context(), w); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestRunRefusesEmptyWindowAndEndedContext(t *testing.T) {
	b := &Bencher{n: &blockingBencher{t: t}}
	if _, err := b.Run(t.Context(), Window{}); !errors.Is(err, ErrInvalid) {
		t.Errorf("empty window: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Run(ctx, Window{MinQueries: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}
}
