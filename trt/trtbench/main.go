//go:build tensorrt && cgo

// Trtbench compares the trt package with trtexec on one GPU: the same plan, the
// same settings, one after the other in turns, and the rebuild with a warm timing
// cache. It prints Markdown tables.
//
//	trtbench -model resnet50.onnx -trtexec /path/to/trtexec -precision fp16
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
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
}

func run() error {
	var b bench
	flag.StringVar(&b.model, "model", "", "ONNX model, one input with an open batch")
	flag.StringVar(&b.trtexec, "trtexec", "", "path of trtexec")
	flag.StringVar(&b.precision, "precision", "fp16", "fp32 (with TF32, as trtexec) or fp16")
	flag.StringVar(&b.dir, "dir", "", "folder for the plan and the caches; a plan there is used again")
	flag.Int64Var(&b.batch, "batch", 8, "batch size")
	flag.IntVar(&b.level, "level", 3, "builder optimization level")
	flag.IntVar(&b.rounds, "rounds", 3, "turns of each program")
	flag.IntVar(&b.seconds, "seconds", 3, "length of a window")
	rebuilds := flag.Int("rebuilds", 3, "rebuilds with a warm cache")
	flag.Parse()
	if _, ok := precisions[b.precision]; !ok || b.model == "" || b.trtexec == "" || b.dir == "" {
		return errors.New("-model, -trtexec and -dir are needed, -precision is fp32 or fp16")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	lib, err := trt.Open(trt.Options{})
	if err != nil {
		return err
	}
	b.lib = lib
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
	net, err := b.shape()
	if err != nil {
		return err
	}
	var ours, whole, theirs []float64
	for range rebuilds {
		r, took, err := b.once(ctx, cold.TimingCache)
		if err != nil {
			return err
		}
		if !r.CacheUse.Hit() {
			fmt.Printf("not a full hit: %+v\n", r.CacheUse)
		}
		ours, whole = append(ours, r.Duration.Seconds()), append(whole, took.Seconds())
		if err := os.WriteFile(b.file(".cache"), cold.TimingCache, 0o644); err != nil {
			return err
		}
		args := []string{
			"--onnx=" + b.model, "--saveEngine=" + b.file(".trtexec.plan"), "--timingCacheFile=" + b.file(".cache"), "--skipInference",
			"--builderOptimizationLevel=" + strconv.Itoa(b.level), "--memPoolSize=workspace:1024", "--profilingVerbosity=detailed",
			"--minShapes=" + net(1), "--optShapes=" + net(8), "--maxShapes=" + net(8),
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

// shape writes the input's shape for a batch the way trtexec reads it.
func (b *bench) shape() (func(int64) string, error) {
	plan, err := os.ReadFile(b.file(".plan"))
	if err != nil {
		return nil, err
	}
	r, err := b.lib.NewRuntime(0)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	e, err := r.Load(plan)
	if err != nil {
		return nil, err
	}
	defer e.Close()
	for _, t := range e.Info().Tensors {
		if t.Input {
			return func(n int64) string {
				s := slices.Clone(t.Shape)
				s[0] = n
				return t.Name + ":" + s.String()
			}, nil
		}
	}
	return nil, errors.New("the model has no input")
}

type result struct{ p50, p99, throughput float64 } // ms, ms, batches/s

func (b *bench) measure(ctx context.Context) error {
	shape, err := b.shape()
	if err != nil {
		return err
	}
	plan, err := os.ReadFile(b.file(".plan"))
	if err != nil {
		return err
	}
	r, err := b.lib.NewRuntime(0)
	if err != nil {
		return err
	}
	defer r.Close()
	e, err := r.Load(plan)
	if err != nil {
		return err
	}
	defer e.Close()
	input := ""
	var in trt.Shape
	for _, t := range e.Info().Tensors {
		if t.Input {
			input, in = t.Name, slices.Clone(t.Shape)
		}
	}
	in[0] = b.batch
	fmt.Printf("engine: %+v\n\n", memory(e.Info()))
	fmt.Println("| streams | CUDA graph | program | P50 ms | P99 ms | batches/s | trt/trtexec of medians: P50, P99, throughput |\n| --- | --- | --- | --- | --- | --- | --- |")
	outside, queries := 0.0, 0.0
	for _, c := range []struct {
		streams int
		graph   bool
	}{{1, true}, {2, true}, {4, true}, {1, false}} {
		var ours, theirs []result
		us := func() (result, error) {
			bench, err := e.NewBencher(trt.BenchOptions{Shapes: map[string]trt.Shape{input: in}, Streams: c.streams, CUDAGraph: c.graph})
			if err != nil {
				return result{}, err
			}
			begun := time.Now()
			s, err := bench.Run(ctx, trt.Window{Warmup: 500 * time.Millisecond, MinDuration: time.Duration(b.seconds) * time.Second})
			outside += time.Since(begun).Seconds()
			bench.Close()
			if err != nil {
				return result{}, err
			}
			outside -= s.HostWall.Seconds()
			queries += float64(s.Queries() + s.Warmup)
			return result{percentile(s.Compute, 50) * 1e3, percentile(s.Compute, 99) * 1e3, s.Throughput()}, nil
		}
		them := func() (result, error) {
			args := []string{
				"--loadEngine=" + b.file(".plan"), "--shapes=" + shape(b.batch), "--noDataTransfers", "--infStreams=" + strconv.Itoa(c.streams),
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
				{&t.p50, `GPU Compute Time:.*median = ([\d.]+) ms`},
				{&t.p99, `GPU Compute Time:.*percentile\(99%\) = ([\d.]+) ms`},
				{&t.throughput, `Throughput: ([\d.]+) qps`},
			} {
				if *f.to, err = number(out, f.re); err != nil {
					return result{}, err
				}
			}
			return t, nil
		}
		// The one to begin alternates, so that a GPU that warms up favours neither.
		for round := range b.rounds {
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
		p50 := func(r result) float64 { return r.p50 }
		p99 := func(r result) float64 { return r.p99 }
		qps := func(r result) float64 { return r.throughput }
		ratio := func(f func(result) float64) float64 { return median(col(ours, f)) / median(col(theirs, f)) }
		fmt.Printf("| %d | %v | trt | %s | %s | %s | %.4f, %.4f, %.4f |\n", c.streams, c.graph, list(col(ours, p50)), list(col(ours, p99)), list(col(ours, qps)), ratio(p50), ratio(p99), ratio(qps))
		fmt.Printf("| %d | %v | trtexec | %s | %s | %s | |\n", c.streams, c.graph, list(col(theirs, p50)), list(col(theirs, p99)), list(col(theirs, qps)))
	}
	fmt.Printf("\nGo around the native loop: %.1f ns per query\n", outside/queries*1e9)
	return nil
}

func memory(i trt.EngineInfo) string {
	return fmt.Sprintf("plan %.1f MiB, device %.1f MiB, context %.1f MiB, %d layers", float64(i.PlanBytes)/(1<<20), float64(i.DeviceBytes)/(1<<20), float64(i.ContextBytes)/(1<<20), i.Layers)
}

func number(out []byte, re string) (float64, error) {
	m := regexp.MustCompile(re).FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("trtexec printed no %q:\n%s", re, out)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

// percentile is trtexec's: the largest value with at most (100-p) % above it.
func percentile(v []float64, p float64) float64 {
	s := slices.Sorted(slices.Values(v))
	exclude := int((1 - p/100) * float64(len(s)))
	return s[max(len(s)-1-exclude, 0)]
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func list(v []float64) string {
	parts := make([]string, len(v))
	for i, x := range v {
		digits := max(0, 3-int(math.Floor(math.Log10(max(x, 1e-9)))))
		parts[i] = strconv.FormatFloat(x, 'f', digits, 64)
	}
	return strings.Join(parts, " ")
}
