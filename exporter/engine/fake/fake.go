// Package fake is a scripted engine backend, for faults that a real runtime
// cannot be made to show: hangs, crashes, exhausted memory, garbage, unstable
// latency. It is for tests; no configuration selects it by itself.
//
// A script is the model file: JSON as in Script. So a worker process needs
// nothing but a path to learn what to do. Everything is deterministic:
// latencies come from the script and a seed, and time in a window is counted,
// not spent, unless the script says so.
package fake

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/pause"
	"github.com/plancast/plancast/exporter/workload"
)

// Name is the backend's name.
const Name = "fake"

// Backend implements engine.Backend.
type Backend struct {
	// Env is what Environment reports.
	Env engine.Environment
}

var _ engine.Backend = (*Backend)(nil)

// New makes a backend.
func New() *Backend {
	return &Backend{Env: engine.Environment{Backend: Name, BackendVersion: "1.0.0", Device: "fake", Cores: 1, Platform: "fake/fake"}}
}

// Name returns "fake".
func (b *Backend) Name() string { return Name }

// Close does nothing.
func (b *Backend) Close() error { return nil }

// Environment reports Env.
func (b *Backend) Environment(ctx context.Context) (engine.Environment, error) {
	return b.Env, ctx.Err()
}

// Build copies the script as the plan.
func (b *Backend) Build(ctx context.Context, req engine.BuildRequest) (engine.Plan, error) {
	var plan engine.Plan
	if err := ctx.Err(); err != nil {
		return plan, err
	}
	script, err := readScript(req.ModelPath)
	if err != nil {
		return plan, err
	}
	req.Progress(engine.Progress{Stage: "build", Message: "following the script"})
	if len(script.Precisions) > 0 && !slices.Contains(script.Precisions, req.Precision) {
		e := engine.Errorf(engine.KindUnsupportedPrecision, fmt.Sprintf("build %s engine", req.Precision), req.ModelPath, "the script has only %v", script.Precisions)
		e.Hint = "add it to the script's precisions"
		return plan, e
	}
	if err := script.strike("build"); err != nil {
		return plan, err
	}
	data, err := json.Marshal(script)
	if err != nil {
		return plan, err
	}
	plan = engine.Plan{Path: filepath.Join(req.WorkDir, "fake.plan"), Precision: req.Precision, SizeBytes: int64(len(data)), Duration: time.Duration(script.BuildTime)}
	if err := os.WriteFile(plan.Path, data, 0o600); err != nil {
		return plan, engine.Errorf(engine.KindBuildFailed, "write plan", plan.Path, "%v", err)
	}
	return plan, nil
}

// Load reads the plan.
func (b *Backend) Load(ctx context.Context, plan engine.Plan, _ engine.LoadOptions) (engine.Engine, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	script, err := readScript(plan.Path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, engine.Errorf(engine.KindBuildFailed, "load engine", plan.Path, "%v", err)
		}
		return nil, err
	}
	if err := script.strike("load"); err != nil {
		return nil, err
	}
	return &fakeEngine{script: script, random: rand.New(rand.NewPCG(7, 11))}, nil
}

type fakeEngine struct {
	script Script
	random *rand.Rand
	window int
	closed bool
}

func (e *fakeEngine) Inputs() []engine.TensorInfo { return slices.Clone(e.script.Inputs) }

func (e *fakeEngine) Outputs() []engine.TensorInfo {
	outputs := slices.Clone(e.script.Inputs)
	for i := range outputs {
		outputs[i].Name = outputName(outputs[i].Name)
	}
	return outputs
}

// Ranges implements engine.Ranged.
func (e *fakeEngine) Ranges() map[string]engine.Profile { return e.script.Ranges }

func outputName(input string) string {
	if input == "x" {
		return "y"
	}
	return input + "_out"
}

func (e *fakeEngine) check(ctx context.Context, inputs []engine.Tensor) error {
	if e.closed {
		return errors.New("the engine is closed")
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(inputs) != len(e.script.Inputs) {
		return engine.Errorf(engine.KindInvalidInput, "run engine", "", "%d inputs given and the model has %d", len(inputs), len(e.script.Inputs))
	}
	for i, t := range inputs {
		in := e.script.Inputs[i]
		fits := t.DType == in.DType && len(t.Shape) == len(in.Dims)
		for k := 0; fits && k < len(t.Shape); k++ {
			fits = in.Dims[k].Size < 0 || in.Dims[k].Size == t.Shape[k]
		}
		if !fits {
			return engine.Errorf(engine.KindInvalidInput, "run engine", "", "input %s is given as %s%v", in, t.DType, t.Shape)
		}
	}
	return nil
}

// Infer returns the inputs, scaled.
func (e *fakeEngine) Infer(ctx context.Context, inputs []engine.Tensor) ([]engine.Tensor, error) {
	if err := e.check(ctx, inputs); err != nil {
		return nil, err
	}
	if err := e.script.strike("infer"); err != nil {
		return nil, err
	}
	out := make([]engine.Tensor, len(inputs))
	for i, t := range inputs {
		out[i] = engine.Tensor{Name: outputName(t.Name), DType: t.DType, Shape: slices.Clone(t.Shape), Data: slices.Clone(t.Data)}
		if t.DType != engine.Float32 {
			continue
		}
		for k := range t.Len() {
			v := t.At(k)
			if e.script.Scale != nil {
				v *= *e.script.Scale
			}
			if e.script.NaN {
				v = math.NaN()
			}
			binary.LittleEndian.PutUint32(out[i].Data[4*k:], math.Float32bits(float32(v)))
		}
	}
	return out, nil
}

// Walk calls Infer for each step.
func (e *fakeEngine) Walk(ctx context.Context, c engine.Chain) ([][]engine.Tensor, error) {
	return engine.WalkPlainly(ctx, e, c)
}

// Time makes up a window by the script.
func (e *fakeEngine) Time(ctx context.Context, inputs []engine.Tensor, opts engine.TimeOptions) (engine.Window, error) {
	if err := e.check(ctx, inputs); err != nil {
		return engine.Window{}, err
	}
	if err := e.script.strike("time"); err != nil {
		return engine.Window{}, err
	}
	latency := time.Duration(e.script.Latency)
	if n := len(e.script.Latencies); n > 0 {
		latency = time.Duration(e.script.Latencies[e.window%n])
	}
	e.window++
	if e.script.PerSample && len(inputs) > 0 && len(inputs[0].Shape) > 0 {
		latency *= time.Duration(inputs[0].Shape[0])
	}
	// The fake has one unit of hardware: concurrent requests wait for each other.
	lanes := float64(max(1, opts.Concurrency))
	var w engine.Window
	for {
		l := latency.Seconds() * math.Max(0.1, 1+e.script.Jitter*e.random.NormFloat64())
		w.Latencies = append(w.Latencies, l*lanes)
		w.Elapsed += l
		enough := len(w.Latencies) >= opts.Queries && w.Elapsed >= opts.Duration.Seconds()
		late := opts.MaxDuration > 0 && w.Elapsed >= opts.MaxDuration.Seconds()
		if enough || late {
			break
		}
		if err := ctx.Err(); err != nil {
			return engine.Window{}, err
		}
	}
	if e.script.Sleep {
		if err := pause.For(ctx, time.Duration(w.Elapsed*float64(time.Second))); err != nil {
			return engine.Window{}, err
		}
	}
	return w, nil
}

// Serve serves by the script, on a clock that counts. Concurrent requests do not wait
// for each other.
func (e *fakeEngine) Serve(ctx context.Context, chains []engine.Chain, requests []engine.Request, opts engine.ServeOptions) ([]engine.Answer, error) {
	for _, c := range chains {
		if err := e.check(ctx, c.Steps[0]); err != nil {
			return nil, err
		}
	}
	if err := e.script.strike("serve"); err != nil {
		return nil, err
	}
	answers := workload.Simulate(requests, opts.Concurrency, func(r engine.Request) time.Duration {
		latency := time.Duration(e.script.Latency)
		if in := chains[r.Input].Steps[0]; e.script.PerSample && len(in) > 0 && len(in[0].Shape) > 0 {
			latency *= time.Duration(in[0].Shape[0])
		}
		return time.Duration(float64(latency) * math.Max(0.1, 1+e.script.Jitter*e.random.NormFloat64()))
	})
	if opts.MaxDuration > 0 {
		for i, a := range answers {
			if a.Start >= opts.MaxDuration {
				return answers[:i], nil
			}
		}
	}
	return answers, nil
}

// Layers returns the script's, or ErrNoLayers.
func (e *fakeEngine) Layers(ctx context.Context) ([]engine.Layer, error) {
	if err := e.script.strike("layers"); err != nil {
		return nil, err
	}
	if len(e.script.Layers) == 0 {
		return nil, engine.ErrNoLayers
	}
	return slices.Clone(e.script.Layers), ctx.Err()
}

// Memory returns the script's peak.
func (e *fakeEngine) Memory() engine.Memory {
	if e.script.PeakBytes == 0 {
		return engine.Memory{}
	}
	peak := e.script.PeakBytes
	return engine.Memory{PeakBytes: &peak}
}

// Close may be called twice.
func (e *fakeEngine) Close() error {
	e.closed = true
	return nil
}
