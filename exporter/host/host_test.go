package host

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/bench"
)

// machine is a file system that a test writes, and a clock that it moves.
type machine struct {
	t    *testing.T
	root string
	at   time.Time
}

func newMachine(t *testing.T) *machine {
	return &machine{t: t, root: t.TempDir(), at: time.Unix(1000, 0)}
}

func (m *machine) host(cores ...int) *Host {
	return &Host{root: m.root, cores: cores, now: func() time.Time { return m.at }, pause: func(_ context.Context, d time.Duration) error { m.at = m.at.Add(d); return nil }}
}

func (m *machine) write(name, format string, args ...any) {
	m.t.Helper()
	path := filepath.Join(m.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, fmt.Appendf(nil, format, args...), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

// stat writes two cores: ticks of user time and of steal on each.
func (m *machine) stat(user0, steal0, user1, steal1 int) {
	m.write("proc/stat", `cpu  1 2 3 4 5 6 7 8 9 10
cpu0 %d 0 0 50 0 0 0 %d 0 0
cpu1 %d 0 0 50 0 0 0 %d 0 0
intr 1 2 3
`, user0, steal0, user1, steal1)
}

func (m *machine) self(seconds float64, switches int) {
	m.write("proc/self/usage", "%v %d", seconds, switches)
}

func (m *machine) thread(id int, ran, waited time.Duration) {
	m.write(fmt.Sprintf("proc/self/task/%d/schedstat", id), "%d %d 7\n", ran.Nanoseconds(), waited.Nanoseconds())
}

func approx(a, b float64) bool { return a > b-1e-9 && a < b+1e-9 }

func TestAWindow(t *testing.T) {
	for name, c := range map[string]struct {
		cores []int
		want  bench.Load
	}{
		// The cores were busy for 2.0 s and 1.5 s, 1.9 s of it for this process,
		// and a tick of each is not counted.
		"both cores": {[]int{0, 1}, bench.Load{Duration: 2, Cores: 2, Ran: 1.7 + 0.15, Waited: 0.15, Switches: 30, Stolen: 0.1, Others: 3.5 - 1.9 - 0.02}},
		"one core":   {[]int{0}, bench.Load{Duration: 2, Cores: 1, Ran: 1.7 + 0.15, Waited: 0.15, Switches: 30, Stolen: 0.1, Others: 2.0 - 1.9 - 0.01}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.stat(1000, 5, 2000, 7)
			m.self(10, 100)
			m.thread(1, time.Second, 0)
			m.thread(2, 0, 0)
			stop := m.host(c.cores...).Start()
			m.at = m.at.Add(2 * time.Second)
			m.stat(1200, 15, 2150, 7)
			m.self(11.9, 130)
			m.thread(1, 2700*time.Millisecond, 100*time.Millisecond)
			m.thread(2, 5*time.Millisecond, 90*time.Millisecond)   // hardly ran: not a timed one
			m.thread(3, 150*time.Millisecond, 50*time.Millisecond) // began meanwhile
			got := stop()
			if !approx(got.Duration, c.want.Duration) || got.Cores != c.want.Cores || !approx(got.Ran, c.want.Ran) || !approx(got.Waited, c.want.Waited) || got.Switches != c.want.Switches ||
				!approx(got.Stolen, c.want.Stolen) || !approx(got.Others, c.want.Others) || got.Clock != nil || got.Problem != "" {
				t.Errorf("%+v\nwant %+v", got, c.want)
			}
		})
	}
}

func TestAnIdleMachineHasNoOthers(t *testing.T) {
	m := newMachine(t)
	m.stat(0, 0, 0, 0)
	m.self(0, 0)
	m.thread(1, 0, 0)
	stop := m.host(0, 1).Start()
	m.at = m.at.Add(time.Second)
	m.stat(100, 0, 1, 0) // this process alone, and a tick of its own time on the other core
	m.self(1.0, 0)
	if l := stop(); l.Others != 0 || l.Problem != "" {
		t.Errorf("%+v", l)
	}
}

func TestTheClockIsThatOfTheCores(t *testing.T) {
	m := newMachine(t)
	m.stat(0, 0, 0, 0)
	m.self(0, 0)
	m.thread(1, 0, 0)
	for core, khz := range []int{2_000_000, 3_000_000} {
		m.write(fmt.Sprintf("sys/devices/system/cpu/cpu%d/cpufreq/scaling_cur_freq", core), "%d\n", khz)
	}
	stop := m.host(0, 1).Start()
	m.at = m.at.Add(time.Second)
	if l := stop(); l.Clock == nil || *l.Clock != 2.5e9 {
		t.Errorf("%+v", l)
	}
}

func TestWhatCannotBeReadIsSaid(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*machine)
		says  string
	}{
		"no /proc/stat":     {func(m *machine) { _ = os.Remove(filepath.Join(m.root, "proc/stat")) }, "proc/stat"},
		"a core is missing": {func(m *machine) { m.write("proc/stat", "cpu0 0 0 0 0 0 0 0 0 0 0\n") }, "1 of the 2 cores"},
		"odd ticks":         {func(m *machine) { m.write("proc/stat", "cpu0 x 0 0 0 0 0 0 0 0 0\n") }, "invalid syntax"},
		"odd schedstat":     {func(m *machine) { m.write("proc/self/task/1/schedstat", "no numbers\n") }, "schedstat"},
		"an empty one":      {func(m *machine) { m.write("proc/self/task/1/schedstat", "") }, "schedstat"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.stat(0, 0, 0, 0)
			m.self(0, 0)
			m.thread(1, 0, 0)
			stop := m.host(0, 1).Start()
			c.spoil(m)
			if l := stop(); !strings.Contains(l.Problem, c.says) {
				t.Errorf("%+v does not say %q", l, c.says)
			}
		})
	}
	m := newMachine(t)
	m.stat(0, 0, 0, 0)
	m.self(0, 0)
	m.write("proc/self/task/1/status", "a kernel without schedstat")
	if l := m.host(0).Start()(); l.Problem != "" || l.Waited != 0 {
		t.Errorf("without schedstat: %+v", l)
	}
}

// Quiet ends after two quiet steps in a row, and in any case in time.
func TestQuiet(t *testing.T) {
	for name, c := range map[string]struct {
		busy func(step int) int // ticks that others took in the step of 25
		most time.Duration
		want time.Duration
	}{
		"at once":            {func(int) int { return 0 }, time.Minute, 500 * time.Millisecond},
		"after a while":      {func(step int) int { return map[bool]int{true: 25}[step < 10] }, time.Minute, 3 * time.Second},
		"a burst in four":    {func(step int) int { return map[bool]int{true: 20}[step%4 == 0] }, time.Minute, 750 * time.Millisecond},
		"every other step":   {func(step int) int { return map[bool]int{true: 20}[step%2 == 0] }, 5 * time.Second, 5 * time.Second},
		"never":              {func(int) int { return 25 }, 10 * time.Second, 10 * time.Second},
		"never, odd bound":   {func(int) int { return 25 }, 1100 * time.Millisecond, 1100 * time.Millisecond},
		"no time to wait":    {func(int) int { return 25 }, 0, 0},
		"within what may be": {func(int) int { return 3 }, time.Minute, 500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.stat(0, 0, 0, 0)
			m.self(0, 0)
			m.thread(1, 0, 0)
			h := m.host(0, 1)
			taken, steps := 0, 0
			h.pause = func(_ context.Context, d time.Duration) error {
				m.at = m.at.Add(d)
				taken += c.busy(steps)
				steps++
				m.stat(taken, 0, 0, 0)
				return nil
			}
			if got := h.Quiet(t.Context(), 0.05, c.most); got != c.want {
				t.Errorf("waited %v, want %v", got, c.want)
			}
		})
	}
	m := newMachine(t) // nothing to read: no reason to wait
	if got := m.host(0).Quiet(t.Context(), 0.05, time.Minute); got > step {
		t.Errorf("waited %v for a machine that cannot be read", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m.stat(0, 0, 0, 0)
	if got := m.host(0).Quiet(ctx, 0.05, time.Minute); got != 0 {
		t.Errorf("waited %v after the end", got)
	}
}

// The real files of this machine have the form that is expected.
func TestThisMachine(t *testing.T) {
	var h Host
	l := h.Start()()
	if l.Problem != "" || l.Cores < 1 || l.Duration < 0 {
		t.Errorf("%+v", l)
	}
}
