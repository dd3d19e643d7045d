// Command workload holds what plancast does with traffic against its targets: how long a
// queue makes requests wait, how well and how fast the highest rate is found, how
// punctual starts are, and that an open loop far below capacity adds nothing to a call.
//
//	go run ./bench/workload                  # all parts, about nine minutes
//	go run ./bench/workload -parts pauses    # some
//
// It prints each target with what was measured, and exits with 1 when one is missed. It
// needs an idle machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"gonum.org/v1/gonum/stat"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/serve"
	"github.com/plancast/plancast/exporter/workload"
	"github.com/plancast/plancast/units"
)

// parts are what the program can do, in this order.
var parts = []struct {
	name string
	run  func(*program, context.Context) error
}{{"queue", (*program).queue}, {"search", (*program).search}, {"starts", (*program).starts}, {"pauses", (*program).pauses}}

func main() {
	p := program{}
	wanted := flag.String("parts", "queue,search,starts,pauses", "what to do")
	flag.DurationVar(&p.queueing, "queueing", time.Minute, "real time of each queue: much less leaves its mean to chance")
	flag.DurationVar(&p.window, "window", 5*time.Second, "real time of each window of starts")
	flag.DurationVar(&p.turn, "turn", time.Second, "real time of each turn of loops that are compared")
	flag.IntVar(&p.turns, "turns", 12, "turns of loops that are compared")
	flag.Parse()
	for _, part := range parts {
		if !slices.Contains(strings.Split(*wanted, ","), part.name) {
			continue
		}
		if err := part.run(&p, context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, "workload:", err)
			os.Exit(2)
		}
	}
	if p.missed > 0 {
		fmt.Println(units.Count(p.missed, "target"), "missed, or the machine was not idle")
		os.Exit(1)
	}
}

type program struct {
	queueing, window, turn time.Duration
	turns                  int
	missed                 int
}

// say prints a target with what was measured.
func (p *program) say(met bool, format string, args ...any) {
	verdict := "pass"
	if !met {
		verdict = "MISS"
		p.missed++
	}
	fmt.Printf("%s  %s\n", verdict, fmt.Sprintf(format, args...))
}

// near says how far a figure is from what it should be.
func (p *program) near(what string, got, want, tolerance float64, u units.Unit) {
	p.say(math.Abs(got/want-1) <= tolerance, "%s: %s, %.3f of %s (aim: within %.0f %%)", what, units.Format(got, u), got/want, units.Format(want, u), 100*tolerance)
}

// poisson draws n requests that arrive independently.
func poisson(n int, rate float64) []engine.Request {
	return workload.Workload{Shapes: []workload.Shape{{Weight: 1}}, Rate: rate}.Sequence(1).Draw(n, rate)
}

// spinner is an engine whose calls all take the same time.
type spinner time.Duration

// Run implements serve.Instance.
func (s spinner) Run(int) error {
	for begun := time.Now(); time.Since(begun) < time.Duration(s); {
	}
	return nil
}

// queue compares the mean waiting time of Poisson arrivals at an engine of constant
// service time with rho/(2(1-rho)) services (Pollaczek and Khinchine): M/D/1.
func (p *program) queue(ctx context.Context) error {
	const service = 200 * time.Microsecond
	for _, load := range []float64{0.3, 0.6, 0.8} {
		rate := load / service.Seconds()
		formula := load / (2 * (1 - load)) * service.Seconds()
		long := poisson(2_000_000, rate)
		simulated := workload.Simulate(long, 1, func(engine.Request) time.Duration { return service })
		p.near(fmt.Sprintf("mean waiting at a load of %.0f %%, simulated time", 100*load), stat.Mean(workload.Serve(long, simulated, true).Waits, nil), formula, 0.05, units.Seconds)
		requests := long[:min(len(long), int(rate*p.queueing.Seconds()))]
		answers, err := serve.Play(ctx, requests, []serve.Instance{spinner(service)}, 0)
		if err != nil {
			return err
		}
		p.near(fmt.Sprintf("mean waiting at a load of %.0f %%, real time, %s", 100*load, units.Count(len(requests), "request")), stat.Mean(workload.Serve(requests, answers, true).Waits, nil), formula, 0.05, units.Seconds)
		same := stat.Mean(workload.Serve(requests, simulated[:len(requests)], true).Waits, nil)
		fmt.Printf("      of which chance makes %.3f: the mean of the same arrivals in simulated time\n", same/formula)
	}
	return nil
}

// search compares the highest rate that is found with that of a scan in steps of 1 %, in
// simulated time.
func (p *program) search(context.Context) error {
	services := []time.Duration{time.Millisecond, 3 * time.Millisecond, 9 * time.Millisecond}
	mix := workload.Workload{Shapes: []workload.Shape{{Weight: 70}, {Weight: 25}, {Weight: 5}}, Rate: 1}
	mean := 0.0
	for i, share := range mix.Shares() {
		mean += share * services[i].Seconds()
	}
	for _, c := range []struct {
		within time.Duration
		lanes  int
	}{{10 * time.Millisecond, 1}, {40 * time.Millisecond, 1}, {12 * time.Millisecond, 4}} {
		var spent time.Duration
		holds := func(rate float64) (bool, error) {
			requests := mix.Sequence(2).Draw(10_000, rate)
			answers := workload.Simulate(requests, c.lanes, func(r engine.Request) time.Duration { return services[r.Input] })
			spent += answers[len(answers)-1].End
			return bench.NearestRank(slices.Sorted(slices.Values(workload.Serve(requests, answers, true).Latencies)), 0.99) <= c.within.Seconds(), nil
		}
		ceiling, scanned := float64(c.lanes)/mean, 0.0
		for rate := ceiling / 50; rate < ceiling; rate *= 1.01 {
			if ok, _ := holds(rate); ok {
				scanned = rate
			}
		}
		scan := spent
		spent = 0
		found, err := workload.MaxRate(ceiling, 0.02, 12, holds)
		if err != nil {
			return err
		}
		what := fmt.Sprintf("P99 within %v, %d at once", c.within, c.lanes)
		p.near("highest rate of a mix, "+what+", against the scan's", found, scanned, 0.03, units.PerSec)
		p.say(spent*10 <= scan, "time of the search, %s: %.3f of the scan's (aim: at most a tenth)", what, spent.Seconds()/scan.Seconds())
	}
	return nil
}

// rates are those at which starts are judged, in requests a second.
var rates = []float64{200, 2000}

// punctual judges how late calls began that were due and that an instance was free for.
func (p *program) punctual(what string, lateness []float64) {
	slices.Sort(lateness)
	p50, p99 := bench.NearestRank(lateness, 0.5), bench.NearestRank(lateness, 0.99)
	late := len(lateness) - sortedUpTo(lateness, bench.LateStart)
	p.say(p50 < 50e-6 && p99 < 1e-3, "%s begin late by a median of %s and a P99 of %s; %d of %d by more than 1 ms (aim: below 50 µs and 1 ms)",
		what, units.Format(p50, units.Seconds), units.Format(p99, units.Seconds), late, len(lateness))
}

// sortedUpTo is how many values of a sorted list are at most a limit.
func sortedUpTo(sorted []float64, limit float64) int {
	n, _ := slices.BinarySearch(sorted, math.Nextafter(limit, math.Inf(1)))
	return n
}

// starts judges the loops of both runtimes.
func (p *program) starts(ctx context.Context) error {
	return errors.Join(p.playedStarts(ctx), p.runtimeStarts(ctx))
}

// playedStarts judges the loop that plays requests to TensorRT.
func (p *program) playedStarts(ctx context.Context) error {
	for _, rate := range rates {
		requests := poisson(int(rate*p.window.Seconds()), rate)
		answers, err := serve.Play(ctx, requests, []serve.Instance{spinner(0)}, 0)
		if err != nil {
			return err
		}
		p.punctual(fmt.Sprintf("calls at %.0f/s in the loop for TensorRT", rate), workload.Serve(requests, answers, true).Lateness)
	}
	return nil
}

// runtimeStarts judges ONNX Runtime's loop.
func (p *program) runtimeStarts(ctx context.Context) error {
	l, err := perceptron(1024, 2048, 256, 1)(ctx)
	if err != nil {
		return err
	}
	for _, rate := range rates {
		requests := poisson(int(rate*p.window.Seconds()), rate)
		answers, err := l.serve(requests)
		if err != nil {
			return errors.Join(err, l.release())
		}
		p.punctual(fmt.Sprintf("calls at %.0f/s of ONNX Runtime", rate), workload.Serve(requests, answers, true).Lateness)
	}
	return l.release()
}
