// Command peer compares the latency that plancast reports with that of ONNX
// Runtime's own Python API: the same model, inputs, threads and machine, in
// one run, and inputs and outputs bound once by both. The two take turns, window by window and with the order swapped
// every round, so that a passing disturbance or a change of clock meets both.
//
//	go run ./bench/peer -python .venv/bin/python MODEL...
//
// It prints, for each model, the median over the rounds of plancast's P50
// divided by the peer's, and exits with 1 when one is further from 1 than
// -tolerance. On a machine that does other work the medians mean little: a
// wide range of ratios shows it, and the quietest windows are printed as well.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/plancast/plancast/bench/loaded"
	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/onnx"
	"github.com/plancast/plancast/exporter/tensorio"
)

type options struct {
	python, script  string
	threads         int
	queries, rounds int
	tolerance       float64
}

func main() {
	var o options
	flag.StringVar(&o.python, "python", "python3", "Python interpreter with the onnxruntime package")
	flag.StringVar(&o.script, "script", "scripts/peer_latency.py", "the peer's program")
	flag.IntVar(&o.threads, "threads", 2, "intra-op threads of both")
	flag.IntVar(&o.queries, "queries", 100, "queries a window")
	flag.IntVar(&o.rounds, "rounds", 10, "windows of each")
	flag.Float64Var(&o.tolerance, "tolerance", 0.02, "largest allowed distance of the ratio from 1")
	flag.Parse()
	ok := true
	for _, model := range flag.Args() {
		ratio, err := compare(context.Background(), o, model)
		if err != nil {
			fmt.Fprintf(os.Stderr, "peer: %s: %v\n", model, err)
			os.Exit(2)
		}
		ok = ok && math.Abs(ratio-1) <= o.tolerance
	}
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "peer: name at least one model")
		os.Exit(2)
	}
	if !ok {
		fmt.Printf("a ratio is further from 1 than %.0f %%\n", 100*o.tolerance)
		os.Exit(1)
	}
}

func compare(ctx context.Context, o options, path string) (ratio float64, err error) {
	dir, err := os.MkdirTemp("", "peer")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	model, err := onnx.ReadFile(path)
	if err != nil {
		return 0, err
	}
	shapes, err := tensorio.Shapes{Batch: 1}.Resolve(model.Inputs)
	if err != nil {
		return 0, err
	}
	inputs, err := tensorio.Generate(model.Inputs, shapes, 1)
	if err != nil {
		return 0, err
	}
	npz := filepath.Join(dir, "inputs.npz")
	samples := slices.Clone(inputs)
	for i, t := range samples {
		samples[i].Shape = append([]int64{1}, t.Shape...)
	}
	if err := tensorio.WriteNPZ(npz, samples); err != nil {
		return 0, err
	}

	ours, release, err := loaded.Engine(ctx, path, o.threads)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, release()) }()
	theirs, err := startPeer(o, path, npz)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, theirs.stop()) }()

	var a, b, ratios []float64
	var overhead float64
	warmUp := time.Second
	for round := range o.rounds {
		var x, y float64
		steps := []func() error{
			func() error {
				w, err := ours.Time(ctx, inputs, engine.TimeOptions{Concurrency: 1, Queries: o.queries, WarmUp: warmUp})
				if err == nil {
					warmUp = 0 // the peer has none either
					overhead = w.Overhead
					x = bench.NearestRank(slices.Sorted(slices.Values(w.Latencies)), 0.5)
				}
				return err
			},
			func() (err error) { y, err = theirs.window(); return err },
		}
		if round%2 == 1 {
			slices.Reverse(steps)
		}
		for _, step := range steps {
			if err := step(); err != nil {
				return 0, err
			}
		}
		a, b, ratios = append(a, x), append(b, y), append(ratios, x/y)
	}
	slices.Sort(ratios)
	ratio = bench.NearestRank(ratios, 0.5)
	fmt.Printf("%s: plancast / ONNX Runtime Python API: %.3f (median P50 %.4g ms / %.4g ms; quietest window %.4g ms / %.4g ms = %.3f; %d rounds of %d queries, %d threads, ratios %.3f to %.3f; the loop adds %.0f ns)\n",
		filepath.Base(path), ratio, 1e3*median(a), 1e3*median(b), 1e3*slices.Min(a), 1e3*slices.Min(b), slices.Min(a)/slices.Min(b),
		o.rounds, o.queries, o.threads, ratios[0], ratios[len(ratios)-1], 1e9*overhead)
	return ratio, nil
}

func median(values []float64) float64 {
	return bench.NearestRank(slices.Sorted(slices.Values(values)), 0.5)
}

// peer is the Python program, waiting for its turn.
type peer struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func startPeer(o options, model, inputs string) (*peer, error) {
	cmd := exec.Command(o.python, o.script, "--interactive", "--inputs", inputs,
		"--threads", strconv.Itoa(o.threads), "--queries", strconv.Itoa(o.queries), model)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &peer{cmd: cmd, in: in, out: bufio.NewScanner(out)}
	var ready struct{ Ready bool }
	if err := p.line(&ready); err != nil || !ready.Ready {
		return nil, errors.Join(fmt.Errorf("%s did not become ready", o.script), err, p.stop())
	}
	return p, nil
}

func (p *peer) line(to any) error {
	if !p.out.Scan() {
		return errors.Join(errors.New("the peer's output ended"), p.out.Err())
	}
	return json.Unmarshal(p.out.Bytes(), to)
}

// window asks for one window and returns its P50 in seconds.
func (p *peer) window() (float64, error) {
	if _, err := io.WriteString(p.in, "go\n"); err != nil {
		return 0, err
	}
	var w struct {
		P50 float64 `json:"p50_seconds"`
	}
	if err := p.line(&w); err != nil {
		return 0, err
	}
	return w.P50, nil
}

func (p *peer) stop() error {
	return errors.Join(p.in.Close(), p.cmd.Wait())
}
