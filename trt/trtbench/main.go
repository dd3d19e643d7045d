//go:build tensorrt && cgo

// Trtbench compares the trt package with trtexec on one GPU: the same plan, the
// same settings, one after the other in turns, and the rebuild with a warm timing
// cache. It prints Markdown tables. Each turn of either program is a process of its
// own: what a process did before must not count for one of them alone.
//
//	trtbench -model resnet50.onnx -trtexec /path/to/trtexec -dir /tmp/trtbench -precision fp16
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plancast/plancast/trt"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "trtbench:", err)
		os.Exit(1)
	}
}

var precisions = map[string]trt.Precision{"fp32": trt.FP32, "fp16": trt.FP16}

type bench struct {
	lib                    *trt.Library
	trtexec, model, dir    string
	precision              string
	level, rounds, seconds int
	batch                  int64
	streams                int
	graph                  bool
}

func run() error {
	var b bench
	flag.StringVar(&b.model, "model", "", "ONNX model, one input with an open batch")
	flag.StringVar(&b.trtexec, "trtexec", "", "path of trtexec")
	flag.StringVar(&b.precision, "precision", "fp16", "fp32 (with TF32, as trtexec) or fp16")
	flag.StringVar(&b.dir, "dir", "", "folder for the plan, the timing cache and what the inspector says")
	flag.Int64Var(&b.batch, "batch", 8, "batch size")
	flag.IntVar(&b.level, "level", 3, "builder optimization level")
	flag.IntVar(&b.rounds, "rounds", 3, "turns of each program, twice as many with 2 streams and without a CUDA graph")
	flag.IntVar(&b.seconds, "seconds", 3, "length of a window")
	rebuilds := flag.Int("rebuilds", 3, "rebuilds with a warm cache")
	turn := flag.String("turn", "", "one turn, in JSON, with the plan and cache in -dir: rebuild or measure")
	flag.IntVar(&b.streams, "streams", 1, "streams of -turn measure")
	flag.BoolVar(&b.graph, "graph", true, "CUDA graph in -turn measure")
	flag.Parse()
	if _, ok := precisions[b.precision]; !ok || b.model == "" || b.trtexec == "" && *turn == "" || b.dir == "" {
		return errors.New("-model, -trtexec and -dir are needed, -precision is fp32 or fp16")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	lib, err := trt.Open(trt.Options{})
	if err != nil {
		return err
	}
	b.lib = lib
	switch *turn {
	case "":
	case "rebuild":
		return print(b.rebuild(ctx))
	case "measure":
		return print(b.window(ctx))
	default:
		return fmt.Errorf("-turn %q is neither rebuild nor measure", *turn)
	}
	v := lib.Versions()
	devices, err := lib.Devices()
	if err != nil {
		return err
	}
	d := devices[0]
	fmt.Printf("%s, TensorRT %s, CUDA %s, driver %s; %s, %s, batch %d, level %d\n\n", d.Name, v.TensorRT, v.CUDA, v.Driver,
		filepath.Base(b.model), b.precision, b.batch, b.level)
	if err := b.build(ctx, *rebuilds); err != nil {
		return err
	}
	return b.measure(ctx)
}

func print(v any, err error) error {
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(v)
}

// alone runs one turn of this program in a process of its own.
func (b *bench) alone(ctx context.Context, result any, turn string, args ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{
		"-turn=" + turn, "-model=" + b.model, "-dir=" + b.dir, "-precision=" + b.precision, "-level=" + strconv.Itoa(b.level),
		"-batch=" + strconv.FormatInt(b.batch, 10), "-seconds=" + strconv.Itoa(b.seconds),
	}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("turn %s %s: %w", turn, strings.Join(args, " "), err)
	}
	return json.Unmarshal(out, result)
}

func (b *bench) file(suffix string) string { return filepath.Join(b.dir, b.precision+suffix) }

// once parses and builds. The time covers all of it; trtexec's covers what
// BuildResult.Duration does.
func (b *bench) once(ctx context.Context, cache []byte) (*trt.BuildResult, time.Duration, error) {
	begun := time.Now()
	builder, err := b.lib.NewBuilder(0)
	if err != nil {
		return nil, 0, err
	}
	defer builder.Close()
	net, err := builder.ParseFile(b.model)
	if err != nil {
		return nil, 0, err
	}
	defer net.Close()
	r, err := net.Build(ctx, trt.BuildOptions{
		Precision: precisions[b.precision], TF32: true, OptimizationLevel: b.level, TimingCache: cache,
	})
	return r, time.Since(begun), err
}

func (b *bench) build(ctx context.Context, rebuilds int) error {
	cold, took, err := b.once(ctx, nil)
	if err != nil {
		return err
	}
	if err := os.WriteFile(b.file(".plan"), cold.Plan, 0o644); err != nil {
		return err
	}
	fmt.Printf("cold build %.2f s (%.2f s with making the builder and parsing), plan %d bytes, timing cache %+v\n\n",
		cold.Duration.Seconds(), took.Seconds(), len(cold.Plan), cold.CacheUse)
	if rebuilds == 0 {
		return nil
	}
	in, err := b.input()
	if err != nil {
		return err
	}
	var ours, whole, theirs []float64
	for range rebuilds {
		// Written again, as trtexec writes it back.
		if err := os.WriteFile(b.file(".cache"), cold.TimingCache, 0o644); err != nil {
			return err
		}
		var r rebuilt
		if err := b.alone(ctx, &r, "rebuild"); err != nil {
			return err
		}
		if !r.Cache.Hit() {
			fmt.Printf("not a full hit: %+v\n", r.Cache)
		}
		ours, whole = append(ours, r.Build), append(whole, r.Whole)
		args := []string{
			"--onnx=" + b.model, "--saveEngine=" + b.file(".trtexec.plan"), "--timingCacheFile=" + b.file(".cache"), "--skipInference",
			"--builderOptimizationLevel=" + strconv.Itoa(b.level), "--memPoolSize=workspace:1024", "--profilingVerbosity=detailed",
			"--minShapes=" + in.shape(1), "--optShapes=" + in.shape(8), "--maxShapes=" + in.shape(8),
		}
		if b.precision == "fp16" {
			args = append(args, "--fp16")
		}
		out, err := exec.CommandContext(ctx, b.trtexec, args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("trtexec: %w\n%s", err, out)
		}
		took2, err := number(out, `Engine built in ([\d.]+) sec`)
		if err != nil {
			return err
		}
		theirs = append(theirs, took2)
	}
	fmt.Printf("| rebuild with warm timing cache, s | trt | trtexec | ratio of medians | trt with making the builder and parsing |\n| --- | --- | --- | --- | --- |\n| %d turns | %s | %s | %.3f | %s |\n\n",
		rebuilds, list(ours), list(theirs), median(ours)/median(theirs), list(whole))
	return nil
}

type rebuilt struct {
	Build, Whole float64 // seconds: what trtexec's time covers, and with making the builder and parsing
	Cache        trt.TimingCacheUse
}

func (b *bench) rebuild(ctx context.Context) (rebuilt, error) {
	cache, err := os.ReadFile(b.file(".cache"))
	if err != nil {
		return rebuilt{}, err
	}
	r, took, err := b.once(ctx, cache)
	if err != nil {
		return rebuilt{}, err
	}
	return rebuilt{r.Duration.Seconds(), took.Seconds(), r.CacheUse}, nil
}

func (b *bench) load() (*trt.Engine, error) {
	plan, err := os.ReadFile(b.file(".plan"))
	if err != nil {
		return nil, err
	}
	r, err := b.lib.NewRuntime(0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return r.Load(plan)
}

// input is the model's input.
type input trt.TensorInfo

func inputOf(e *trt.Engine) (input, error) {
	for _, t := range e.Info().Tensors {
		if t.Input {
			return input(t), nil
		}
	}
	return input{}, errors.New("the model has no input")
}

func (i input) batch(n int64) trt.Shape {
	s := slices.Clone(i.Shape)
	s[0] = n
	return s
}

// shape is written the way trtexec reads it.
func (i input) shape(n int64) string { return i.Name + ":" + i.batch(n).String() }

func (b *bench) input() (input, error) {
	e, err := b.load()
	if err != nil {
		return input{}, err
	}
	defer e.Close()
	return inputOf(e)
}

type result struct {
	P50, P99, Throughput float64 // ms, ms, batches/s
	Outside              float64 // seconds in Run that were not in the native loop
	Queries              int     // warm-up included
}

// window measures one window of the plan.
func (b *bench) window(ctx context.Context) (result, error) {
	e, err := b.load()
	if err != nil {
		return result{}, err
	}
	defer e.Close()
	in, err := inputOf(e)
	if err != nil {
		return result{}, err
	}
	bench, err := e.NewBencher(trt.BenchOptions{
		Shapes: map[string]trt.Shape{in.Name: in.batch(b.batch)}, Streams: b.streams, CUDAGraph: b.graph,
	})
	if err != nil {
		return result{}, err
	}
	defer bench.Close()
	begun := time.Now()
	s, err := bench.Run(ctx, trt.Window{Warmup: 500 * time.Millisecond, MinDuration: time.Duration(b.seconds) * time.Second})
	if err != nil {
		return result{}, err
	}
	return result{
		P50: percentile(s.Compute, 50) * 1e3, P99: percentile(s.Compute, 99) * 1e3, Throughput: s.Throughput(),
		Outside: (time.Since(begun) - s.HostWall).Seconds(), Queries: s.Queries() + s.Warmup,
	}, nil
}

func (b *bench) measure(ctx context.Context) error {
	e, err := b.load()
	if err != nil {
		return err
	}
	defer e.Close()
	in, err := inputOf(e)
	if err != nil {
		return err
	}
	fmt.Printf("engine: %+v\n\n", memory(e.Info()))
	if err := b.keepLayers(e); err != nil {
		return err
	}
	e.Close()
	fmt.Println("| streams | CUDA graph | program | P50 ms | P99 ms | batches/s | trt/trtexec of medians: P50, P99, throughput |\n| --- | --- | --- | --- | --- | --- | --- |")
	outside, queries := 0.0, 0
	for _, c := range []struct {
		streams int
		graph   bool
		times   int // the rounds: more where turns differ
	}{{1, true, 1}, {2, true, 2}, {4, true, 1}, {1, false, 2}} {
		var ours, theirs []result
		us := func() (r result, err error) {
			err = b.alone(ctx, &r, "measure", "-streams="+strconv.Itoa(c.streams), "-graph="+strconv.FormatBool(c.graph))
			outside += r.Outside
			queries += r.Queries
			return r, err
		}
		them := func() (result, error) {
			args := []string{
				"--loadEngine=" + b.file(".plan"), "--shapes=" + in.shape(b.batch), "--noDataTransfers", "--infStreams=" + strconv.Itoa(c.streams),
				"--warmUp=500", "--duration=" + strconv.Itoa(b.seconds), "--percentile=50,99",
			}
			if c.graph {
				args = append(args, "--useCudaGraph")
			}
			out, err := exec.CommandContext(ctx, b.trtexec, args...).CombinedOutput()
			if err != nil {
				return result{}, fmt.Errorf("trtexec: %w\n%s", err, out)
			}
			var t result
			for _, f := range []struct {
				to *float64
				re string
			}{
				{&t.P50, `GPU Compute Time:.*median = ([\d.]+) ms`},
				{&t.P99, `GPU Compute Time:.*percentile\(99%\) = ([\d.]+) ms`},
				{&t.Throughput, `Throughput: ([\d.]+) qps`},
			} {
				if *f.to, err = number(out, f.re); err != nil {
					return result{}, err
				}
			}
			return t, nil
		}
		// The one to begin alternates, so that a GPU that warms up favours neither.
		for round := range b.rounds * c.times {
			turns := []struct {
				run func() (result, error)
				to  *[]result
			}{{us, &ours}, {them, &theirs}}
			if round%2 == 1 {
				slices.Reverse(turns)
			}
			for _, t := range turns {
				r, err := t.run()
				if err != nil {
					return err
				}
				*t.to = append(*t.to, r)
			}
		}
		col := func(rs []result, f func(result) float64) (out []float64) {
			for _, r := range rs {
				out = append(out, f(r))
			}
			return out
		}
		p50 := func(r result) float64 { return r.P50 }
		p99 := func(r result) float64 { return r.P99 }
		qps := func(r result) float64 { return r.Throughput }
		ratio := func(f func(result) float64) float64 { return median(col(ours, f)) / median(col(theirs, f)) }
		fmt.Printf("| %d | %v | trt | %s | %s | %s | %.4f, %.4f, %.4f |\n", c.streams, c.graph, list(col(ours, p50)), list(col(ours, p99)), list(col(ours, qps)), ratio(p50), ratio(p99), ratio(qps))
		fmt.Printf("| %d | %v | trtexec | %s | %s | %s | |\n", c.streams, c.graph, list(col(theirs, p50)), list(col(theirs, p99)), list(col(theirs, qps)))
	}
	fmt.Printf("\nGo around the native loop: %.1f ns per query\n", outside/float64(queries)*1e9)
	return nil
}

// keepLayers leaves what the inspector says of the engine beside the plan.
func (b *bench) keepLayers(e *trt.Engine) error {
	raw, err := e.InspectJSON()
	if err != nil {
		return err
	}
	return os.WriteFile(b.file(".layers.json"), raw, 0o644)
}
