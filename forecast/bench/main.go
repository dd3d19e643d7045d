// Command bench times one forecast of plancast (probabilities, bands and dates)
// and one of each peer on the same histories, one after the other on one core,
// and prints the ratios. run.sh installs the peers and starts it.
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
	runtime.GOMAXPROCS(1)
	all := histories()
	own, err := plancast(all)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%d histories of %d iterations, probabilities, bands and dates: %.3f s on one core, %.3f ms each\n",
		series, iterations, own.Seconds(), 1000*own.Seconds()/series)
	if python == "" {
		return nil
	}
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
	return nil
}

// histories are exponential approaches in steps, with noise, one result a day.
func histories() []forecast.Series {
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
	now := all[0].Observations[iterations-1].Time
	goal := forecast.Goal{Iterations: steps, Deadline: now.AddDate(0, 1, 0)}
	pass := func() error {
		for _, s := range all {
			if _, err := forecast.Single(s, goal, now, forecast.Options{}); err != nil {
				return err
			}
		}
		return nil
	}
	if err := pass(); err != nil { // warm, as the peers are
		return 0, err
	}
	const passes = 5
	var times [passes]time.Duration
	for i := range times {
		start := time.Now()
		if err := pass(); err != nil {
			return 0, err
		}
		times[i] = time.Since(start)
	}
	slices.Sort(times[:])
	return times[passes/2], nil
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
