package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/onnx"
	"github.com/plancast/plancast/exporter/tensorio"
)

// Measure does one job from build to layers and returns all it found out.
// progress, which may be nil, is told of every step; with may be Watched. A
// failure is an *engine.Error, except that the context's own error comes back
// as it is. The work folder is left to the caller.
func Measure(ctx context.Context, backend engine.Backend, job Job, progress func(engine.Progress), with ...func(*run)) (Measurement, error) {
	if progress == nil {
		progress = func(engine.Progress) {}
	}
	r := &run{backend: backend, job: job, progress: progress}
	for _, w := range with {
		w(r)
	}
	err := r.measure(ctx)
	if r.engine != nil {
		if closing := r.engine.Close(); closing != nil && err == nil {
			err = closing
		}
	}
	switch {
	case err == nil:
		return r.m, nil
	case ctx.Err() != nil:
		return Measurement{}, ctx.Err()
	}
	return Measurement{}, engine.AsError(err)
}

// run is one call of Measure.
type run struct {
	backend  engine.Backend
	job      Job
	progress func(engine.Progress)
	engine   engine.Engine
	m        Measurement

	sampler   Sampler // nil without one
	discarded int     // windows that were thrown away

	inputs  []engine.TensorInfo
	arrays  []engine.Tensor // inputs.npz, nil without
	outputs []engine.Tensor // on the evaluation inputs, all samples; nil before accuracy
	samples int             // that outputs holds
	dims    map[string]int64
	batches []int // that the model can do; the first is the latency's
}

func (r *run) warn(format string, args ...any) {
	if w := fmt.Sprintf(format, args...); !slices.Contains(r.m.Warnings, w) {
		r.m.Warnings = append(r.m.Warnings, w)
	}
}

func (r *run) measure(ctx context.Context) error {
	if err := r.job.Options.Validate(); err != nil {
		return engine.Errorf(engine.KindInternal, "measure", r.job.Model, "the options are wrong: %v", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	for _, step := range []func(context.Context) error{r.build, r.load, r.latency, r.sweep, r.memory, r.accuracy, r.calibration, r.layers} {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) build(ctx context.Context) error {
	if r.job.InputsPath != "" {
		arrays, err := tensorio.ReadNPZ(r.job.InputsPath)
		if err != nil {
			return err
		}
		r.arrays = arrays
	}
	req := engine.BuildRequest{
		ModelPath: r.job.ModelPath, Precision: r.job.Precision, WorkDir: r.job.WorkDir, Settings: r.job.Settings,
		CalibrationPath: r.job.CalibrationPath, Digest: r.job.Digest, Kept: r.job.Kept, Progress: r.progress,
	}
	// A model that is not readable here is the backend's to refuse: it knows
	// its own formats. A readable one can be refused before a long build.
	if model, err := onnx.ReadFile(r.job.ModelPath); err == nil {
		req.Native, req.Quantized = model.Precision, model.Quantized
		if err := r.plan(model.Inputs); err != nil {
			return err
		}
		if req.Profiles, err = r.profiles(); err != nil {
			return err
		}
		r.m.Warnings = nil // plan runs again on what the engine says
	}
	plan, err := r.backend.Build(ctx, req)
	if err != nil {
		return err
	}
	r.m.Plan = plan
	r.m.Plan.Warnings = nil
	r.m.Warnings = append(r.m.Warnings, plan.Warnings...)
	if !plan.Reused {
		r.progress(engine.Progress{Stage: "build", Done: 1, Total: 1, Message: fmt.Sprintf("built in %v", plan.Duration.Round(time.Millisecond))})
	}
	return nil
}

func (r *run) load(ctx context.Context) error {
	r.progress(engine.Progress{Stage: "load"})
	e, err := r.backend.Load(ctx, r.m.Plan, engine.LoadOptions{
		Settings: r.job.Settings, Concurrency: slices.Max(append([]int{1}, r.job.Options.Concurrency...)),
	})
	if err != nil {
		return err
	}
	r.engine = e
	return r.plan(e.Inputs())
}

func (r *run) shapes(batch int) tensorio.Shapes {
	return tensorio.Shapes{Batch: int64(batch), Dims: r.dims, InputDims: r.job.InputDims}
}

// plan decides which batches can be measured, and that all shapes are known.
func (r *run) plan(inputs []engine.TensorInfo) error {
	r.inputs = inputs
	r.dims = tensorio.DimsOf(inputs, r.arrays)
	for name, size := range r.job.Dims {
		r.dims[name] = size
	}
	o := r.job.Options
	if _, err := r.shapes(o.Batches[0]).Resolve(inputs); err != nil {
		return err
	}
	r.batches = nil
	if !r.shapes(1).Batched(inputs) {
		// All shapes are fixed. A first dimension that all inputs share, and
		// that the options name, is the batch; otherwise a query is one inference.
		batch := 1
		if len(inputs) > 0 && len(inputs[0].Dims) > 0 {
			first := int(inputs[0].Dims[0].Size)
			same := !slices.ContainsFunc(inputs, func(t engine.TensorInfo) bool { return len(t.Dims) > 0 && int(t.Dims[0].Size) != first })
			if same && slices.Contains(o.Batches, first) {
				batch = first
			}
		}
		for _, b := range o.Batches {
			if b != batch {
				r.warn("batch %d is left out: the model's shapes are fixed (%s)", b, inputs[0])
			}
		}
		r.batches = []int{batch}
		return nil
	}
	for _, b := range o.Batches {
		if r.job.MaxBatch > 0 && b > r.job.MaxBatch {
			r.warn("batch %d is left out: config.pbtxt allows at most %d", b, r.job.MaxBatch)
			continue
		}
		if !slices.Contains(r.batches, b) {
			r.batches = append(r.batches, b)
		}
	}
	if len(r.batches) == 0 {
		e := engine.Errorf(engine.KindInvalidInput, "choose a batch size", "", "all of %v are above max_batch_size %d", o.Batches, r.job.MaxBatch)
		e.Hint = "correct batches in the configuration, or max_batch_size in config.pbtxt"
		return e
	}
	return nil
}

// profiles are the ranges of shapes of dynamic inputs: what the job says of an
// input, otherwise the batches that are measured, widened to what the settings
// ask for as far as the model allows it.
func (r *run) profiles() (map[string]engine.Profile, error) {
	measured := engine.BatchRange{Min: int64(slices.Min(append([]int{1}, r.batches...))), Opt: int64(r.batches[0]), Max: int64(slices.Max(r.batches))}
	built := measured
	if p := r.job.Settings.ProfileBatch; p != nil {
		limit := int64(math.MaxInt64)
		if r.job.MaxBatch > 0 {
			limit = int64(r.job.MaxBatch)
		}
		built = engine.BatchRange{Min: min(measured.Min, p.Min), Opt: min(p.Opt, limit), Max: max(measured.Max, min(p.Max, limit))}
	}
	narrow, err := r.profile(measured)
	if err != nil {
		return nil, err
	}
	profiles, err := r.profile(built)
	if err != nil {
		return nil, err
	}
	for _, in := range r.inputs {
		if given, ok := r.job.Profiles[in.Name]; ok && in.Dynamic() {
			if err := fits(in, given, narrow[in.Name]); err != nil {
				return nil, err
			}
			profiles[in.Name] = given
		}
	}
	return profiles, nil
}

// profile gives each dynamic input its shapes over a range of batches.
func (r *run) profile(batch engine.BatchRange) (map[string]engine.Profile, error) {
	var shapes [3][][]int64
	for i, n := range []int64{batch.Min, batch.Opt, batch.Max} {
		var err error
		if shapes[i], err = r.shapes(int(n)).Resolve(r.inputs); err != nil {
			return nil, err
		}
	}
	profiles := map[string]engine.Profile{}
	for i, in := range r.inputs {
		if in.Dynamic() {
			profiles[in.Name] = engine.Profile{Min: shapes[0][i], Opt: shapes[1][i], Max: shapes[2][i]}
		}
	}
	return profiles, nil
}

// fits holds a given profile against the input and the shapes that are measured.
func fits(in engine.TensorInfo, given, measured engine.Profile) error {
	bad := func(format string, args ...any) error {
		e := engine.Errorf(engine.KindInvalidInput, "use the profile of input", in.String(), format, args...)
		e.Hint = "correct profiles of this model in the configuration"
		return e
	}
	for _, s := range [][]int64{given.Min, given.Opt, given.Max} {
		if len(s) != len(in.Dims) {
			return bad("%v has %d dimensions and the input %d", s, len(s), len(in.Dims))
		}
	}
	for i, d := range in.Dims {
		low, usual, high := given.Min[i], given.Opt[i], given.Max[i]
		switch {
		case low > usual || usual > high:
			return bad("dimension %d does not rise from %d over %d to %d", i, low, usual, high)
		case d.Size >= 0 && (low != d.Size || high != d.Size):
			return bad("dimension %d is fixed to %d in the model", i, d.Size)
		case measured.Min[i] < low || measured.Max[i] > high:
			return bad("dimension %d reaches from %d to %d and is measured from %d to %d", i, low, high, measured.Min[i], measured.Max[i])
		}
	}
	return nil
}

// timed is the input that queries of a batch are timed on: the first of the
// evaluation inputs where they make a whole batch, generated otherwise.
func (r *run) timed(batch int) ([]engine.Tensor, error) {
	shapes, err := r.shapes(batch).Resolve(r.inputs)
	if err != nil {
		return nil, err
	}
	if r.arrays != nil {
		calls, err := tensorio.Calls(inputsFile, r.inputs, shapes, r.arrays)
		if err != nil && batch == r.batches[0] {
			return nil, err
		}
		if err == nil && slices.EqualFunc(calls[0], shapes, func(t engine.Tensor, s []int64) bool { return slices.Equal(t.Shape, s) }) {
			return calls[0], nil
		}
		r.warn("batch %d is timed on generated inputs: inputs.npz does not fill one", batch)
	}
	return tensorio.Generate(r.inputs, shapes, r.job.Options.Seed)
}

func (r *run) latency(ctx context.Context) error {
	o := r.job.Options
	batch := r.batches[0]
	inputs, err := r.timed(batch)
	if err != nil {
		return err
	}
	r.progress(engine.Progress{Stage: "warm-up", Message: fmt.Sprintf("%v, batch %d", o.WarmUp, batch)})
	warm, err := r.engine.Time(ctx, inputs, engine.TimeOptions{Concurrency: 1, Queries: 1, Duration: o.WarmUp, MaxDuration: o.MaxWindow})
	if err != nil {
		return err
	}
	var windows []engine.Window
	var watched []Telemetry // of windows; empty without a sampler
	for len(windows) < o.MaxWindows && !r.m.Stable {
		r.progress(engine.Progress{
			Stage: "latency", Done: float64(len(windows)), Total: float64(o.MaxWindows),
			Message: fmt.Sprintf("window %d of at most %d, %s", len(windows)+1, o.MaxWindows, expected(warm, o)),
		})
		w, seen, err := r.window(ctx, "latency", inputs, engine.TimeOptions{Concurrency: 1, Queries: o.MinQueries, Duration: o.MinWindow, MaxDuration: o.MaxWindow})
		if err != nil {
			return err
		}
		if len(w.Latencies) == 0 || !(w.Elapsed > 0) {
			return engine.Errorf(engine.KindInternal, "time a window", r.job.Model, "the backend returned %d queries in %v s", len(w.Latencies), w.Elapsed)
		}
		for _, text := range w.Warnings {
			r.warn("%s", text)
		}
		windows = append(windows, w)
		if seen != nil {
			watched = append(watched, *seen)
		}
		if n := len(windows); n >= 2 {
			r.m.Stable = agree(windows[n-2], windows[n-1], o)
		}
	}
	r.m.Windows = len(windows)
	accepted := windows
	if r.m.Stable {
		accepted, watched = windows[len(windows)-2:], watched[max(0, len(watched)-2):]
	}
	var pooled []float64
	var elapsed float64
	for _, w := range accepted {
		pooled = append(pooled, w.Latencies...)
		elapsed += w.Elapsed
		r.m.Overhead = max(r.m.Overhead, w.Overhead)
	}
	r.m.Latency = Summarize(batch, pooled)
	r.m.Phases = phases(accepted)
	r.m.Sweep = []Point{point(batch, 1, engine.Window{Latencies: pooled, Elapsed: elapsed})}
	r.judge(o)
	r.telemetry(watched)
	return nil
}

// expected says what a window will take, from the warm-up's pace.
func expected(warm engine.Window, o Options) string {
	if len(warm.Latencies) == 0 {
		return fmt.Sprintf("%d queries", o.MinQueries)
	}
	each := warm.Elapsed / float64(len(warm.Latencies))
	d := time.Duration(math.Max(each*float64(o.MinQueries), o.MinWindow.Seconds()) * float64(time.Second))
	return fmt.Sprintf("%d queries or more, about %v", o.MinQueries, min(d, o.MaxWindow).Round(100*time.Millisecond))
}

// agree tells whether two windows measured the same thing: throughput and P99,
// or the highest percentile that both have the queries for.
func agree(a, b engine.Window, o Options) bool {
	near := func(x, y, tolerance float64) bool { return math.Abs(x-y) <= tolerance*max(x, y) }
	rate := func(w engine.Window) float64 { return float64(len(w.Latencies)) / w.Elapsed }
	if !near(rate(a), rate(b), o.ThroughputTolerance) {
		return false
	}
	n := min(len(a.Latencies), len(b.Latencies))
	for _, q := range slices.Backward(Percentiles) {
		if n >= MinQueries(q) {
			return near(NearestRank(slices.Sorted(slices.Values(a.Latencies)), q), NearestRank(slices.Sorted(slices.Values(b.Latencies)), q), o.P99Tolerance)
		}
	}
	return false // too few queries to tell
}

// judge says in words why a figure of the latency is not to be trusted.
func (r *run) judge(o Options) {
	l := r.m.Latency
	if !r.m.Stable {
		if o.MaxWindows < 2 {
			r.warn("one window cannot show whether the latency is stable: allow 2 or more")
		} else {
			r.warn("the latency did not settle: no two of %d windows in a row agreed within %.3g %% of throughput and %.3g %% of P99; all of them are pooled", r.m.Windows, 100*o.ThroughputTolerance, 100*o.P99Tolerance)
		}
	}
	if least := MinQueries(0.99); l.Queries < least {
		r.warn("%d queries are too few for a P99, which takes %d: raise max_window or lower the batch", l.Queries, least)
	} else if least := MinQueriesForBound(0.99); l.Queries < least {
		r.warn("%d queries are too few for a bound on P99, which takes %d", l.Queries, least)
	}
	if cv := l.StdDev / l.Mean; cv > 0.1 {
		r.warn("latency varies by %.0f %% (standard deviation over mean): is something else running on the machine?", 100*cv)
	}
	if share := r.m.Overhead / l.Mean; share > 0.01 {
		r.warn("measuring adds %.1f %% to each query", 100*share)
	}
}

func phases(windows []engine.Window) []PhaseLatency {
	var out []PhaseLatency
	for _, phase := range []engine.Phase{engine.Enqueue, engine.H2D, engine.Compute, engine.D2H} {
		var all []float64
		for _, w := range windows {
			all = append(all, w.Phases[phase]...)
		}
		if len(all) == 0 {
			continue
		}
		slices.Sort(all)
		var sum float64
		for _, v := range all {
			sum += v
		}
		out = append(out, PhaseLatency{Phase: phase, Mean: sum / float64(len(all)), P50: NearestRank(all, 0.5), P99: NearestRank(all, 0.99)})
	}
	return out
}

func point(batch, concurrency int, w engine.Window) Point {
	sorted := slices.Sorted(slices.Values(w.Latencies))
	p := Point{
		Batch: batch, Concurrency: concurrency, Queries: len(sorted),
		Throughput: float64(batch*len(sorted)) / w.Elapsed, P50: NearestRank(sorted, 0.5),
	}
	if len(sorted) >= MinQueries(0.99) {
		p.P99 = NearestRank(sorted, 0.99)
	}
	return p
}

// sweep times every other batch and concurrency. A point that fails (a batch
// that does not fit into memory) is a warning: the latency stands without it.
func (r *run) sweep(ctx context.Context) error {
	o := r.job.Options
	concurrency := slices.Compact(slices.Sorted(slices.Values(append([]int{1}, o.Concurrency...))))
	total := len(r.batches) * len(concurrency)
	done := 1
	for i, batch := range r.batches {
		var inputs []engine.Tensor
		for _, lanes := range concurrency {
			if i == 0 && lanes == 1 {
				continue // measured as the latency
			}
			if inputs == nil {
				var err error
				if inputs, err = r.timed(batch); err != nil {
					return err
				}
			}
			r.progress(engine.Progress{
				Stage: "throughput", Done: float64(done), Total: float64(total),
				Message: fmt.Sprintf("batch %d, concurrency %d, about %v", batch, lanes, o.SweepWindow),
			})
			w, seen, err := r.window(ctx, "throughput", inputs, engine.TimeOptions{
				Concurrency: lanes, Queries: 1, Duration: o.SweepWindow, MaxDuration: max(o.MaxWindow, o.SweepWindow), WarmUp: min(o.WarmUp, o.SweepWindow/4),
			})
			switch {
			case ctx.Err() != nil:
				return ctx.Err()
			case err != nil:
				r.warn("batch %d at concurrency %d failed: %v", batch, lanes, err)
			case len(w.Latencies) > 0 && w.Elapsed > 0:
				r.m.Sweep = append(r.m.Sweep, point(batch, lanes, w))
				if seen != nil && seen.Suffered > 0 {
					r.m.Stable = false
					r.m.Telemetry.Suffered++
					r.warn("the device was throttled %s at batch %d and concurrency %d, after %d windows were thrown away", seen.disturbed(), batch, lanes, r.discarded)
				}
			}
			done++
		}
	}
	for _, p := range r.m.Sweep {
		r.m.Throughput = max(r.m.Throughput, p.Throughput)
	}
	if r.m.Telemetry != nil {
		r.m.Telemetry.Discarded = r.discarded
	}
	return nil
}

// memory is read before the accuracy run, whose outputs are kept on purpose.
func (r *run) memory(context.Context) error {
	r.m.Memory = r.engine.Memory()
	return nil
}

// inputsFile is what evaluation inputs are called in errors.
const inputsFile = "inputs.npz"

// generatedCalls is how many generated inputs stand in for evaluation inputs.
const generatedCalls = 16

// evaluation returns the inputs of each call, and how many samples they hold.
func (r *run) evaluation() (calls [][]engine.Tensor, samples int, err error) {
	batch := r.batches[0]
	shapes, err := r.shapes(batch).Resolve(r.inputs)
	if err != nil {
		return nil, 0, err
	}
	if r.arrays != nil {
		calls, err = tensorio.Calls(inputsFile, r.inputs, shapes, r.arrays)
		if err != nil {
			return nil, 0, err
		}
	} else {
		for i := range generatedCalls {
			inputs, err := tensorio.Generate(r.inputs, shapes, r.job.Options.Seed+uint64(i))
			if err != nil {
				return nil, 0, err
			}
			calls = append(calls, inputs)
		}
	}
	// The last call may be smaller; an input whose first dimension follows the
	// batch tells how much.
	follows := slices.IndexFunc(r.inputs, func(t engine.TensorInfo) bool { return len(t.Dims) > 0 && t.Dims[0].Size < 0 })
	for _, c := range calls {
		n := batch
		if follows >= 0 && shapes[follows][0] == int64(batch) {
			n = int(c[follows].Shape[0])
		}
		samples += n
	}
	return calls, samples, nil
}

func (r *run) accuracy(ctx context.Context) error {
	if r.job.ReferencePath == "" && r.job.OutputsPath == "" && r.job.LabelsPath == "" && r.arrays == nil {
		return nil
	}
	calls, samples, err := r.evaluation()
	if err != nil {
		return err
	}
	parts := make([][]engine.Tensor, len(r.engine.Outputs()))
	for i, inputs := range calls {
		if i%max(1, len(calls)/20) == 0 {
			r.progress(engine.Progress{Stage: "accuracy", Done: float64(i), Total: float64(len(calls)), Message: fmt.Sprintf("%d samples", samples)})
		}
		outputs, err := r.engine.Infer(ctx, inputs)
		if err != nil {
			return err
		}
		for k, t := range outputs {
			parts[k] = append(parts[k], t)
		}
	}
	outputs := make([]engine.Tensor, len(parts))
	for k := range parts {
		outputs[k] = tensorio.Concat(parts[k])
	}
	r.outputs, r.samples = outputs, samples
	labels, err := r.labels()
	if err != nil {
		return err
	}
	reference, name := outputs, "itself"
	if r.job.ReferencePath != "" {
		if reference, err = tensorio.ReadNPZ(r.job.ReferencePath); err != nil {
			return err
		}
		name = r.job.ReferenceName
		if name == "" {
			name = "reference.npz"
		}
	}
	c, err := compare(outputs, reference, labels, samples, r.job.Options)
	if err != nil {
		return err
	}
	c.Reference = name
	r.m.Warnings = append(r.m.Warnings, c.warnings...)
	if c.NaNs > 0 {
		total := 0
		for _, t := range outputs {
			total += t.Len()
		}
		if c.NaNs == total {
			return engine.Errorf(engine.KindAccuracy, "evaluate outputs", r.job.Model, "all %d output values are NaN", total)
		}
		r.warn("%d of %d output values are NaN, in the reference as well", c.NaNs, total)
	}
	if r.arrays == nil {
		r.warn("accuracy was compared on generated inputs: put inputs.npz beside the model for figures that mean something")
	}
	r.m.Accuracy = &c.Accuracy
	if r.job.OutputsPath != "" {
		if err := tensorio.WriteNPZ(r.job.OutputsPath, outputs); err != nil {
			return engine.Errorf(engine.KindInternal, "keep outputs", r.job.OutputsPath, "%v", err)
		}
	}
	return nil
}

// labels reads labels.npy: one integer for each sample.
func (r *run) labels() ([]int64, error) {
	if r.job.LabelsPath == "" {
		return nil, nil
	}
	t, err := tensorio.ReadNPYFile(r.job.LabelsPath)
	if err != nil {
		return nil, err
	}
	if strings.Contains(string(t.DType), "float") || t.DType == engine.Bool {
		return nil, engine.Errorf(engine.KindInvalidInput, "read labels", r.job.LabelsPath, "labels are integers, not %s", t.DType)
	}
	labels := make([]int64, t.Len())
	for i := range labels {
		labels[i] = int64(t.At(i))
	}
	return labels, nil
}

func (r *run) layers(ctx context.Context) error {
	r.progress(engine.Progress{Stage: "layers"})
	layers, err := r.engine.Layers(ctx)
	switch {
	case errors.Is(err, engine.ErrNoLayers):
		return nil
	case err != nil:
		return err
	}
	s := &LayerSummary{Total: len(layers), ByPrecision: map[engine.Precision]int{}, Layers: layers}
	for _, l := range layers {
		if l.Precision != "" {
			s.ByPrecision[l.Precision]++
		}
		if len(l.Origins) > 1 {
			s.Fused++
		}
		if r.m.Plan.Precision == engine.INT8 && l.Quantizable && l.Precision != engine.INT8 && l.Precision != "" {
			s.Unquantized = append(s.Unquantized, l.Label())
		}
	}
	if n := len(s.Unquantized); n > 0 {
		r.warn("%d of the layers that multiply stayed above 8 bits: %s", n, listed(s.Unquantized, 5))
	}
	if r.job.PreviousLayers != nil {
		s.Changes = changes(r.job.PreviousVersion, engine.Diff(r.job.PreviousLayers, layers))
	}
	r.m.Layers = s
	return nil
}

// listed joins the first few of a list.
func listed(list []string, most int) string {
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}

// changes counts and tells what is different from the plan of another version.
func changes(against string, list []engine.Change) *LayerChanges {
	c := &LayerChanges{Against: against, Counts: map[engine.ChangeKind]int{}, Lines: []string{}}
	for _, kind := range engine.ChangeKinds {
		for _, change := range list {
			if change.Kind != kind {
				continue
			}
			if c.Counts[kind]++; len(c.Lines) < MostChangeLines {
				c.Lines = append(c.Lines, change.String())
			}
		}
	}
	return c
}
