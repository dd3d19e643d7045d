// Command workload holds what plancast does with traffic against its targets: how long a
// queue makes requests wait, how well and how fast the highest rate is found, how
// punctual starts are, and that an open loop far below capacity shows the closed loop's
// latency.
//
//	go run ./bench/workload
//
// It prints each target with what was measured, and exits with 1 when one is missed. It
// takes about five minutes and needs an idle machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"gonum.org/v1/gonum/stat"

	"github.com/plancast/plancast/bench/loaded"
	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/serve"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
	"github.com/plancast/plancast/exporter/tensorio"
	"github.com/plancast/plancast/exporter/workload"
	"github.com/plancast/plancast/units"
)

func main() {
	p := program{}
	flag.DurationVar(&p.queueing, "queueing", time.Minute, "real time of each queue: much less leaves its mean to chance")
	flag.DurationVar(&p.window, "window", 5*time.Second, "real time of every other window")
	flag.Parse()
	for _, part := range []func(context.Context) error{p.queue, p.search, p.playedStarts, p.onRuntime} {
		if err := part(context.Background()); err != nil {
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
	queueing, window time.Duration
	missed           int
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

// onRuntime judges ONNX Runtime's loop: starts, and an open loop against a closed one.
func (p *program) onRuntime(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "workload")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "model.onnx")
	if err := os.WriteFile(path, onnxtest.Classifier(1024, 2048, 256).Bytes(), 0o600); err != nil {
		return err
	}
	e, release, err := loaded.Engine(ctx, path, 1)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	inputs, err := tensorio.Generate(e.Inputs(), [][]int64{{1, 1024}}, 1)
	if err != nil {
		return err
	}
	serves := func(requests []engine.Request, open bool) (workload.Served, error) {
		answers, err := e.Serve(ctx, []engine.Chain{engine.Call(inputs)}, requests, engine.ServeOptions{Concurrency: 1})
		return workload.Serve(requests, answers, open), err
	}
	for _, rate := range rates {
		s, err := serves(poisson(int(rate*p.window.Seconds()), rate), true)
		if err != nil {
			return err
		}
		p.punctual(fmt.Sprintf("calls at %.0f/s of ONNX Runtime", rate), s.Lateness)
	}
	return p.openLoop(serves)
}

// openLoop compares the P50 of an open loop far below capacity with the closed loop's.
// The two take turns.
func (p *program) openLoop(serves func(requests []engine.Request, open bool) (workload.Served, error)) error {
	const turns, rate = 5, 100
	requests := poisson(int(rate*p.window.Seconds()), rate)
	var open, closed []float64
	for range turns {
		for _, is := range []bool{false, true} {
			list := requests
			if !is {
				list = make([]engine.Request, len(requests))
			}
			s, err := serves(list, is)
			if err != nil {
				return err
			}
			if is {
				open = append(open, s.Latencies...)
			} else {
				closed = append(closed, s.Latencies...)
			}
		}
	}
	slices.Sort(open)
	slices.Sort(closed)
	p.near(fmt.Sprintf("P50 of an open loop at %d/s against the closed loop's, %d turns", rate, turns), bench.NearestRank(open, 0.5), bench.NearestRank(closed, 0.5), 0.02, units.Seconds)
	return nil
}
