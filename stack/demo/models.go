package demo

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/plancast/plancast/exporter/engine"
)

// environment is what a model is measured in from a day before now on.
type environment struct {
	from int // days before now
	engine.Environment
}

func tensorRT(gpu, version, driver, cuda string) engine.Environment {
	return engine.Environment{Backend: "tensorrt", BackendVersion: version, Device: gpu, Cores: 16, Driver: driver, CUDA: cuda, Platform: "linux/amd64"}
}

func onnxRuntime(version string) engine.Environment {
	return engine.Environment{Backend: "onnxruntime", BackendVersion: version, Device: CPU, Cores: 32, Governor: "performance", Platform: "linux/amd64"}
}

// model is a story: how a model came to be as fast as it is.
type model struct {
	name         string
	environments []environment
	precisions   []engine.Precision
	candidates   int           // in all
	newest       time.Duration // age of the newest candidate
	first, limit float64       // P99 of FP32 in seconds: of the first candidate, and where it converges to
	reach        float64       // share of the way from first to limit that the newest candidate has covered
	parallel     float64       // queries that the device answers at once
	weights      int64         // bytes of FP32
	layers       int           // of the engine
	deviation    float64       // of INT8 at the first candidate, a ratio
	top1         float64       // labeled accuracy of FP32; 0 without labels
	talks        bool          // it is measured under the workload chat
	generates    bool          // it is measured in the phases prefill and decode

	failures map[int]failure // by candidate
	// By candidate, how many more layers its INT8 engine left unquantized, with
	// the factor on its latency.
	unquantized map[int]int
	regressions map[int]float64 // factor on the latency, by candidate
}

type failure struct {
	precisions []engine.Precision
	engine.Error
	log []string
}

// Generative is the model that generates text.
const Generative = "t5-small"

// models are the stories. Milestones are in the configuration of their host.
var models = []model{
	{
		name: "resnet50", environments: []environment{{Days, newer}}, precisions: three, candidates: 26, newest: 20 * time.Hour,
		first: 0.148, limit: 0.072, reach: 0.93, parallel: 6.5, weights: 102 << 20, layers: 58, deviation: 0.0068, top1: 0.803,
		regressions: map[int]float64{9: 1.12, 17: 1.06},
		failures: map[int]failure{13: {[]engine.Precision{engine.INT8}, engine.Error{
			Kind: engine.KindBuildFailed, Op: "build int8 engine", Subject: "model.onnx", Node: "/layer4/layer4.2/conv3/Conv", Operator: "Conv",
			Message: "could not find any implementation for node", Hint: "raise the workspace limit or keep the layer in FP16",
		}, []string{"[TRT] Skipping tactic 0x3a with 1073741824 bytes of workspace", "[TRT] Error Code 10: Internal Error"}}},
	},
	{
		name: "yolo-v8", environments: []environment{{Days, newer}}, precisions: three, candidates: 24, newest: 44 * time.Hour,
		first: 0.196, limit: 0.094, reach: 0.90, parallel: 5.2, weights: 87 << 20, layers: 112, deviation: 0.0081,
		regressions: map[int]float64{6: 1.09, 15: 1.1},
		unquantized: map[int]int{15: 4},
		failures: map[int]failure{18: {three, engine.Error{
			Kind: engine.KindInvalidModel, Op: "read model.onnx", Message: "the file ends within a tensor", Hint: "export it again and push the whole file",
		}, nil}},
	},
	{
		name: "bert-base", environments: []environment{{Days, newer}}, precisions: three, candidates: 22, newest: 3 * day,
		first: 0.171, limit: 0.082, reach: 0.95, parallel: 7.1, weights: 438 << 20, layers: 148, deviation: 0.0043, top1: 0.846, talks: true,
		regressions: map[int]float64{12: 1.08},
	},
	{
		name: "segformer-b0", environments: []environment{{Days, older}, {58, newer}}, precisions: three, candidates: 25, newest: 30 * time.Hour,
		first: 0.188, limit: 0.090, reach: 0.87, parallel: 4.4, weights: 15 << 20, layers: 96, deviation: 0.0072,
		regressions: map[int]float64{8: 1.1},
	},
	{
		name: "whisper-small", environments: []environment{{Days, newer}}, precisions: three, candidates: 23, newest: 26 * time.Hour,
		first: 0.420, limit: 0.176, reach: 0.995, parallel: 3.1, weights: 967 << 20, layers: 230, deviation: 0.0105,
		failures: map[int]failure{
			7: {[]engine.Precision{engine.FP32}, engine.Error{
				Kind: engine.KindOutOfMemory, Op: "build fp32 engine", Message: "cudaMalloc of 9.1 GiB failed", Hint: "free the GPU, or lower the workspace limit",
			}, []string{"[TRT] Requested amount of GPU memory (9774825472 bytes) could not be allocated"}},
			16: {three, engine.Error{Kind: engine.KindTimeout, Op: "build engine", Message: "killed after 30 min", Hint: "raise worker.timeout"}, nil},
			23: {[]engine.Precision{engine.INT8}, engine.Error{
				Kind: engine.KindUnsupportedOperator, Op: "build int8 engine", Node: "/decoder/attention/ScatterND_2", Operator: "ScatterND",
				Message: "no INT8 kernel for this operator with 5-dimensional indices", Hint: "export with opset 18 or keep the decoder in FP16",
			}, []string{"[TRT] Error Code 9: API Usage Error", "worker: build failed"}},
		},
	},
	{
		name: Generative, environments: []environment{{Days, newer}}, precisions: three, candidates: 21, newest: 9 * time.Hour,
		first: 0.230, limit: 0.098, reach: 0.90, parallel: 5.9, weights: 242 << 20, layers: 176, deviation: 0.0061, talks: true, generates: true,
		unquantized: map[int]int{21: 11},
		regressions: map[int]float64{21: 1.31},
	},
	{
		name: "silero-vad", environments: []environment{{Days, onnxRuntime("1.31.0")}, {90, onnxRuntime("1.32.0")}}, precisions: three, candidates: 18, newest: 5 * day,
		first: 0.0071, limit: 0.0038, reach: 0.93, parallel: 14, weights: 2 << 20, layers: 34, deviation: 0.0031,
		failures: map[int]failure{11: {[]engine.Precision{engine.INT8}, engine.Error{
			Kind: engine.KindCrashed, Op: "run engine", Message: "the worker died: signal: segmentation fault", Hint: "try the model in a newer ONNX Runtime",
		}, []string{"worker: fatal error: unexpected signal during runtime execution"}}},
	},
}

// pushed is when candidate n came: at a steady pace, on working days as it
// were, with some disorder.
func (m model) pushed(n int, o Options, rng *rand.Rand) time.Time {
	span := time.Duration(o.Days)*day - m.newest - 2*day
	pace := span / time.Duration(m.candidates-1)
	at := o.Now.Add(-m.newest - time.Duration(m.candidates-n)*pace)
	if n < m.candidates {
		at = at.Add(time.Duration((rng.Float64() - 0.5) * 0.5 * float64(pace)))
	}
	return at.Truncate(time.Second).UTC()
}

// levels are the P99 of FP32 that each candidate has, apart from noise:
// ideas help by very different amounts, and less and less, from
// first to the level that reach says.
func (m model) levels(rng *rand.Rand) []float64 {
	gained := make([]float64, m.candidates)
	for n := 1; n < m.candidates; n++ {
		gained[n] = gained[n-1]
		if rng.Float64() < helps {
			gained[n] += rng.ExpFloat64() * math.Exp(-curve*float64(n)/float64(m.candidates))
		}
	}
	last := m.first - (m.first-m.limit)*m.reach
	total := max(gained[m.candidates-1], 1e-9)
	out := make([]float64, m.candidates)
	for n := range out {
		out[n] = m.first * math.Pow(last/m.first, gained[n]/total)
	}
	return out
}

// environmentAt is the environment that holds at a time.
func (m model) environmentAt(at, now time.Time) engine.Environment {
	env := m.environments[0].Environment
	for _, e := range m.environments {
		if !at.Before(now.Add(-time.Duration(e.from) * day)) {
			env = e.Environment
		}
	}
	return env
}
