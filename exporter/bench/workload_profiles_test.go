package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/onnxruntime"
	"github.com/plancast/plancast/exporter/engine/onnxruntime/runtimetest"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
	"github.com/plancast/plancast/exporter/workload"
)

// profiled is ONNX Runtime that reports and refuses what an engine of TensorRT does: a
// dimension for which every optimization profile has one size is fixed, outputs are as
// the script has them, and a shape has to lie in the profile that is used.
type profiled struct {
	engine.Backend
	outputs  func(declared []engine.TensorInfo, first map[string]int64) []engine.TensorInfo
	profiles []map[string]engine.Profile
}

func (b *profiled) Build(ctx context.Context, req engine.BuildRequest) (engine.Plan, error) {
	b.profiles = append([]map[string]engine.Profile{req.Profiles}, req.MoreProfiles...)
	return b.Backend.Build(ctx, req)
}

func (b *profiled) Load(ctx context.Context, plan engine.Plan, o engine.LoadOptions) (engine.Engine, error) {
	e, err := b.Backend.Load(ctx, plan, o)
	return profiledEngine{e, b}, err
}

type profiledEngine struct {
	engine.Engine
	b *profiled
}

func (e profiledEngine) Inputs() []engine.TensorInfo {
	inputs := slices.Clone(e.Engine.Inputs())
	for i, in := range inputs {
		inputs[i].Dims = slices.Clone(in.Dims)
		for k := range in.Dims {
			first := e.b.profiles[0][in.Name].Min[k]
			if !slices.ContainsFunc(e.b.profiles, func(p map[string]engine.Profile) bool {
				return p[in.Name].Min[k] != first || p[in.Name].Max[k] != first
			}) {
				inputs[i].Dims[k].Size = first
			}
		}
	}
	return inputs
}

func (e profiledEngine) Outputs() []engine.TensorInfo {
	first := map[string]int64{}
	for _, in := range e.Engine.Inputs() {
		for k, d := range in.Dims {
			first[d.Name] = e.b.profiles[0][in.Name].Max[k]
		}
	}
	outputs := slices.Clone(e.Engine.Outputs())
	for i := range outputs {
		outputs[i].Dims = slices.Clone(outputs[i].Dims)
	}
	return e.b.outputs(outputs, first)
}

// refuses says why a chain does not fit a profile.
func (e profiledEngine) refuses(c engine.Chain, profile int) error {
	for step, inputs := range c.Steps {
		for i, in := range e.Engine.Inputs() {
			shape := inputs[i].Shape
			if l := c.Into(i); l != nil {
				shape = l.Shapes[step]
			}
			p := e.b.profiles[profile][in.Name]
			for k, size := range shape {
				if size < p.Min[k] || size > p.Max[k] {
					return fmt.Errorf("step %d: input %s: shape %v is outside profile %d, %v to %v", step, in.Name, shape, profile, p.Min, p.Max)
				}
			}
		}
	}
	return nil
}

func (e profiledEngine) refusedByAll(c engine.Chain) (err error) {
	for i := range e.b.profiles {
		if err = e.refuses(c, i); err == nil {
			return nil
		}
	}
	return err
}

func (e profiledEngine) Infer(ctx context.Context, inputs []engine.Tensor) ([]engine.Tensor, error) {
	if err := e.refusedByAll(engine.Call(inputs)); err != nil {
		return nil, err
	}
	return e.Engine.Infer(ctx, inputs)
}

func (e profiledEngine) Walk(ctx context.Context, c engine.Chain) ([][]engine.Tensor, error) {
	if err := e.refusedByAll(c); err != nil {
		return nil, err
	}
	return e.Engine.Walk(ctx, c)
}

func (e profiledEngine) Serve(ctx context.Context, chains []engine.Chain, requests []engine.Request, o engine.ServeOptions) ([]engine.Answer, error) {
	for _, c := range chains {
		if err := e.refuses(c, o.Profile); err != nil {
			return nil, err
		}
	}
	return e.Engine.Serve(ctx, chains, requests, o)
}

// The workloads of bench/gpu/decode.py, in small.
func TestADecoderIsMeasuredWhateverTheEngineReportsOfIt(t *testing.T) {
	runtimetest.Need(t)
	plain := func(name string, context int) workload.Workload {
		return phased(name, "", sized(1, "sequence", 1, "past_sequence", context, "past_sequence + sequence", context+1))
	}
	every := []workload.Workload{
		phased("prefill", workload.Prefill, sized(1, "sequence", 6)),
		phased("decode-8", workload.Decode, sized(1, "past_sequence", 8)), plain("plain-8", 8),
		phased("decode-40", workload.Decode, sized(1, "past_sequence", 40)), plain("plain-40", 40),
	}
	type infos = []engine.TensorInfo
	asDeclared := func(out infos, _ map[string]int64) infos { return out }
	for name, c := range map[string]struct {
		outputs func(out infos, first map[string]int64) infos
		list    []workload.Workload
	}{
		"outputs as the model declares them": {asDeclared, every},
		"outputs of which nothing but the rank is known": {func(out infos, _ map[string]int64) infos {
			for i := range out {
				for k := range out[i].Dims {
					out[i].Dims[k] = engine.Dim{Size: -1}
				}
			}
			return out
		}, every},
		"outputs as large as the first profile makes them": {func(out infos, first map[string]int64) infos {
			for i := range out {
				for k, d := range out[i].Dims {
					if d.Size < 0 {
						out[i].Dims[k].Size = first[d.Name]
					}
				}
			}
			return out
		}, every},
		"one length for everything": {asDeclared, []workload.Workload{plain("plain-8", 8)}},
	} {
		t.Run(name, func(t *testing.T) {
			b := &profiled{Backend: onnxruntime.New(onnxruntime.Options{}), outputs: c.outputs}
			m := decodingBy(t, b, onnxtest.Generated(t, "decoder.onnx"), map[string]int64{"sequence": 1, "past_sequence": 8}, c.list...)
			for _, w := range m.Workloads {
				if w.Failure != nil || w.Latency == nil || strings.Contains(strings.Join(w.Warnings, "\n"), "recognized") {
					t.Errorf("%s: %v, warnings %q", w.Name, w.Failure, w.Warnings)
					continue
				}
				if generates := w.Generation != nil && w.Generation.Tokens > 0; generates != (w.Phase != "") {
					t.Errorf("%s: generation %+v", w.Name, w.Generation)
				}
			}
			if len(m.Workloads) != len(c.list) {
				t.Errorf("%d of %d workloads", len(m.Workloads), len(c.list))
			}
		})
	}
}
