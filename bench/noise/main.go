// Command noise measures what plancast claims when nothing has changed, and what
// it finds when something has: on an idle machine, beside one and two busy
// neighbors, and beside bursts. It is the part "noise" of make bench.
//
//	go run ./bench/noise                       # all trials, about 40 minutes
//	go run ./bench/noise -trials idle,slower   # some
//
// Run it on an idle machine: the neighbors are its own. It prints a line for
// each trial with its target and exits with 1 when one is missed.
//
// Each candidate is measured as a worker does it, in turns with the candidate
// before: the same model under another name. -picture draws two windows, one
// alone and one beside a neighbor.
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
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/onnxruntime"
	"github.com/plancast/plancast/exporter/host"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
)

type options struct {
	candidates, slower int
	threads            int
	patience           time.Duration
	width              int
	verbose            bool
}

// trial is a run of candidates under one load.
type trial struct {
	name      string
	neighbors int
	busy      time.Duration // of each second
	slower    bool          // every second candidate is 10 % slower
}

var trials = []trial{
	{"idle", 0, 0, false},
	{"one", 1, time.Second, false},
	{"two", 2, time.Second, false},
	{"bursts", 1, 200 * time.Millisecond, false},
	{"slower", 0, 0, true},
	{"slower-one", 1, time.Second, true},
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "load" {
		os.Exit(load(os.Args[2:]))
	}
	var o options
	var names []string
	for _, t := range trials {
		names = append(names, t.name)
	}
	wanted := flag.String("trials", strings.Join(append(names, "patience", "cost"), ","), "which trials, by name")
	picture := flag.String("picture", "", "draw an SVG of a quiet and a disturbed window instead")
	flag.IntVar(&o.candidates, "candidates", 40, "identical candidates of a trial")
	flag.IntVar(&o.slower, "slower", 20, "slower candidates of a trial")
	flag.IntVar(&o.threads, "threads", 1, "intra-op threads")
	flag.IntVar(&o.width, "layers", 20, "layers of the model; the slower one has a tenth more")
	flag.DurationVar(&o.patience, "patience", 3*time.Second, "benchmark.patience of each candidate")
	flag.BoolVar(&o.verbose, "v", false, "a line for each candidate")
	flag.Parse()
	fmt.Printf("machine: %s, GOMAXPROCS as it is; %d threads, patience %v\n", machineText(), o.threads, o.patience)
	if *picture != "" {
		if err := draw(o, *picture); err != nil {
			fmt.Fprintln(os.Stderr, "noise:", err)
			os.Exit(2)
		}
		return
	}
	ok, err := all(context.Background(), o, strings.Split(*wanted, ","))
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "noise:", err)
		os.Exit(2)
	case !ok:
		os.Exit(1)
	}
}

// all runs the trials. The P99 of an idle machine is that of the trial "idle",
// which the others are held against when it has run.
func all(ctx context.Context, o options, wanted []string) (ok bool, err error) {
	ok = true
	idle := math.NaN()
	for _, name := range wanted {
		switch name {
		case "patience":
			err = patience(ctx, o, &ok)
		case "cost":
			err = cost(ctx, o, &ok)
		default:
			i := slices.IndexFunc(trials, func(t trial) bool { return t.name == name })
			if i < 0 {
				return false, fmt.Errorf("unknown trial %q", name)
			}
			err = trials[i].run(ctx, o, &idle, &ok)
		}
		if err != nil {
			return false, fmt.Errorf("trial %s: %w", name, err)
		}
	}
	return ok, nil
}

// model is a row of layers, each a product with 256 x 256 weights: 20 of them
// take some 100 µs. Its name makes each candidate's bytes its own.
func model(dir string, layers int, name string) (string, error) {
	const n = 256
	g := onnxtest.Graph{
		Inputs:  []onnxtest.Value{{Name: "x", Type: onnxtest.Float, Dims: []onnxtest.Dim{1, n}}},
		Outputs: []onnxtest.Value{{Name: fmt.Sprintf("r%d", layers-1), Type: onnxtest.Float, Dims: []onnxtest.Dim{1, n}}},
	}
	x := "x"
	for i := range layers {
		w, h, r := fmt.Sprintf("w%d", i), fmt.Sprintf("h%d", i), fmt.Sprintf("r%d", i)
		g.Initializers = append(g.Initializers, onnxtest.Tensor{Name: w, Type: onnxtest.Float, Dims: []int64{n, n}, Data: onnxtest.Noise(n*n, 0.06)})
		g.Nodes = append(g.Nodes,
			onnxtest.Node{Op: "MatMul", Name: name + h, Inputs: []string{x, w}, Outputs: []string{h}},
			onnxtest.Node{Op: "Relu", Name: name + r, Inputs: []string{h}, Outputs: []string{r}})
		x = r
	}
	path := filepath.Join(dir, "model.onnx")
	return path, os.WriteFile(path, onnxtest.Model{Graph: g}.Bytes(), 0o644)
}

// visit is one candidate measured in turns with the one before it.
type visit struct {
	m      bench.Measurement
	took   time.Duration
	layers int
}

// visits measures candidates with the given layers, one after the other.
func visits(ctx context.Context, o options, g bench.Guard, pair, watch bool, layers []int) (out []visit, err error) {
	root, err := os.MkdirTemp("", "noise-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(root)) }()
	backend := onnxruntime.New(onnxruntime.Options{})
	defer backend.Close()
	var before *bench.Partner
	for i, n := range layers {
		dir := filepath.Join(root, fmt.Sprint(i))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		path, err := model(dir, n, fmt.Sprintf("v%d.", i))
		if err != nil {
			return nil, err
		}
		job := bench.Job{
			Backend: onnxruntime.Name, Model: "net", Version: fmt.Sprint(i), Digest: fmt.Sprint("d", i), ModelPath: path, WorkDir: dir,
			Precision: engine.FP32, Settings: engine.Settings{Threads: o.threads}, Options: bench.DefaultOptions(), Guard: g,
		}
		if pair {
			job.Partner = before
		}
		var h bench.Host
		if watch {
			h = &host.Host{}
		}
		begun := time.Now()
		m, err := bench.Measure(ctx, backend, job, nil, bench.On(h))
		if err != nil {
			return nil, err
		}
		out = append(out, visit{m, time.Since(begun), n})
		if o.verbose {
			out[len(out)-1].print()
		}
		before = &bench.Partner{Version: job.Version, Digest: job.Digest, ModelPath: path}
	}
	return out, nil
}

// print says what was measured of one candidate.
func (v visit) print() {
	m := v.m
	fmt.Printf("    %.1f s, %d windows, stable %t", v.took.Seconds(), m.Windows, m.Stable)
	for _, q := range m.Latency.Quantiles {
		if q.Q == 0.5 || q.Q == 0.99 {
			high := math.Inf(1)
			if q.High != nil {
				high = *q.High
			}
			fmt.Printf("; P%v %s (%.4g-%.4g)", 100*q.Q, us(q.Value), 1e6**q.Low, 1e6*high)
		}
	}
	for _, q := range []string{"p50", "p99"} {
		if c, ok := m.Comparison.Of(q); ok {
			fmt.Printf("; %s ratio %.4f (%.4f-%.4f) %s", q, c.Ratio, c.Low, c.High, c.Verdict)
		}
	}
	if d := m.Disturbance; d != nil {
		fmt.Printf("; others %.2f %%, waited %.3f %%, stolen %.3f %%, %d switches", 100*d.Others, 100*d.Waited, 100*d.Stolen, d.Switches)
	}
	fmt.Println()
	for _, w := range m.Warnings {
		fmt.Println("      ", w)
	}
}

func (o options) guard() bench.Guard {
	g := bench.DefaultGuard()
	g.Patience = o.patience
	return g
}

// run measures the candidates of a trial beside its neighbors, and says what
// was claimed of them.
func (t trial) run(ctx context.Context, o options, idle *float64, ok *bool) error {
	n := o.candidates + 1
	if t.slower {
		n = o.slower*2 + 1
	}
	layers := slices.Repeat([]int{o.width}, n)
	for i := range layers {
		if t.slower && i%2 == 1 {
			layers[i] += (o.width + 9) / 10
		}
	}
	end, err := neighbors(t.neighbors, t.busy, time.Second)
	if err != nil {
		return err
	}
	defer end()
	all, err := visits(ctx, o, o.guard(), true, true, layers)
	if err != nil {
		return err
	}
	r := count(all)
	if t.name == "idle" {
		*idle = r.p99
	}
	wrong := 0 // stable, and far from the idle machine's
	for _, v := range all {
		q, has := v.m.Latency.At(0.99)
		if v.m.Stable && has && v.layers == o.width && math.Abs(q.Value/(*idle)-1) > 0.2 {
			wrong++
		}
	}
	fmt.Printf("%s: %d neighbors, busy %v of each second, %d candidates\n", t.name, t.neighbors, t.busy, len(all))
	fmt.Printf("  P50 median %s, P99 median %s (from %s to %s); stable %d, disturbed %d; %d windows discarded; %.1f s a candidate, %.1f s at most\n",
		us(r.p50), us(r.p99), us(r.p99min), us(r.p99max), r.stable, r.disturbed, r.discarded, r.seconds, r.most)
	if !t.slower {
		say(ok, r.claims*20 <= r.pairs, "false claims of a change: %d of %d at P99, %d at P50 (aim: at most 5 %%)", r.claims, r.pairs, r.claims50)
		if t.name == "idle" {
			say(ok, r.off50 <= 0.01, "median of abs(ratio - 1) at P50: %.2f %% (aim: at most 1 %%); at P99: %.2f %%", 100*r.off50, 100*r.off99)
		}
	} else {
		aim := 0.0
		if t.neighbors == 0 {
			aim = 0.9
		}
		say(ok, float64(r.found) >= aim*float64(r.pairs), "a difference of 10 %% found: %d of %d at P99, %d at P50 (aim: %.0f %%)", r.found, r.pairs, r.found50, 100*aim)
		say(ok, r.inverted == 0, "called the other way round: %d (aim: never)", r.inverted)
	}
	if !math.IsNaN(*idle) {
		say(ok, wrong == 0, "stable with a P99 more than 20 %% from the idle one: %d (aim: none)", wrong)
	}
	return nil
}

// tally is what a trial came to.
type tally struct {
	pairs, claims, claims50, found, found50, inverted int
	stable, disturbed, discarded                      int
	p50, p99, p99min, p99max, off50, off99            float64
	seconds, most                                     float64
}

func count(all []visit) (t tally) {
	var p50, p99, off50, off99, took []float64
	for i, v := range all {
		a, _ := v.m.Latency.At(0.5)
		b, _ := v.m.Latency.At(0.99)
		p50, p99, took = append(p50, a.Value), append(p99, b.Value), append(took, v.took.Seconds())
		if v.m.Stable {
			t.stable++
		}
		if v.m.Disturbed() {
			t.disturbed++
		}
		if d := v.m.Disturbance; d != nil {
			t.discarded += d.Discarded
		}
		if i == 0 {
			continue // which has no partner
		}
		t.pairs++
		slower := v.layers > all[i-1].layers
		faster := v.layers < all[i-1].layers
		judge := func(quantity string, claims, found *int, off *[]float64) {
			c, ok := v.m.Comparison.Of(quantity)
			if !ok {
				return
			}
			*off = append(*off, math.Abs(c.Ratio-1))
			switch changed := c.Verdict == bench.Changed; {
			case changed && (slower && c.Ratio > 1 || faster && c.Ratio < 1):
				*found++
			case changed && (slower || faster):
				t.inverted++
			case changed:
				*claims++
			}
		}
		judge("p50", &t.claims50, &t.found50, &off50)
		judge("p99", &t.claims, &t.found, &off99)
	}
	t.p50, t.p99, t.p99min, t.p99max = median(p50), median(p99), slices.Min(p99), slices.Max(p99)
	t.off50, t.off99, t.seconds, t.most = median(off50), median(off99), median(took), slices.Max(took)
	return t
}

// patience shows that a job ends in time on a machine that never comes to rest.
func patience(ctx context.Context, o options, ok *bool) error {
	end, err := neighbors(2, time.Second, time.Second)
	if err != nil {
		return err
	}
	defer end()
	for _, p := range []time.Duration{0, 2 * time.Second, 10 * time.Second} {
		g := o.guard()
		g.Patience = p
		all, err := visits(ctx, o, g, false, true, []int{o.width})
		if err != nil {
			return err
		}
		d := all[0].m.Disturbance
		// The last window may begin just before patience ends.
		bound := p.Seconds() + 3*bench.DefaultOptions().MinWindow.Seconds()
		say(ok, d.Spent <= bound, "patience %v beside two neighbors: %.1f s were spent on %d discarded windows and waiting (aim: at most %.0f s), %.1f s in all, disturbed %t",
			p, d.Spent, d.Discarded, bound, all[0].took.Seconds(), all[0].m.Disturbed())
	}
	return nil
}

// cost compares the time that a candidate takes with that of one that is neither
// watched nor compared.
func cost(ctx context.Context, o options, ok *bool) error {
	const quiet = 5.0 // repository.quiet: what a candidate waits before it is read
	layers := slices.Repeat([]int{o.width}, 5)
	plain, err := visits(ctx, o, o.guard(), false, false, layers)
	if err != nil {
		return err
	}
	full, err := visits(ctx, o, o.guard(), true, true, layers)
	if err != nil {
		return err
	}
	a, b := count(plain[1:]), count(full[1:])
	ratio := (quiet + b.seconds) / (quiet + a.seconds)
	say(ok, ratio <= 1.5, "from arrival to row: %.1f s, and %.1f s without watch and pair: %.2f times (aim: at most 1.5); the job alone %.1f and %.1f s",
		quiet+b.seconds, quiet+a.seconds, ratio, b.seconds, a.seconds)
	return nil
}

func say(ok *bool, met bool, format string, args ...any) {
	mark := "met   "
	if !met {
		mark, *ok = "MISSED", false
	}
	fmt.Printf("  %s  %s\n", mark, fmt.Sprintf(format, args...))
}

func us(seconds float64) string { return fmt.Sprintf("%.4g µs", 1e6*seconds) }

func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	return bench.NearestRank(slices.Sorted(slices.Values(v)), 0.5)
}
