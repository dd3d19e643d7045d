package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/tensorio"
	"github.com/plancast/plancast/exporter/workload"
	"github.com/plancast/plancast/units"
)

// workloads measures the configured traffic. It is the last step, so that all other
// figures are as if there were none. What a workload fails at is its own failure.
func (r *run) workloads(ctx context.Context) error {
	for _, w := range r.job.Options.Workloads {
		shown := w
		shown.Trace = nil // a record is no place for it
		t := &traffic{run: r, w: w, result: WorkloadResult{Workload: shown}}
		err := t.measure(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			t.result = WorkloadResult{Workload: shown, Failure: r.explain(engine.AsError(err))}
		}
		r.m.Workloads = append(r.m.Workloads, t.result)
	}
	return nil
}

// traffic is the measurement of one workload.
type traffic struct {
	*run
	w        workload.Workload
	chains   []engine.Chain // of each shape
	tokens   []int64        // that a request of each shape reads or makes; nil without a phase
	sequence *workload.Sequence
	result   WorkloadResult

	closed stretch   // the closed loop: one window
	calls  []float64 // how long its calls took, sorted
	before int       // windows that the job had discarded because of other work

	requests int // of all windows
}

// mostRequests bounds a window, whatever the rate.
const mostRequests = 1 << 20

func (t *traffic) measure(ctx context.Context) (err error) {
	if t.w, err = t.mixed(t.w); err != nil {
		return err
	}
	t.result.Shapes = t.w.Shapes
	for _, s := range t.w.Shapes {
		c, err := t.chainOf(ctx, s)
		if err != nil {
			return withShape(s, err)
		}
		t.chains = append(t.chains, c)
	}
	t.sequence, t.before = t.w.Sequence(t.job.Options.Seed), t.disturbed
	if err := t.capacity(ctx); err != nil {
		return err
	}
	if t.w.Open() && t.w.Rate >= t.result.Capacity {
		t.saturate(t.closed.rounds[0], t.result.Capacity)
	} else if err := t.windows(ctx); err != nil {
		return err
	}
	if err := t.contest(ctx); err != nil {
		return err
	}
	return t.search(ctx)
}

// inputsOf makes the inputs of one shape: the first of the evaluation inputs where
// they have it, generated otherwise.
func (t *traffic) inputsOf(s workload.Shape) ([]engine.Tensor, error) {
	all, err := t.sized(t.w, s, t.lengthened(s.Sizes()))
	if err != nil {
		return nil, err
	}
	shapes, err := all.Resolve(t.run.inputs)
	if err != nil {
		return nil, err
	}
	if call, err := t.recorded(shapes); err == nil && call != nil {
		return call, nil
	}
	if t.w.Recorded {
		t.warn("%s: it is timed on generated inputs, since inputs.npz does not fill a batch", s.Words())
	}
	return tensorio.Generate(t.run.inputs, shapes, t.job.Options.Seed)
}

// sized are the shapes of a request with its batch, and with sizes that go before all
// that is known of the model.
func (r *run) sized(w workload.Workload, s workload.Shape, sizes map[string]int64) (tensorio.Shapes, error) {
	batch := s.BatchOf(r.batches[0])
	base := r.shapes(batch)
	if _, given := s.Dims[workload.Batch]; given {
		if err := r.takes(w, base, batch); err != nil {
			return base, err
		}
	}
	return base.With(r.inputs, sizes)
}

// takes refuses a batch that the model cannot do.
func (r *run) takes(w workload.Workload, s tensorio.Shapes, batch int) error {
	fixed := !s.Batched(r.inputs) && batch != r.batches[0]
	if !fixed && (r.job.MaxBatch == 0 || batch <= r.job.MaxBatch) {
		return nil
	}
	e := engine.Errorf(engine.KindInvalidInput, "choose a batch size", "", "the workload %s has a batch of %d, which the model does not take", w.Name, batch)
	e.Hint = "leave the batch out of the workload's dims, or correct max_batch_size in config.pbtxt"
	return e
}

// capacity runs the mix in a closed loop: it warms up, and says what no open loop can
// exceed.
func (t *traffic) capacity(ctx context.Context) error {
	o := t.job.Options
	pilot := 2 * len(t.chains) * t.w.Concurrency
	t.progress(engine.Progress{Stage: "workload", Message: fmt.Sprintf("%s: what the engine keeps up with, about %v", t.w.Name, o.SweepWindow)})
	served, err := t.serve(ctx, t.engine, t.sequence.Draw(pilot, 0), o.MaxWindow, false)
	if err != nil {
		return t.culprit(ctx, err)
	}
	n := min(int(1.5*served.Rate()*o.SweepWindow.Seconds())+pilot, mostRequests)
	requests := t.sequence.Draw(n, 0)
	x, served, err := t.window(ctx, requests, o.SweepWindow, false)
	t.closed = stretch{options: o, shares: t.w.Shares()}
	t.closed.add(x, requests, served)
	t.result.Capacity, t.calls = served.Rate(), slices.Sorted(slices.Values(served.Services))
	return err
}

// culprit names the shape that the engine rejects, where that is why a mix was not
// served.
func (t *traffic) culprit(ctx context.Context, err error) error {
	for i, s := range t.w.Shapes {
		if _, alone := t.engine.Serve(ctx, t.chains[i:i+1], make([]engine.Request, 1), engine.ServeOptions{Concurrency: 1, Profile: t.profiles[t.w.Name]}); alone != nil {
			return withShape(s, alone)
		}
	}
	return err
}

// withShape says which shape a failure is about.
func withShape(s workload.Shape, err error) error {
	e := *engine.AsError(err)
	e.Subject = "with " + s.Words()
	return &e
}

// saturate says that the engine cannot serve the workload's rate, as a window shows.
func (t *traffic) saturate(shown round, keepsUp float64) {
	r := &t.result
	r.Saturated, r.Capacity, r.Answered = true, keepsUp, keepsUp
	r.Latency, r.Wait = nil, nil
	if t.w.Within > 0 {
		r.Goodput = new(0.0) // sooner or later every answer takes longer than that
	}
	t.warn("cannot serve %s; keeps up to %s", units.Format(t.w.Rate, units.PerSec), units.Format(keepsUp, units.PerSec))
	t.blame([]round{shown})
}

// warn adds a reason not to trust the result's figures.
func (t *traffic) warn(format string, args ...any) {
	t.result.Warnings = append(t.result.Warnings, clip(fmt.Sprintf(format, args...), mostMessage))
}

// note warns of how calls of a shape ran other than the settings ask for.
func (t *traffic) note(shape int, text string) {
	text = clip(t.w.Shapes[shape].Words()+": "+text, mostMessage)
	if !slices.Contains(t.result.Warnings, text) {
		t.result.Warnings = append(t.result.Warnings, text)
	}
}

// serve serves requests once, unwatched.
func (t *traffic) serve(ctx context.Context, e engine.Engine, requests []engine.Request, longest time.Duration, open bool) (workload.Served, error) {
	answers, err := e.Serve(ctx, t.chains, requests, engine.ServeOptions{
		Concurrency: t.w.Concurrency, MaxDuration: longest, Profile: t.profiles[t.w.Name], Note: t.note,
	})
	switch {
	case err != nil || len(answers) > 0:
	case open && longest > 0 && requests[0].At >= longest:
		e := engine.Errorf(engine.KindInvalidInput, "serve a workload", t.w.Name, "no request arrives within %s at %s", units.Format(longest.Seconds(), units.Seconds), units.Format(t.w.Rate, units.PerSec))
		e.Hint, err = raiseMaxWindow, e
	default:
		err = engine.Errorf(engine.KindInternal, "serve a workload", t.w.Name, "the backend answered none of %d requests", len(requests))
	}
	return workload.Serve(requests, answers, open), err
}

// window serves requests until the machine lets them count.
func (t *traffic) window(ctx context.Context, requests []engine.Request, longest time.Duration, open bool) (round, workload.Served, error) {
	var served workload.Served
	x, err := t.fit(ctx, "workload", t.job.Guard.Patience, func() (x round, elapsed float64, err error) {
		x.observed.device, err = t.watching(func() (err error) {
			served, err = t.serve(ctx, t.engine, requests, longest, open)
			return err
		})
		x.own = []engine.Window{{Latencies: served.Latencies, Elapsed: served.Elapsed}}
		x.observed.add(served)
		return x, served.Elapsed, err
	})
	return x, served, err
}

// requests is how many make a window at a rate.
func (o Options) requests(rate float64) int {
	n := max(float64(o.MinQueries), rate*o.MinWindow.Seconds())
	return int(max(1, min(n, rate*o.MaxWindow.Seconds(), mostRequests)))
}

// windows times the workload until its figures settle.
func (t *traffic) windows(ctx context.Context) error {
	o := t.job.Options
	rate := t.w.Rate
	if !t.w.Open() {
		rate = t.result.Capacity
	}
	n := o.requests(rate)
	if t.w.Replayed > 0 {
		n = t.w.Replayed
	}
	all := stretch{options: o, shares: t.w.Shares()}
	for {
		t.progress(engine.Progress{
			Stage: "workload", Done: float64(len(all.rounds)), Total: float64(o.MaxWindows),
			Message: fmt.Sprintf("%s: window %d of at most %d, %s", t.w.Name, len(all.rounds)+1, o.MaxWindows, units.Count(n, "request")),
		})
		requests := t.sequence.Draw(n, t.w.Rate)
		x, served, err := t.window(ctx, requests, o.MaxWindow, t.w.Open())
		if err != nil {
			return err
		}
		if served.FallsBehind(t.w.Rate) {
			t.saturate(x, served.Rate())
			return nil
		}
		all.add(x, requests, served)
		t.requests += len(requests)
		if len(all.rounds) >= o.MaxWindows || all.settled() || all.suffered() >= 2 && t.patience() == 0 {
			break
		}
	}
	t.conclude(all)
	return nil
}

// MoreRequests says what gives all windows of a workload the requests that a P99 takes;
// "" where they can have them.
func (o Options) MoreRequests(w workload.Workload) string {
	most := w.Rate * o.MaxWindow.Seconds()
	for i, r := range w.Trace {
		if r.At >= o.MaxWindow {
			break
		}
		most = float64(i + 1)
	}
	switch {
	case !w.Open() || most*float64(o.MaxWindows) >= float64(MinQueries(defaultPercentile)):
		return ""
	case len(w.Trace) == int(most):
		return "record a longer trace"
	}
	return raiseMaxWindow
}

const raiseMaxWindow = "raise benchmark.max_window"

// ExpectWorkload is how long a workload takes: two windows at least, with the search
// all that its bounds allow. A closed loop takes as long as its windows are to last.
func (o Options) ExpectWorkload(w workload.Workload) (least, most time.Duration) {
	window := max(o.MinWindow, 0)
	switch {
	case w.Replayed > 0:
		window = min(w.Trace[len(w.Trace)-1].At, o.MaxWindow)
	case w.Open():
		window = time.Duration(float64(o.requests(w.Rate)) / w.Rate * float64(time.Second))
	}
	least, most = o.SweepWindow+2*window, o.SweepWindow+time.Duration(o.MaxWindows)*window
	if w.MaxRate > 0 {
		least, most = least+4*o.SweepWindow, most+mostProbes*o.SweepWindow
	}
	return least, most
}
