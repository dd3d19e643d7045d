package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/sys/unix"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/workload"
	"github.com/plancast/plancast/units"
)

// rested is something that is called back to back, and after pauses.
type rested struct {
	name string
	rate float64 // of the calls after pauses: far below what it could do
	// streams says that a call reads more than the caches hold, so that a pause can take
	// nothing out of them.
	streams bool
	open    func(ctx context.Context) (loops, error)
}

// loops are the ways to call it. All times are in seconds.
type loops struct {
	closed  func(n int) ([]float64, error)                           // so many calls back to back
	serve   func(requests []engine.Request) ([]engine.Answer, error) // plancast's open loop
	call    func() (float64, error)                                  // the peer's call, which times itself
	release func() error
}

// Few weights leave the fixed cost of a call. 10 MB are more than a core's own caches
// hold, and 540 MB more than those that cores share. Reading memory shows a pause
// without any engine.
func everyRested() []rested {
	several := min(4, max(2, runtime.NumCPU()/2))
	return []rested{
		{"perceptron, 40 kB of weights", 100, false, perceptron(96, 96, 10, 1)},
		{"perceptron, 10 MB of weights", 100, false, perceptron(1024, 2048, 256, 1)},
		{fmt.Sprintf("the same on %d threads", several), 20, false, perceptron(1024, 2048, 256, several)},
		{"perceptron, 540 MB of weights", 4, true, perceptron(8192, 8192, 8192, 1)},
		{"no engine: 10 MB of memory are read", 100, false, memory(10 << 20)},
	}
}

// pauses shows what an open loop far below capacity adds to a call: nothing beyond what
// the pause before the call does to the machine. The peer is a plain loop that makes the
// same pauses, asleep or looking at the clock all along, and times a session of its own
// as the closed loop does. All loops take turns.
func (p *program) pauses(ctx context.Context) error {
	fmt.Printf("P50 of calls back to back, and after pauses as between Poisson arrivals; medians of %d turns\n", p.turns)
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "what\trate\tback to back\topen loop\tpeer, asleep\tpeer, busy\tstarts late by\tpage faults\tthread switches")
	var judge []func()
	for _, r := range everyRested() {
		l, err := r.open(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		turns, err := p.alternate(r, l)
		if err := errors.Join(err, l.release()); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
		turns.row(table, r)
		judge = append(judge, func() { p.judge(r, turns) })
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Println("Page faults and thread switches are those of a request in the open loop; its own sleep is one switch.")
	for _, j := range judge {
		j()
	}
	return nil
}

// turn is what one turn of all loops showed: P50s in seconds.
type turn struct {
	closed, open, asleep, busy float64
	lateness                   float64 // of the open loop's starts
	faults, switches           float64 // a request of the open loop
}

func (p *program) alternate(r rested, l loops) (turns, error) {
	requests := poisson(max(5, int(r.rate*p.turn.Seconds())), r.rate)
	var out turns
	for i := range p.turns {
		var t turn
		steps := []func() error{
			func() (err error) { t.closed, err = p50(l.closed(len(requests))); return err },
			func() error { return t.serve(l, requests) },
			func() (err error) { t.asleep, err = p50(pausing(requests, asleep, l.call)); return err },
			func() (err error) { t.busy, err = p50(pausing(requests, busy, l.call)); return err },
		}
		if i%2 == 1 {
			slices.Reverse(steps)
		}
		runtime.GC() // not while a loop is timed
		for _, step := range steps {
			time.Sleep(100 * time.Millisecond) // threads of the session before look for work until then
			if err := step(); err != nil {
				return nil, err
			}
		}
		out = append(out, t)
	}
	return out, nil
}

// serve times the open loop.
func (t *turn) serve(l loops, requests []engine.Request) error {
	var before, after unix.Rusage
	err := unix.Getrusage(unix.RUSAGE_SELF, &before)
	if err != nil {
		return err
	}
	answers, err := l.serve(requests)
	if err = errors.Join(err, unix.Getrusage(unix.RUSAGE_SELF, &after)); err != nil {
		return err
	}
	served, n := workload.Serve(requests, answers, true), float64(len(answers))
	t.open, t.lateness = median(served.Services), median(served.Lateness)
	t.faults = float64(after.Minflt-before.Minflt) / n
	t.switches = float64(after.Nvcsw+after.Nivcsw-before.Nvcsw-before.Nivcsw) / n
	return nil
}

type turns []turn

// of are the median of a figure over the turns, and the ends of its 95 % interval: the
// order statistics that a sign test leaves.
func (t turns) of(figure func(turn) float64) (p50, low, high float64) {
	v := make([]float64, len(t))
	for i, x := range t {
		v[i] = figure(x)
	}
	slices.Sort(v)
	k, fewer := 0, distuv.Binomial{N: float64(len(v)), P: 0.5}
	for k < (len(v)-1)/2 && 2*fewer.CDF(float64(k)) <= 0.05 {
		k++
	}
	k = max(0, k-1)
	return bench.NearestRank(v, 0.5), v[k], v[len(v)-1-k]
}

func (t turns) row(to *tabwriter.Writer, r rested) {
	cells := []string{r.name, units.Format(r.rate, units.PerSec)}
	for _, f := range []func(turn) float64{
		func(t turn) float64 { return t.closed }, func(t turn) float64 { return t.open }, func(t turn) float64 { return t.asleep },
		func(t turn) float64 { return t.busy }, func(t turn) float64 { return t.lateness },
	} {
		v, _, _ := t.of(f)
		cells = append(cells, units.Format(v, units.Seconds))
	}
	faults, _, _ := t.of(func(t turn) float64 { return t.faults })
	switches, _, _ := t.of(func(t turn) float64 { return t.switches })
	cells = append(cells, fmt.Sprintf("%.2f\t%.1f", faults, switches))
	fmt.Fprintln(to, strings.Join(cells, "\t"))
}

func (p *program) judge(r rested, t turns) {
	p.within(r.name+": open loop / peer with the same pauses", t, func(t turn) float64 { return t.open / t.asleep })
	const whole = ": open loop / back to back"
	slower := func(t turn) float64 { return t.open / t.closed }
	if r.streams {
		p.within(r.name+whole+", as caches hold it in neither", t, slower)
		return
	}
	ratio, low, high := t.of(slower)
	fmt.Printf("      %s%s: %.3f [%.3f, %.3f]: what pauses do to the machine\n", r.name, whole, ratio, low, high)
}

// within judges whether a ratio is 1 within 2 %. Turns that differ too much to say so
// leave it open.
func (p *program) within(what string, t turns, of func(turn) float64) {
	const tolerance = 0.02
	ratio, low, high := t.of(of)
	if math.Abs(ratio-1) > tolerance && low <= 1+tolerance && high >= 1-tolerance {
		fmt.Printf("open  %s: %.3f [%.3f, %.3f] (aim: within 2 %%): more turns, or an idle machine, decide it\n", what, ratio, low, high)
		return
	}
	p.say(math.Abs(ratio-1) <= tolerance, "%s: %.3f [%.3f, %.3f] (aim: within 2 %%)", what, ratio, low, high)
}

func median(values []float64) float64 {
	return bench.NearestRank(slices.Sorted(slices.Values(values)), 0.5)
}

func p50(values []float64, err error) (float64, error) {
	if err != nil {
		return 0, err
	}
	return median(values), nil
}

// pausing makes a call when each request is due, having waited for that in one way.
func pausing(requests []engine.Request, wait func(until time.Time), call func() (float64, error)) ([]float64, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	origin := time.Now()
	out := make([]float64, len(requests))
	for i, r := range requests {
		wait(origin.Add(r.At))
		var err error
		if out[i], err = call(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func busy(until time.Time) {
	for time.Now().Before(until) {
	}
}

func asleep(until time.Time) {
	const early = 200 * time.Microsecond // a thread that sleeps wakes up late
	if left := time.Until(until) - early; left > 0 {
		t := unix.NsecToTimespec(int64(left))
		_ = unix.Nanosleep(&t, nil)
	}
	busy(until)
}
