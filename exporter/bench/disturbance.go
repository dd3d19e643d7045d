package bench

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/plancast/plancast/exporter/engine"
)

// Host watches the machine's processors while windows are timed. Without one
// nothing is known of them.
type Host interface {
	// Start begins to watch this process and the cores that it may use. The
	// function that it returns is called once, after the window, and says what
	// was observed.
	Start() (stop func() Load)
	// Quiet returns once other processes have left the cores alone for a moment,
	// taking no more than the share limit of them, and otherwise after most. It
	// returns how long it waited.
	Quiet(ctx context.Context, limit float64, most time.Duration) time.Duration
}

// Load is what the processors did during a window besides the timed work.
type Load struct {
	Duration float64 // watched, seconds
	Cores    int     // that this process may use
	// Ran and Waited are the seconds that the timed threads ran, and that they were
	// runnable and did not run, each added up over them.
	Ran, Waited float64
	// Switches counts how often a thread of this process was taken off its core
	// although it had work.
	Switches int64
	Stolen   float64  // seconds of those cores that the hypervisor gave to others
	Others   float64  // seconds of those cores that other processes took
	Clock    *float64 // Hz, mean of those cores at the end; nil when not known
	Problem  string   // why a figure is missing; "" when none is
}

// Guard is how a measurement guards against disturbance, and what it compares
// the candidate with. None of it is part of the fingerprint: it decides what
// is believed, not what is measured.
type Guard struct {
	// Patience is the time that a job may spend on waiting for a quiet moment
	// and on windows that it throws away because of disturbance.
	Patience time.Duration `json:"patience"`
	// MaxDisturbance is the share of disturbance up to which a window counts; 1
	// lets everything pass.
	MaxDisturbance float64 `json:"max_disturbance"`
	// Percentile is the one that decides whether the latency is stable and what
	// a change is: the highest that a target asks for. 0 is defaultPercentile.
	Percentile float64 `json:"percentile,omitempty"`
	// Margin is the change that does not matter: 0.02 for 2 %.
	Margin float64 `json:"margin"`
	// Rebuild is the longest build that is done a second time, at first sight of a
	// model, to learn what building alone changes.
	Rebuild time.Duration `json:"rebuild"`
}

// defaultPercentile decides where no target asks for a percentile.
const defaultPercentile = 0.99

// DefaultGuard waits half a minute for quiet, lets 5 % of disturbance pass and
// calls 2 % no change.
func DefaultGuard() Guard {
	return Guard{Patience: 30 * time.Second, MaxDisturbance: 0.05, Margin: 0.02, Rebuild: time.Minute}
}

// Decisive is the percentile that decides.
func (g Guard) Decisive() float64 {
	if g.Percentile == 0 {
		return defaultPercentile
	}
	return g.Percentile
}

// Disturbance is what else used the machine while the windows that count were
// timed; where some of them were disturbed, only those. Shares are between 0
// and 1.
type Disturbance struct {
	Share  float64 `json:"share"`  // of the shares below the one that matters most
	Cause  string  `json:"cause"`  // that share in words: "other processes took 93 % of a core"
	Excess float64 `json:"excess"` // that share over what would pass: above 1 a window is disturbed

	Waited   float64  `json:"waited"`             // share of the time that the timed threads wanted a core and had none
	Late     float64  `json:"late"`               // share of the queries that interruptions can have made late
	Stolen   float64  `json:"stolen"`             // share of the cores that the hypervisor gave to others
	Others   float64  `json:"others"`             // share of the cores that other processes took
	Device   float64  `json:"device,omitempty"`   // share of the GPU, or of its time, that other processes took
	Switches int64    `json:"switches"`           // involuntary context switches
	Cores    int      `json:"cores"`              // that the worker may use
	Clock    *float64 `json:"clock_hz,omitempty"` // mean of the cores in use; nil when not known

	Discarded int     `json:"discarded,omitempty"` // windows that were discarded for it, of the whole job
	Suffered  int     `json:"suffered,omitempty"`  // windows that count although they were disturbed
	Spent     float64 `json:"spent_s,omitempty"`   // seconds of patience that were used
}

// Disturbed reports whether something else used the machine so much that the
// times measured cannot be separated from what it did to them.
func (m Measurement) Disturbed() bool { return m.Disturbance != nil && m.Disturbance.Suffered > 0 }

// observation is what was observed during one window.
type observation struct {
	load    Load
	device  *Telemetry // nil without a sampler
	idle    Idle       // before and after it, the worse of both
	surplus float64    // share of the SMs at work beyond what the engine's own queries take
	queries int        // that were timed, of all engines, where percentiles are asked for
	spent   float64    // on them, added up: their number times the mean latency, in seconds
}

// noticeable is from which share of its latency on a query is late.
const noticeable = 0.1

// late is how many queries can have been late because other processes interrupted
// them: no more than there were interruptions, and than the time that was waited
// can make late by a noticeable share of their latency.
func (o observation) late() float64 {
	if o.queries == 0 {
		return 0
	}
	waited := min(o.load.Waited, o.load.Others)
	return min(float64(o.load.Switches), waited/(noticeable*o.spent/float64(o.queries)))
}

// timed counts a window's queries.
func (o *observation) timed(w engine.Window, concurrency int) {
	o.queries += len(w.Latencies)
	o.spent += w.Elapsed * float64(max(1, concurrency))
}

// disturbance condenses what was observed in one window or in several.
//
// On a GPU other processes on the cores matter only when the threads that
// enqueue have to wait for them. A thread can wait for another of its own
// process as well: what it waited for others is at most what they ran.
func (g Guard) disturbance(observed ...observation) Disturbance {
	var d Disturbance
	var duration, ran, waited, late, queries, others, stolen, device, surplus, cores, clock float64
	clocks, onDevice := 0, false
	var idle Idle
	for _, o := range observed {
		l := o.load
		duration += l.Duration
		ran += l.Ran
		waited += min(l.Waited, l.Others)
		late += o.late()
		queries += float64(o.queries)
		others += l.Others
		stolen += l.Stolen
		cores += l.Duration * float64(l.Cores)
		d.Switches += l.Switches
		d.Cores = max(d.Cores, l.Cores)
		if l.Clock != nil {
			clock += *l.Clock
			clocks++
		}
		if o.device != nil {
			onDevice = true
			if u := o.device.OthersUtilization; u != nil {
				device += *u * l.Duration
			}
			surplus += o.surplus * l.Duration
		}
		a, _ := idle.others()
		if b, _ := o.idle.others(); b > a {
			idle = o.idle
		}
	}
	if clocks > 0 {
		d.Clock = new(clock / float64(clocks))
	}
	share := func(x, of float64) float64 {
		if !(of > 0) {
			return 0
		}
		return min(max(x/of, 0), 1)
	}
	d.Waited, d.Stolen, d.Others, d.Late = share(waited, ran+waited), share(stolen, cores), share(others, cores), share(late, queries)

	percent := func(s float64) float64 { return math.Max(1, 100*s) }
	taken := fmt.Sprintf("other processes took %.0f %% of a core", percent(share(others, duration)))
	if others >= duration {
		taken = fmt.Sprintf("other processes took %.1f of %d cores", others/max(duration, 1e-9), d.Cores)
	}
	consider := func(s, limit float64, cause string) {
		if s/limit > d.Excess {
			d.Share, d.Excess, d.Cause = s, s/limit, cause
		}
	}
	if !onDevice {
		consider(d.Others, g.MaxDisturbance, taken)
	}
	onGPU := func(s float64, cause string) {
		d.Device = max(d.Device, s)
		consider(s, g.MaxDisturbance, cause)
	}
	onGPU(idle.others())
	at, beyond := share(device, duration), share(surplus, duration)
	onGPU(at, fmt.Sprintf("other processes kept the GPU at work %.0f %% of the time", percent(at)))
	onGPU(beyond, fmt.Sprintf("another process on the GPU (SM activity %.0f %% beyond what plancast's queries take)", percent(beyond)))
	consider(d.Stolen, g.interruption(), fmt.Sprintf("the hypervisor gave %.1f %% of the cores to others", 100*d.Stolen))
	consider(d.Waited, g.MaxDisturbance, fmt.Sprintf("%s, for which the timed threads waited %.1f %% of their time", taken, 100*d.Waited))
	if d.Waited > g.interruption() {
		consider(d.Late, g.interruption(), fmt.Sprintf("%s and interrupted %.1f %% of the queries", taken, 100*d.Late))
	}
	return d
}

// interruption is the share of the queries up to which they may be late, and of
// their time that they may be so. The percentile q moves once a share 1-q of them is:
// half of that is the limit, if it is less than what is let pass anyway. Both have to
// be exceeded: a thread waits a little at each wake-up, of which a quick engine has
// thousands, and the kernel's own threads interrupt it briefly on an idle machine.
func (g Guard) interruption() float64 {
	if g.MaxDisturbance >= 1 {
		return 1
	}
	return min(g.MaxDisturbance, (1-g.Decisive())/2)
}

// On makes Measure watch the processors through h.
func On(h Host) func(*run) {
	return func(r *run) { r.host = h }
}

// patience is what the job may still spend on disturbance.
func (r *run) patience() time.Duration { return max(0, r.job.Guard.Patience-r.spent) }

// watched times one window of an engine while the device is watched; observed is nil
// when nobody watches it.
func (r *run) watched(ctx context.Context, e engine.Engine, inputs []engine.Tensor, o engine.TimeOptions) (w engine.Window, observed *Telemetry, err error) {
	observed, err = r.watching(func() (err error) {
		w, err = e.Time(ctx, inputs, o)
		return err
	})
	return w, observed, err
}

// watching times something while the device is watched; nil when nobody watches it.
func (r *run) watching(timed func() error) (*Telemetry, error) {
	if r.sampler == nil {
		return nil, timed()
	}
	stop := r.sampler.Start()
	err := timed()
	t := stop()
	return &t, err
}

// fit times windows until the machine lets them count. What was throttled or
// disturbed is discarded and timed again, while there is leave to; after that
// it counts, and the round says so. once returns the seconds that it timed.
func (r *run) fit(ctx context.Context, stage string, leave time.Duration, once func() (x round, elapsed float64, err error)) (round, error) {
	for {
		before := r.before(ctx)
		stop := func() Load { return Load{} }
		if r.host != nil {
			stop = r.host.Start()
		}
		x, elapsed, err := once()
		x.observed.load = stop()
		if err != nil {
			return x, err
		}
		x.observed.idle = r.between(ctx, before)
		if t := x.observed.device; t != nil {
			if t.Problem != "" {
				r.warn("the device could not be watched all the time, so throttling may have gone unnoticed: %s", t.Problem)
			}
			if why := t.throttled(); why != "" {
				if r.throttled < maxRemeasured {
					r.throttled++
					r.progress(engine.Progress{Stage: stage, Message: "discarded and measured again: the device was throttled " + why})
					continue
				}
				t.Suffered = 1
			}
		}
		if r.host == nil {
			return x, nil
		}
		d := r.job.Guard.disturbance(x.observed)
		if d.Excess <= 1 {
			return x, nil
		}
		if r.spent >= leave {
			x.suffered = true
			return x, nil
		}
		r.disturbed++
		r.spent += time.Duration(max(elapsed, x.observed.load.Duration) * float64(time.Second))
		if most := leave - r.spent; most > 0 && ctx.Err() == nil {
			r.progress(engine.Progress{Stage: stage, Message: fmt.Sprintf("discarded because %s: waiting for a quiet moment, for at most %v", d.Cause, most.Round(time.Second))})
			r.spent += r.rest(ctx, d.Device > r.job.Guard.MaxDisturbance, most)
		}
		if ctx.Err() != nil {
			return x, ctx.Err()
		}
	}
}

// round times the next window of the candidate; paired is in turns with one of
// the partner.
func (r *run) round(ctx context.Context, inputs []engine.Tensor, index int, paired bool) (round, error) {
	o := r.job.Options
	t := turns{count: 1, first: index, options: engine.TimeOptions{Concurrency: 1, Queries: o.MinQueries, Duration: o.MinWindow, MaxDuration: o.MaxWindow}}
	if paired {
		t.count = r.turns()
		t.partners = t.count
		if index == 1 {
			t.partners -= r.reserve(t.count)
		}
		t.options.Queries = (o.MinQueries + t.count - 1) / t.count
		t.options.Duration /= time.Duration(t.count)
		t.options.MaxDuration /= time.Duration(t.count)
		t.options.WarmUp = settling(t.options.Duration)
	}
	return r.fit(ctx, "latency", r.job.Guard.Patience, func() (round, float64, error) { return r.alternate(ctx, inputs, t, r.efforts) })
}

// turns are to be timed: count of the candidate, and beside the first of them partners
// of the partner.
type turns struct {
	count, partners int
	first           int                // which engine begins: the candidate's when it is even
	options         engine.TimeOptions // of each
}

// alternate times turns and returns the seconds that they took. own is what the
// candidate's queries are known to take of the device.
func (r *run) alternate(ctx context.Context, inputs []engine.Tensor, t turns, own efforts) (x round, elapsed float64, err error) {
	var (
		watched []Telemetry
		before  engine.Engine
	)
	clock := func(e engine.Engine, into *[]engine.Window) error {
		w, observed, err := r.watched(ctx, e, inputs, t.options)
		if err != nil {
			return err
		}
		if len(w.Latencies) == 0 || !(w.Elapsed > 0) {
			return engine.Errorf(engine.KindInternal, "time a window", r.job.Model, "the backend returned %d queries in %v s", len(w.Latencies), w.Elapsed)
		}
		*into = append(*into, w)
		elapsed += w.Elapsed
		x.observed.timed(w, t.options.Concurrency)
		if observed != nil && e == r.engine {
			watched = append(watched, *observed)
			x.observed.surplus += own.surplus(before, *observed, w) / float64(t.count)
		}
		before = e
		return nil
	}
	for i := range t.count {
		steps := []func() error{func() error { return clock(r.engine, &x.own) }}
		if i < t.partners {
			steps = append(steps, func() error { return clock(r.partner.engine, &x.partner) })
		}
		if (t.first+i)%2 == 1 {
			slices.Reverse(steps)
		}
		for _, step := range steps {
			if err := step(); err != nil {
				return x, elapsed, err
			}
		}
	}
	if watched != nil {
		pooled := poolTelemetry(watched)
		x.observed.device = &pooled
	}
	return x, elapsed, nil
}

// suffer sums up what was observed in the windows that count, or only in those of
// them that were disturbed, if there are any.
func (r *run) suffer(observed, suffered []observation) {
	if r.host == nil {
		return
	}
	for _, o := range observed {
		if o.load.Problem != "" {
			r.warn("the machine could not be watched, so disturbance may have gone unnoticed: %s", o.load.Problem)
		}
	}
	if len(suffered) > 0 {
		observed = suffered
	}
	d := r.job.Guard.disturbance(observed...)
	d.Discarded, d.Suffered, d.Spent = r.disturbed, len(suffered), r.spent.Seconds()
	if d.Suffered > 0 {
		r.m.Stable = false
		r.warn("disturbed: %s, so the times decide nothing: measure on an idle machine, keep other work off the cores in use (benchmark.cores), or raise benchmark.patience", d.Cause)
	}
	r.m.Disturbance = &d
}
