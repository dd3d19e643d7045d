// Package host watches the processors of a Linux machine while a window is
// timed: whether the timed threads waited for a core, what the hypervisor and
// other processes took of the cores in use, and their clock. It is a
// bench.Host.
//
// Everything comes from /proc and /sys, which containers have as well.
package host

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/pause"
)

// Host implements bench.Host for this process. The zero value watches this
// machine.
type Host struct {
	root  string                                     // of the file system; tests give their own
	now   func() time.Time                           // nil is the clock
	pause func(context.Context, time.Duration) error // nil is pause.For
	cores []int                                      // nil asks the kernel
}

var _ bench.Host = (*Host)(nil)

// Of watches these cores, or those that this process may use if there are none.
func Of(cores []int) *Host { return &Host{cores: cores} }

// tick is the unit of /proc/stat: USER_HZ is 100 on every Linux.
const tick = 0.01

// busyShare is from which share of a window on a thread is a timed one.
const busyShare = 0.05

// reading is one reading of everything, in seconds.
type reading struct {
	at          time.Time
	cores       int
	busy        float64 // of the cores, by anybody; steal left out
	stolen      float64
	own         float64 // by this process
	switches    int64
	ran, waited map[string]float64 // by thread
	clock       *float64
	problem     error
}

// Start implements bench.Host.
func (h *Host) Start() (stop func() bench.Load) {
	before := h.read()
	return func() bench.Load { return h.read().since(before) }
}

// since is what happened between two readings.
func (l reading) since(before reading) bench.Load {
	d := l.at.Sub(before.at).Seconds()
	out := bench.Load{Duration: d, Cores: l.cores, Switches: l.switches - before.switches, Clock: l.clock}
	if err := errors.Join(before.problem, l.problem); err != nil {
		out.Problem = strings.ReplaceAll(err.Error(), "\n", "; ")
		return out
	}
	out.Stolen = max(0, l.stolen-before.stolen)
	// Ticks are counted when one ends: each core may have one too many.
	out.Others = max(0, l.busy-before.busy-(l.own-before.own)-tick*float64(l.cores))
	for thread, ran := range l.ran {
		ran -= before.ran[thread]
		waited := l.waited[thread] - before.waited[thread]
		if ran+waited >= busyShare*d {
			out.Ran += ran
			out.Waited += waited
		}
	}
	return out
}

// step is how long Quiet looks at the machine at a time; it takes two quiet
// steps in a row.
const step = 250 * time.Millisecond

// Quiet implements bench.Host.
func (h *Host) Quiet(ctx context.Context, limit float64, most time.Duration) time.Duration {
	wait := h.pause
	if wait == nil {
		wait = pause.For
	}
	begun := h.read()
	before, quiet := begun, 0
	for quiet < 2 && ctx.Err() == nil && before.at.Sub(begun.at) < most {
		_ = wait(ctx, min(step, most-before.at.Sub(begun.at)))
		l := h.read()
		load := l.since(before)
		if load.Problem != "" {
			return l.at.Sub(begun.at)
		}
		before = l
		if quiet++; load.Others+load.Stolen > limit*load.Duration*float64(load.Cores) {
			quiet = 0
		}
	}
	return before.at.Sub(begun.at)
}

func (h *Host) path(parts ...string) string {
	return filepath.Join(append([]string{"/", h.root}, parts...)...)
}

func (h *Host) read() reading {
	l := reading{at: time.Now(), ran: map[string]float64{}, waited: map[string]float64{}}
	if h.now != nil {
		l.at = h.now()
	}
	cores := h.cores
	if len(cores) == 0 {
		var err error
		if cores, err = affinity(); err != nil {
			l.problem = err
			return l
		}
	}
	l.cores = len(cores)
	l.problem = errors.Join(h.readStat(&l, cores), h.readSelf(&l), h.readThreads(&l))
	l.clock = h.clock(cores)
	return l
}

// readStat adds up what the kernel accounts to the cores: user, nice, system,
// irq and softirq are busy; guests are part of user.
func (h *Host) readStat(l *reading, cores []int) error {
	text, err := os.ReadFile(h.path("proc/stat"))
	if err != nil {
		return err
	}
	found := 0
	s := bufio.NewScanner(bytes.NewReader(text))
	for s.Scan() {
		fields := strings.Fields(s.Text())
		if len(fields) < 9 || !strings.HasPrefix(fields[0], "cpu") {
			continue
		}
		core, err := strconv.Atoi(fields[0][len("cpu"):])
		if err != nil || !slices.Contains(cores, core) {
			continue
		}
		found++
		for i, field := range fields[1:9] {
			ticks, err := strconv.ParseFloat(field, 64)
			if err != nil {
				return fmt.Errorf("proc/stat: %w", err)
			}
			switch i {
			case 0, 1, 2, 5, 6: // user, nice, system, irq, softirq
				l.busy += ticks * tick
			case 7:
				l.stolen += ticks * tick
			}
		}
	}
	if found < len(cores) {
		return fmt.Errorf("proc/stat has %d of the %d cores that this process may use", found, len(cores))
	}
	return nil
}

// readSelf reads this process's own time and switches.
func (h *Host) readSelf(l *reading) error {
	if h.root != "" { // a test's
		text, err := os.ReadFile(h.path("proc/self/usage"))
		if err != nil {
			return err
		}
		_, err = fmt.Sscan(string(text), &l.own, &l.switches)
		return err
	}
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return fmt.Errorf("read the CPU time of this process: %w", err)
	}
	l.own = time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
	l.switches = u.Nivcsw
	return nil
}

// readThreads reads how long each thread ran, and waited for a core while it
// was runnable. A kernel without schedstat leaves the waiting unknown.
func (h *Host) readThreads(l *reading) error {
	tasks, err := os.ReadDir(h.path("proc/self/task"))
	if err != nil {
		return err
	}
	for _, task := range tasks {
		text, err := os.ReadFile(h.path("proc/self/task", task.Name(), "schedstat"))
		if errors.Is(err, fs.ErrNotExist) {
			continue // the thread has ended, or the kernel has none
		}
		if err != nil {
			return err
		}
		fields := strings.Fields(string(text))
		if len(fields) < 2 {
			return fmt.Errorf("proc/self/task/%s/schedstat reads %q", task.Name(), text)
		}
		ran, errRan := strconv.ParseFloat(fields[0], 64)
		waited, errWaited := strconv.ParseFloat(fields[1], 64)
		if err := errors.Join(errRan, errWaited); err != nil {
			return fmt.Errorf("proc/self/task/%s/schedstat: %w", task.Name(), err)
		}
		l.ran[task.Name()], l.waited[task.Name()] = ran/1e9, waited/1e9
	}
	return nil
}

// clock is the mean frequency of the cores in Hz; nil where there is none to
// read, as in most virtual machines.
func (h *Host) clock(cores []int) *float64 {
	sum := 0.0
	for _, core := range cores {
		text, err := os.ReadFile(h.path("sys/devices/system/cpu", "cpu"+strconv.Itoa(core), "cpufreq/scaling_cur_freq"))
		if err != nil {
			return nil
		}
		khz, err := strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
		if err != nil {
			return nil
		}
		sum += khz * 1e3
	}
	if len(cores) == 0 {
		return nil
	}
	return new(sum / float64(len(cores)))
}
