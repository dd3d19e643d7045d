package demo

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/workload"
)

// chat is the traffic of the models that are talked to, as configuration says.
var chat = workload.Workload{
	Name: "chat", Rate: 20, Burstiness: 1, Concurrency: 2, Within: 400 * time.Millisecond, MaxRate: 0.99,
	Shapes: []workload.Shape{
		{Weight: 70, Dims: map[string]int64{"sequence": 32}}, {Weight: 25, Dims: map[string]int64{"sequence": 128}}, {Weight: 5, Dims: map[string]int64{"sequence": 512}},
	},
}

// lengths are how long calls of its shapes take, as shares of the engine's mean.
var lengths = []float64{0.35, 1, 3.2}

// phases are those of the models that generate text.
var phases = []workload.Workload{
	{Name: "prefill", Phase: workload.Prefill, Concurrency: 1, Shapes: []workload.Shape{{Weight: 1, Dims: map[string]int64{"sequence": prompt}}}},
	{Name: "decode", Phase: workload.Decode, Concurrency: 1, Shapes: []workload.Shape{{Weight: 1, Dims: map[string]int64{"past_sequence": contextLength}}}},
}

// The sizes of the phases: of a prompt and of a cache, in tokens, and of a token in the
// cache, in bytes.
const (
	prompt        = 512
	contextLength = 2000
	cachedToken   = 6 * 2 * 8 * 64 * 2
)

// traffic invents how an engine fares under the workloads of its model.
func (m model) traffic(n int, p engine.Precision, mean float64) (out []bench.WorkloadResult) {
	h := fnv.New64a()
	h.Write([]byte(m.name + string(p)))
	rng := rand.New(rand.NewPCG(h.Sum64(), uint64(n)))
	if m.talks {
		out = append(out, talk(n, mean, rng))
	}
	if m.generates {
		out = append(out, generation(phases[0], 1.4*mean, prompt, prompt, rng), generation(phases[1], 0.11*mean, 1, contextLength, rng))
	}
	return out
}

// generation invents the calls of a phase, each of which reads or makes that many tokens.
func generation(w workload.Workload, mean, tokens float64, cached int64, rng *rand.Rand) bench.WorkloadResult {
	calls := make([]float64, 700)
	for i := range calls {
		calls[i] = mean * math.Exp(0.03*rng.NormFloat64())
	}
	latency := bench.Summarize(1, calls)
	rate := 1 / latency.Mean
	return bench.WorkloadResult{
		Workload: w, Capacity: rate, Answered: rate, Latency: &latency, Windows: 2, Stable: true,
		Generation: &bench.Generation{Tokens: tokens * rate, Cache: []bench.CacheSize{{Tokens: cached, Batch: 1, Bytes: cached * cachedToken}}},
	}
}

// talk invents how long calls take under chat, and works out what the queue makes of
// them.
func talk(n int, mean float64, rng *rand.Rand) bench.WorkloadResult {
	service := func(r engine.Request) time.Duration {
		return time.Duration(mean * lengths[r.Input] * math.Exp(0.04*rng.NormFloat64()) * float64(time.Second))
	}
	sequence := chat.Sequence(uint64(n))
	closed := sequence.Draw(500, 0)
	w := bench.WorkloadResult{Workload: chat, Capacity: workload.Serve(closed, workload.Simulate(closed, chat.Concurrency, service), false).Rate(), Windows: 2, Stable: true}
	if w.Capacity <= chat.Rate {
		w.Saturated, w.Answered, w.Goodput, w.Windows, w.HighestRate = true, w.Capacity, new(0.0), 0, new(0.0)
		return w
	}
	requests := sequence.Draw(1400, chat.Rate)
	served := workload.Serve(requests, workload.Simulate(requests, chat.Concurrency, service), true)
	latency, wait := bench.Summarize(1, served.Latencies), bench.Summarize(1, served.Waits)
	w.Latency, w.Wait, w.Answered = &latency, &wait, served.Rate()
	w.Goodput = new(float64(served.Good(chat.Within)) / served.Elapsed)
	highest, _ := workload.MaxRate(w.Capacity, 0.02, 12, func(rate float64) (bool, error) { // a simulation cannot fail
		requests := chat.Sequence(uint64(n)).Draw(1400, rate)
		tried := workload.Serve(requests, workload.Simulate(requests, chat.Concurrency, service), true)
		return bench.NearestRank(slices.Sorted(slices.Values(tried.Latencies)), chat.MaxRate) <= chat.Within.Seconds(), nil
	})
	w.HighestRate = &highest
	return w
}
