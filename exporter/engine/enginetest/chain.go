package enginetest

import (
	"context"
	"errors"
	"math"
	"testing"

	"github.com/plancast/plancast/exporter/decoder"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/onnx"
	"github.com/plancast/plancast/exporter/tensorio"
)

// testChains holds a backend to what it does with chains, on a decoder.
func testChains(t *testing.T, open func(*testing.T) engine.Backend, model string) {
	load := func(t *testing.T) (engine.Engine, decoder.Layout) {
		t.Helper()
		if model == "" {
			t.Skip("no fixture")
		}
		b := open(t)
		plan, err := b.Build(context.Background(), engine.BuildRequest{
			ModelPath: model, Precision: engine.FP32, WorkDir: t.TempDir(), Settings: engine.Settings{Threads: 1}, Profiles: decoderProfiles(t, model), Progress: func(engine.Progress) {},
		})
		if err != nil {
			t.Fatalf("build: %v", err)
		}
		e, err := b.Load(context.Background(), plan, engine.LoadOptions{Settings: engine.Settings{Threads: 1, CUDAGraph: true}, Concurrency: 2})
		if err != nil {
			t.Fatalf("load: %v", err)
		}
		t.Cleanup(func() {
			if err := e.Close(); err != nil {
				t.Errorf("close engine: %v", err)
			}
		})
		layout, err := decoder.Recognize(e.Inputs(), e.Outputs())
		if err != nil {
			t.Fatal(err)
		}
		return e, layout
	}
	chain := func(t *testing.T, e engine.Engine, l decoder.Layout, batch int64, n decoder.Lengths, steps int) engine.Chain {
		t.Helper()
		c, err := l.Chain(e.Inputs(), tensorio.Shapes{Batch: batch}, n, steps, 1)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	walk := func(t *testing.T, e engine.Engine, c engine.Chain) [][]engine.Tensor {
		t.Helper()
		walked, err := e.Walk(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		return walked
	}

	t.Run("steps that leave their cache in place give what plain calls give", func(t *testing.T) {
		e, l := load(t)
		for _, c := range []engine.Chain{
			chain(t, e, l, 1, decoder.Lengths{Sequence: 1, Past: 6}, 5),
			chain(t, e, l, 2, decoder.Lengths{Sequence: 2, Past: 1}, 4),
			chain(t, e, l, 1, decoder.Lengths{Sequence: 4}, 1), // a prefill
		} {
			plain, err := engine.WalkPlainly(context.Background(), e, c)
			if err != nil {
				t.Fatal(err)
			}
			for i, step := range walk(t, e, c) {
				if d := furthest(step[0], plain[i][0]); len(step) != 1 || d > 1e-4 {
					t.Errorf("step %d of %d: %d outputs, the logits are off by %g", i, len(c.Steps), len(step), d)
				}
			}
		}
	})

	t.Run("decoding after a prefill goes on as one longer prefill", func(t *testing.T) {
		e, l := load(t)
		const prompt, generated = 3, 4
		whole := chain(t, e, l, 1, decoder.Lengths{Sequence: prompt + generated}, 1)
		head := chain(t, e, l, 1, decoder.Lengths{Sequence: prompt}, 1)
		tail := chain(t, e, l, 1, decoder.Lengths{Sequence: 1, Past: prompt}, generated)
		tokens := whole.Steps[0][l.Tokens].Data
		copy(head.Steps[0][l.Tokens].Data, tokens)
		for i, step := range tail.Steps {
			copy(step[l.Tokens].Data, tokens[8*(prompt+i):])
		}
		inputs := head.Steps[0]
		for _, link := range head.Links {
			inputs[link.Input] = link.Start
		}
		filled, err := e.Infer(context.Background(), inputs)
		if err != nil {
			t.Fatal(err)
		}
		for k, link := range tail.Links {
			tail.Links[k].Start = filled[link.Output]
		}
		logits := walk(t, e, whole)[0][0]
		for i, step := range walk(t, e, tail) {
			row := len(logits.Data) / (prompt + generated)
			want := engine.Tensor{DType: logits.DType, Shape: step[0].Shape, Data: logits.Data[(prompt+i)*row : (prompt+i+1)*row]}
			if d := furthest(step[0], want); d > 1e-4 {
				t.Errorf("token %d: the logits are off by %g", prompt+i, d)
			}
		}
	})

	t.Run("requests run the steps of their chain, and begin again after the last", func(t *testing.T) {
		e, l := load(t)
		chains := []engine.Chain{chain(t, e, l, 1, decoder.Lengths{Sequence: 1, Past: 6}, 5), chain(t, e, l, 2, decoder.Lengths{Sequence: 4}, 1)}
		requests := make([]engine.Request, 40)
		for i := range requests {
			requests[i].Input = i % 2
		}
		for _, lanes := range []int{1, 2} {
			answers, err := e.Serve(context.Background(), chains, requests, engine.ServeOptions{Concurrency: lanes})
			if err != nil || len(answers) != len(requests) {
				t.Errorf("concurrency %d: %d answers, %v", lanes, len(answers), err)
			}
		}
		wrong := chain(t, e, l, 1, decoder.Lengths{Sequence: 1, Past: 2}, 2)
		wrong.Links[0].Shapes[1][2]++
		_, err := e.Serve(context.Background(), []engine.Chain{chains[0], wrong}, requests, engine.ServeOptions{Concurrency: 1})
		expect(t, "a cache that grows by two", err, engine.KindInvalidInput, engine.KindRunFailed)
	})

	t.Run("a chain that does not fit the model is refused", func(t *testing.T) {
		e, l := load(t)
		fits := func() engine.Chain { return chain(t, e, l, 1, decoder.Lengths{Sequence: 1, Past: 2}, 2) }
		short, twice, jump := fits(), fits(), fits()
		short.Steps[1] = short.Steps[1][1:]
		twice.Links[1].Input = twice.Links[0].Input
		jump.Links[0].Shapes[1][2]++
		for name, c := range map[string]engine.Chain{"no steps": {}, "an input less": short, "an input linked twice": twice, "a cache that grows by two": jump} {
			_, err := e.Walk(context.Background(), c)
			expect(t, name, err, engine.KindInvalidInput, engine.KindRunFailed)
		}
	})

	t.Run("a context that has ended stops a chain", func(t *testing.T) {
		e, l := load(t)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		if _, err := e.Walk(ctx, chain(t, e, l, 1, decoder.Lengths{Sequence: 1, Past: 2}, 2)); !errors.Is(err, context.Canceled) {
			t.Errorf("%v instead of context canceled", err)
		}
	})
}

// decoderProfiles are ranges of shapes that cover all chains of the contract.
func decoderProfiles(t *testing.T, model string) map[string]engine.Profile {
	t.Helper()
	m, err := onnx.ReadFile(model)
	if err != nil {
		t.Fatal(err)
	}
	l, err := decoder.Recognize(m.Inputs, m.Outputs)
	if err != nil {
		t.Fatal(err)
	}
	shapes := func(batch int64, n decoder.Lengths) [][]int64 {
		resolved, err := tensorio.Shapes{Batch: batch, Dims: l.Dims(m.Inputs, n)}.Resolve(m.Inputs)
		if err != nil {
			t.Fatal(err)
		}
		return resolved
	}
	low, usual, high := shapes(1, decoder.Lengths{Sequence: 1}), shapes(1, decoder.Lengths{Sequence: 1, Past: 6}), shapes(2, decoder.Lengths{Sequence: 8, Past: 16})
	profiles := map[string]engine.Profile{}
	for i, in := range m.Inputs {
		profiles[in.Name] = engine.Profile{Min: low[i], Opt: usual[i], Max: high[i]}
	}
	return profiles
}

// furthest is the largest distance of two tensors' values; infinite where their shapes
// differ.
func furthest(a, b engine.Tensor) float64 {
	if a.Len() != b.Len() || len(a.Shape) != len(b.Shape) {
		return math.Inf(1)
	}
	most := 0.0
	for i := range a.Len() {
		d := math.Abs(a.At(i) - b.At(i))
		if math.IsNaN(d) {
			return math.Inf(1)
		}
		most = max(most, d)
	}
	return most
}
