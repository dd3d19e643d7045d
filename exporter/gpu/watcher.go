package gpu

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/plancast/plancast/exporter/bench"
)

// ID names the GPU that an engine runs on. CUDA counts devices in an order of
// its own, so an index will not do.
type ID struct {
	UUID     string // "GPU-…" or "MIG-…"
	PCIBusID string // "0000:1a:00.0"; looked at when no device has the UUID
}

// Watcher watches one GPU while windows are timed. It is a bench.Sampler. On a
// MIG instance, clocks, temperature and throttling are its GPU's; utilization
// comes from the instance's own counters; power and energy are absent, since
// other instances share them.
type Watcher struct {
	sys    *system
	dev    *device
	board  *device // the GPU itself
	period time.Duration
}

// watchPeriod is how often a Watcher samples by default: a window of the
// shortest usual length gets 20 samples, each of some ten calls that take
// microseconds.
const watchPeriod = 100 * time.Millisecond

// NewWatcher finds the GPU that id names. The caller closes the watcher.
func NewWatcher(o Options, id ID) (*Watcher, error) {
	s, err := open(o.NVML, o.Limit)
	if err != nil {
		return nil, err
	}
	w := &Watcher{sys: s, period: o.Interval}
	if w.period == 0 {
		w.period = watchPeriod
	}
	if w.dev, err = s.find(id); err != nil {
		s.close()
		return nil, err
	}
	if w.board = w.dev; w.dev.parent != nil {
		w.board = w.dev.parent
	}
	return w, nil
}

// Info names the device that is watched.
func (w *Watcher) Info() Info { return w.dev.Info }

// Close ends NVML.
func (w *Watcher) Close() {
	if w.dev != w.board {
		w.dev.meter.close()
	}
	w.sys.close()
}

// find looks for a UUID among GPUs and instances, then for a PCI address.
func (s *system) find(id ID) (*device, error) {
	var have []string
	for _, d := range s.gpus {
		instances, err := s.instances(d, nil)
		if err != nil {
			return nil, fmt.Errorf("list the instances of GPU %s: %w", d.GPU, err)
		}
		var found *device
		for _, x := range append(slices.Collect(maps.Values(instances)), d) {
			if id.UUID != "" && x.UUID == id.UUID {
				found = x
				continue
			}
			have = append(have, x.UUID)
		}
		for _, x := range instances {
			if x != found {
				x.meter.close()
			}
		}
		if found != nil {
			return found, nil
		}
	}
	if want, ok := busID(id.PCIBusID); ok {
		for _, d := range s.gpus {
			if d.PCIBusID == want && d.MIG != MIGEnabled {
				return d, nil
			}
		}
	}
	slices.Sort(have)
	return nil, fmt.Errorf("find the GPU %s (PCI %s) among NVML's: it has %q", id.UUID, id.PCIBusID, have)
}

// Start implements bench.Sampler.
func (w *Watcher) Start() (stop func() bench.Telemetry) {
	x := &watch{Watcher: w, sums: Values{}, counts: map[Quantity]int{}, throttled: map[bench.ThrottleReason]int{}}
	if w.dev == w.board {
		x.energy, x.counted = x.readEnergy()
	}
	x.note(w.dev.meter.start())
	x.begun = time.Now()
	halt, halted := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(halted)
		ticker := time.NewTicker(w.period)
		defer ticker.Stop()
		for {
			x.sample()
			select {
			case <-halt:
				return
			case <-ticker.C:
			}
		}
	}()
	return func() bench.Telemetry {
		close(halt)
		<-halted
		return x.finish()
	}
}

// watch is one window.
type watch struct {
	*Watcher
	begun   time.Time
	energy  float64 // at the beginning, J
	counted bool    // the device counts energy

	sums      Values
	counts    map[Quantity]int
	hottest   *float64
	throttled map[bench.ThrottleReason]int
	answers   int // samples that say whether the clocks are held back

	powerAt    time.Time // of the power sample before
	power      float64
	integrated float64 // J
	err        error   // the first
}

func (x *watch) note(err error) {
	if x.err == nil && err != nil && !errors.Is(err, errAbsent) {
		x.err = err
	}
}

func (x *watch) readEnergy() (float64, bool) {
	v, errs := x.board.read([]reading{energyReading})
	x.note(errors.Join(errs...))
	e, ok := v[Energy]
	return e, ok
}

var windowReadings = slices.DeleteFunc(slices.Clone(readings), func(r reading) bool { return !r.window })

// sample reads what changes within a window.
func (x *watch) sample() {
	values, errs := x.board.read(windowReadings)
	x.note(errors.Join(errs...))
	now := time.Now()
	if reasons := values.throttled(); reasons != nil {
		x.answers++
		for r, on := range reasons {
			if on {
				x.throttled[r]++
			}
		}
	}
	for q, v := range values {
		x.sums[q] += v
		x.counts[q]++
	}
	if t, ok := values[Temperature]; ok && (x.hottest == nil || t > *x.hottest) {
		x.hottest = &t
	}
	if p, ok := values[Power]; ok {
		// The trapezoidal rule; the stretch before the first sample counts as it.
		from, before := x.begun, p
		if !x.powerAt.IsZero() {
			from, before = x.powerAt, x.power
		}
		x.integrated += (before + p) / 2 * now.Sub(from).Seconds()
		x.powerAt, x.power = now, p
	}
}

func (x *watch) mean(q Quantity) *float64 {
	if x.counts[q] == 0 {
		return nil
	}
	v := x.sums[q] / float64(x.counts[q])
	return &v
}

// finish reads the counters once more and makes the means.
func (x *watch) finish() bench.Telemetry {
	seconds := time.Since(x.begun).Seconds()
	t := bench.Telemetry{
		Device: x.dev.UUID, Duration: seconds,
		SMClock: x.mean(SMClock), MemoryClock: x.mean(MemoryClock), Temperature: x.hottest,
	}
	if x.dev == x.board {
		t.Utilization, t.MemoryUtilization, t.Power = x.mean(Utilization), x.mean(MemoryUtilization), x.mean(Power)
		x.account(&t)
	}
	// The counters count until they are read: what takes longer comes after.
	counters, err := x.dev.meter.read()
	x.note(err)
	if x.dev == x.board {
		t.Others, t.OthersUtilization = x.others()
	}
	t.SMActivity, t.SMOccupancy = counters.figure(SMActivity), counters.figure(SMOccupancy)
	t.TensorActivity, t.DRAMBandwidth = counters.figure(TensorActivity), counters.figure(DRAMBandwidth)
	for r, n := range x.throttled {
		if t.Throttled == nil {
			t.Throttled = map[bench.ThrottleReason]float64{}
		}
		t.Throttled[r] = float64(n) / float64(x.answers)
	}
	if x.err != nil {
		t.Problem = x.err.Error()
	}
	return t
}

// account finds the energy: what the device's counter says, or else the
// integral of the sampled power. With a counter the mean power is taken from it
// as well: a power sample of its own is a mean of the second before.
func (x *watch) account(t *bench.Telemetry) {
	if end, ok := x.readEnergy(); ok && x.counted && end > x.energy {
		spent := end - x.energy
		t.Energy = &spent
		if t.Duration > 0 {
			mean := spent / t.Duration
			t.Power = &mean
		}
		return
	}
	if !x.powerAt.IsZero() {
		spent := x.integrated + x.power*max(0, t.Duration-x.powerAt.Sub(x.begun).Seconds())
		t.Energy, t.EnergyIntegrated = &spent, true
	}
}
