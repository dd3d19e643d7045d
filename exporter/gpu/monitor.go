package gpu

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/pause"
)

// Options are how to reach NVML and how often to ask it.
type Options struct {
	NVML     nvml.Interface // nil is the system's
	Interval time.Duration  // between samples; 0 is DefaultInterval
	Limit    time.Duration  // for each call; 0 is 2 s
	Log      *slog.Logger   // of Monitor; nil discards
}

// State is what Monitor knows of a device.
type State struct {
	Info
	Time   time.Time // of the newest sample; zero before the first
	Values Values    // of that sample; nil when it is out of date
	Errors uint64    // calls that failed since the start
	// Throttled says of every reason whether it held the clocks back; nil when the
	// device does not report them, or Values is.
	Throttled map[bench.ThrottleReason]bool
	XIDs      map[uint64]uint64 // XID errors since the start, by number; nil for a MIG instance
}

// stale is after how many intervals without a sample the last one is no longer shown.
const stale = 3

// Monitor samples every GPU of the machine in the background. Make it with
// NewMonitor; its methods are safe for concurrent use.
type Monitor struct {
	o Options

	mu     sync.Mutex
	states map[string]*State // by UUID
	logged map[string]string // by UUID: the failure that the log knows
}

// NewMonitor returns a monitor that knows nothing before Run.
func NewMonitor(o Options) *Monitor {
	if o.Interval == 0 {
		o.Interval = DefaultInterval
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Monitor{o: o, states: map[string]*State{}, logged: map[string]string{}}
}

// States are the devices in order: GPUs by index, each before its instances.
func (m *Monitor) States() []State {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]State, 0, len(m.states))
	for _, s := range m.states {
		x := *s
		x.XIDs = maps.Clone(s.XIDs)
		if time.Since(s.Time) > stale*m.o.Interval {
			x.Values, x.Throttled = nil, nil
		}
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b State) int {
		i, x, _ := strings.Cut(a.GPU, ":")
		j, y, _ := strings.Cut(b.GPU, ":")
		return cmp.Or(cmp.Compare(len(i), len(j)), cmp.Compare(i, j), cmp.Compare(len(x), len(y)), cmp.Compare(x, y))
	})
	return out
}

// Run samples until ctx ends. On a machine without NVML it says so in the log
// and returns at once. When it returns, all that is left are calls that hang
// in the driver.
func (m *Monitor) Run(ctx context.Context) {
	s, err := m.open(ctx)
	var none *UnavailableError
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return
	case errors.As(err, &none):
		m.o.Log.Info("No GPU telemetry", "reason", none.Reason)
		return
	case err != nil:
		m.o.Log.Warn("No GPU telemetry", "err", err)
		return
	}
	defer s.close()
	for _, d := range s.gpus {
		m.o.Log.Info("GPU found", "gpu", d.GPU, "device", d.Name, "uuid", d.UUID, "driver", d.Driver, "counters", d.meter != nil)
		m.mu.Lock()
		m.state(d).XIDs = map[uint64]uint64{}
		m.mu.Unlock()
	}
	var working sync.WaitGroup
	for _, d := range s.gpus {
		working.Go(func() { m.watch(ctx, s, d) })
	}
	working.Go(func() { m.listen(ctx, s) })
	working.Wait()
}

// open is open, except that it does not outlast ctx: loading a driver takes long.
func (m *Monitor) open(ctx context.Context) (*system, error) {
	type result struct {
		s   *system
		err error
	}
	opened := make(chan result)
	go func() {
		s, err := open(m.o.NVML, m.o.Limit)
		select {
		case opened <- result{s, err}:
		case <-ctx.Done():
			if err == nil {
				s.close()
			}
		}
	}()
	select {
	case r := <-opened:
		return r.s, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// state returns what is known of d, which may be nothing yet; m.mu is held.
func (m *Monitor) state(d *device) *State {
	if m.states[d.UUID] == nil {
		m.states[d.UUID] = &State{Info: d.Info}
	}
	return m.states[d.UUID]
}

// watch samples one GPU and its instances until ctx ends.
func (m *Monitor) watch(ctx context.Context, s *system, d *device) {
	var instances map[string]*device
	defer func() {
		for _, x := range instances {
			x.meter.close()
		}
	}()
	ticker := time.NewTicker(m.o.Interval)
	defer ticker.Stop()
	for {
		found, err := s.instances(d, instances)
		if err == nil {
			for uuid, x := range instances {
				if found[uuid] != x {
					x.meter.close()
					m.forget(uuid)
				}
			}
			instances = found
		}
		m.sample(d, readings, err)
		for _, x := range instances {
			m.sample(x, instanceReadings, nil)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// sample reads d once; before is what failed on the way.
func (m *Monitor) sample(d *device, readings []reading, before error) {
	var values Values
	var errs []error
	if before != nil {
		errs = append(errs, before)
	}
	if before == nil || !hopeless(before) {
		read, failed := d.read(readings)
		values, errs = read, append(errs, failed...)
		// A GPU that is split has counters in its instances only.
		if d.MIG != MIGEnabled && (len(errs) == 0 || !hopeless(errs[len(errs)-1])) {
			counters, err := d.meter.read()
			if err != nil {
				errs = append(errs, err)
			}
			maps.Copy(values, counters)
		}
	}
	failure := ""
	lost := false
	if err := errors.Join(errs...); err != nil {
		failure, lost = err.Error(), hopeless(errs[len(errs)-1])
	}

	m.mu.Lock()
	defer m.mu.Unlock()
	state := m.state(d)
	state.Info = d.Info
	state.Errors += uint64(len(errs))
	if !lost && len(values) > 0 {
		state.Time, state.Throttled, state.Values = time.Now(), values.throttled(), values
	}
	if logged := m.logged[d.UUID]; logged != failure {
		m.logged[d.UUID] = failure
		if failure == "" {
			m.o.Log.Info("GPU answers again", "gpu", d.GPU, "uuid", d.UUID)
		} else {
			m.o.Log.Warn("GPU does not answer", "gpu", d.GPU, "uuid", d.UUID, "err", failure)
		}
	}
}

// forget drops an instance that is no more.
func (m *Monitor) forget(uuid string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.states, uuid)
	delete(m.logged, uuid)
}

// eventWait is how long one wait for events lasts, and so how long a stop takes.
const eventWait = time.Second

// listen counts XID errors until ctx ends.
func (m *Monitor) listen(ctx context.Context, s *system) {
	l := s.events
	set, err := call(l, "nvmlEventSetCreate", s.lib.EventSetCreate)
	if err != nil {
		m.deaf(err)
		return
	}
	defer func() {
		_, _ = call(l, "nvmlEventSetFree", func() (struct{}, nvml.Return) { return struct{}{}, set.Free() })
	}()
	listening := false
	for _, d := range s.gpus {
		_, err := call(l, "nvmlDeviceRegisterEvents", func() (struct{}, nvml.Return) {
			return struct{}{}, d.handle.RegisterEvents(nvml.EventTypeXidCriticalError, set)
		})
		listening = listening || err == nil
		if err != nil {
			m.deaf(err)
		}
	}
	for listening && ctx.Err() == nil {
		e, err := call(l, "nvmlEventSetWait_v2", func() (nvml.EventData, nvml.Return) { return set.Wait(uint32(eventWait.Milliseconds())) })
		var failed *Error
		switch {
		case err == nil:
			m.xid(s, e)
		case errors.As(err, &failed) && failed.Return == nvml.ERROR_TIMEOUT:
		default:
			// A lost GPU answers every wait at once.
			_ = pause.For(ctx, m.o.Interval)
		}
	}
}

func (m *Monitor) deaf(err error) {
	if !errors.Is(err, errAbsent) {
		m.o.Log.Warn("Cannot count XID errors", "err", err)
	}
}

func (m *Monitor) xid(s *system, e nvml.EventData) {
	i := slices.IndexFunc(s.gpus, func(d *device) bool { return d.handle == e.Device })
	if i < 0 && e.Device != nil {
		if uuid, err := call(s.calls, "nvmlDeviceGetUUID", e.Device.GetUUID); err == nil {
			i = slices.IndexFunc(s.gpus, func(d *device) bool { return d.UUID == uuid })
		}
	}
	if i < 0 || e.EventType != nvml.EventTypeXidCriticalError {
		return
	}
	d := s.gpus[i]
	m.mu.Lock()
	defer m.mu.Unlock()
	state := m.state(d)
	state.XIDs[e.EventData]++
	if state.XIDs[e.EventData] == 1 {
		m.o.Log.Warn("GPU reported an XID error; later ones of this number are only counted", "gpu", d.GPU, "uuid", d.UUID, "xid", e.EventData)
	}
}
