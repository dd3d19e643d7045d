// Command bench times one forecast of plancast (probabilities, bands and dates)
// and one of each peer on the same histories, one after the other on one core,
// and prints the ratios; then a milestone of all histories together, and how
// the cost grows. Times are those of the processor, garbage collection
// included, so that a busy machine does not decide. run.sh installs the peers
// and starts it.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/plancast/plancast/forecast"
)

const (
	series     = 1000
	peerSeries = 20 // peers are slow; their time for one history is what counts
	iterations = 200
	steps      = 10
)

func main() {
	python := flag.String("python", "", "Python with the peers installed; without it only plancast is timed")
	peers := flag.String("peers", "forecast/bench/peers.py", "the peers' `script`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *python, *peers); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, w io.Writer, python, peers string) error {
	cores := runtime.GOMAXPROCS(1)
	all := histories(series, iterations)
	own, err := plancast(all)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%d histories of %d iterations, probabilities, bands and dates: %.3f s on one core, %.3f ms each\n",
		series, iterations, own.Seconds(), 1000*own.Seconds()/series)
	if python != "" {
		fmt.Fprintf(w, "%-10s %14s %10s\n", "method", "ms a history", "ratio")
		each := own.Seconds() / series
		fmt.Fprintf(w, "%-10s %14.3f %10.1f\n", "plancast", 1000*each, 1.0)
		for _, method := range []string{"autoets", "autoets-7", "prophet"} {
			s, err := peer(ctx, python, peers, method, all[:peerSeries])
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "%-10s %14.3f %10.1f\n", method, 1000*s, s/each)
		}
	}
	runtime.GOMAXPROCS(cores)
	used, wall, err := joint(all)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "a milestone of these %d series together: %.3f s of %d cores, %.3f s of processor time\n", series, wall.Seconds(), cores, used.Seconds())
	runtime.GOMAXPROCS(1)
	fmt.Fprintln(w, "microseconds a history (total, for each iteration) by its length, on one core:")
	for _, n := range []int{100, 200, 400, 800, 1600, 3200} {
		t, err := plancast(histories(100, n))
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%10d %10.1f %8.3f\n", n, t.Seconds()*1e6/100, t.Seconds()*1e6/100/float64(n))
	}
	fmt.Fprintln(w, "milliseconds a milestone (total, for each series) by its series, on one core:")
	for _, n := range []int{125, 250, 500, 1000, 2000} {
		t, _, err := joint(histories(n, iterations))
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%10d %10.1f %8.3f\n", n, t.Seconds()*1e3, t.Seconds()*1e3/float64(n))
	}
	return nil
}

// histories are exponential approaches in steps, with noise, one result a day.
func histories(series, iterations int) []forecast.Series {
	rng := rand.New(rand.NewPCG(1, 1))
	out := make([]forecast.Series, series)
	for i := range out {
		out[i].Model = fmt.Sprint(i)
		out[i].Criterion = forecast.Criterion{Metric: "p99", Comparison: forecast.Below, Target: 0.045}
		at, tau := 0.0, 10+90*rng.Float64()
		for k := range iterations {
			if rng.Float64() < 0.2 {
				at = float64(k)
			}
			v := 0.05 * (1 + math.Exp(-at/tau)) * math.Exp(0.02*rng.NormFloat64())
			out[i].Observations = append(out[i].Observations, forecast.Observation{Time: time.Unix(int64(1.7e9)+int64(k)*86400, 0), Value: v, Valid: true})
		}
	}
	return out
}

func plancast(all []forecast.Series) (time.Duration, error) {
	now, goal := question(all)
	used, _, err := median(func() error {
		for _, s := range all {
			if _, err := forecast.Single(s, goal, now, forecast.Options{}); err != nil {
				return err
			}
		}
		return nil
	})
	return used, err
}

func joint(all []forecast.Series) (used, wall time.Duration, err error) {
	now, goal := question(all)
	return median(func() error {
		_, err := forecast.Joint(forecast.JointGoal{Name: "all", Series: all, Share: 0.8, Goal: goal}, now, forecast.Options{})
		return err
	})
}

func question(all []forecast.Series) (now time.Time, g forecast.Goal) {
	o := all[0].Observations
	now = o[len(o)-1].Time
	return now, forecast.Goal{Iterations: steps, Deadline: now.AddDate(0, 1, 0)}
}

// median is the median processor time and the median time of a pass, after one
// that warms up, as the peers have one.
func median(pass func() error) (used, wall time.Duration, err error) {
	const passes = 9
	var cpu, clock [passes]time.Duration
	for i := -1; i < passes; i++ {
		start, was := time.Now(), processor()
		if err := pass(); err != nil {
			return 0, 0, err
		}
		if i >= 0 {
			cpu[i], clock[i] = processor()-was, time.Since(start)
		}
	}
	slices.Sort(cpu[:])
	slices.Sort(clock[:])
	return cpu[passes/2], clock[passes/2], nil
}

// processor is the time that this program has had of all cores.
func processor() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err) // no such system call
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func peer(ctx context.Context, python, script, method string, some []forecast.Series) (seconds float64, err error) {
	var in bytes.Buffer
	for _, s := range some {
		points := make([][2]float64, len(s.Observations))
		for i, o := range s.Observations {
			points[i] = [2]float64{float64(o.Time.Unix()), o.Value}
		}
		if err := json.NewEncoder(&in).Encode(points); err != nil {
			return 0, err
		}
	}
	cmd := exec.CommandContext(ctx, python, script, method, strconv.Itoa(steps))
	cmd.Env = append(os.Environ(), "OMP_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=1", "NUMBA_NUM_THREADS=1")
	cmd.Stdin = &in
	var diag bytes.Buffer
	cmd.Stderr = &diag
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("time %s: %w\n%s", method, err, diag.String())
	}
	seconds, err = strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	if err != nil {
		return 0, fmt.Errorf("time %s: %w", method, err)
	}
	return seconds, nil
}
