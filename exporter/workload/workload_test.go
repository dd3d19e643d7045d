package workload

import (
	"math"
	"slices"
	"testing"
	"time"

	"gonum.org/v1/gonum/stat"

	"github.com/plancast/plancast/exporter/engine"
)

func at(rate float64) Workload {
	return Workload{Name: "w", Shapes: []Shape{{Weight: 1}}, Rate: rate, Burstiness: 1, Concurrency: 1}
}

func TestAWorkloadReadsAsASentence(t *testing.T) {
	sequence := func(weight float64, n int64) Shape {
		return Shape{Weight: weight, Dims: map[string]int64{"sequence": n}}
	}
	chat := Workload{Shapes: []Shape{sequence(70, 32), sequence(25, 128), sequence(5, 512)}, Rate: 200, Burstiness: 1, Concurrency: 1}
	bursty := chat
	bursty.Burstiness, bursty.Concurrency = 0.5, 4
	for _, c := range []struct {
		w    Workload
		want string
	}{
		{chat, "70 % sequence 32, 25 % 128, 5 % 512, at 200 requests a second"},
		{bursty, "70 % sequence 32, 25 % 128, 5 % 512, at 200 requests a second with a burstiness of 0.5, 4 at once"},
		{Workload{Shapes: []Shape{sequence(1, 128)}}, "sequence 128, each request after the one before"},
		{Workload{Shapes: []Shape{{Weight: 3, Dims: map[string]int64{"batch": 4, "sequence": 128}}, {Weight: 1}}}, "75 % batch 4 × sequence 128, 25 % the model's own shapes, each request after the one before"},
		{Workload{Shapes: []Shape{sequence(1, 128)}, Rate: 1, Burstiness: 1}, "sequence 128, at 1 request a second"},
		{Workload{Recorded: true, Rate: 20, Burstiness: 1}, "the shapes of inputs.npz, as recorded, at 20 requests a second"},
		{Workload{Recorded: true, Shapes: []Shape{sequence(3, 32), sequence(1, 128)}}, "75 % sequence 32, 25 % 128, as recorded, each request after the one before"},
		{Workload{Phase: Decode, Shapes: []Shape{{Weight: 1, Dims: map[string]int64{"past": 2000}}}}, "decode of past 2000, each request after the one before"},
	} {
		if got := c.w.String(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

func TestTheSameSeedDrawsTheSameRequests(t *testing.T) {
	w := at(100)
	w.Shapes = []Shape{{Weight: 3}, {Weight: 1, Dims: map[string]int64{"n": 2}}}
	one, two := w.Sequence(7), w.Sequence(7)
	a, b := one.Draw(1000, 100), two.Draw(1000, 100)
	if !slices.Equal(a, b) {
		t.Error("two sequences of one seed differ")
	}
	if slices.Equal(a, one.Draw(1000, 100)) {
		t.Error("the next window has the requests of the one before")
	}
	if slices.Equal(a, w.Sequence(8).Draw(1000, 100)) {
		t.Error("another seed draws the same")
	}
}

func TestAnotherRateMovesTheSameRequestsTogether(t *testing.T) {
	w := at(100)
	slow, fast := w.Sequence(1).Draw(500, 100), w.Sequence(1).Draw(500, 400)
	for i := range slow {
		if d := slow[i].At - 4*fast[i].At; d.Abs() > 4*time.Nanosecond {
			t.Fatalf("request %d comes at %v, and at four times the rate at %v", i, slow[i].At, fast[i].At)
		}
	}
	for _, r := range w.Sequence(1).Draw(10, 0) {
		if r.At != 0 {
			t.Errorf("in a closed loop a request is due at %v", r.At)
		}
	}
}

func TestShapesAreDrawnByTheirWeights(t *testing.T) {
	w := Workload{Shapes: []Shape{{Weight: 70}, {Weight: 25}, {Weight: 5}}}
	counts := make([]float64, 3)
	const n = 100_000
	for _, r := range w.Sequence(1).Draw(n, 0) {
		counts[r.Input]++
	}
	for i, want := range []float64{0.7, 0.25, 0.05} {
		if got := counts[i] / n; math.Abs(got-want) > 0.005 {
			t.Errorf("shape %d has a share of %v, want %v", i, got, want)
		}
	}
}

// gaps are the times between arrivals, in seconds.
func gaps(w Workload, n int) []float64 {
	out := make([]float64, n)
	before := time.Duration(0)
	for i, r := range w.Sequence(3).Draw(n, w.Rate) {
		out[i], before = (r.At - before).Seconds(), r.At
	}
	return out
}

func TestArrivalsOfBurstinessOneAreAPoissonProcess(t *testing.T) {
	const n, rate = 50_000, 250.0
	all := gaps(at(rate), n)
	// Kolmogorov and Smirnov's distance from the exponential distribution, at 1 %.
	slices.Sort(all)
	distance := 0.0
	for i, g := range all {
		p := 1 - math.Exp(-rate*g)
		distance = max(distance, math.Abs(p-float64(i)/n), math.Abs(p-float64(i+1)/n))
	}
	if limit := 1.63 / math.Sqrt(n); distance > limit {
		t.Errorf("the gaps are %v from the exponential distribution, at most %v", distance, limit)
	}
	// The counts of a Poisson process have their mean for variance.
	counts := make([]float64, 1000)
	for _, r := range at(rate).Sequence(5).Draw(n, rate) {
		if k := int(r.At.Seconds() * 5.5); k < len(counts) {
			counts[k]++
		}
	}
	if mean, variance := stat.MeanVariance(counts, nil); math.Abs(variance/mean-1) > 0.1 {
		t.Errorf("the counts have the mean %v and the variance %v", mean, variance)
	}
}

func TestLowerBurstinessBringsArrivalsTogether(t *testing.T) {
	for _, b := range []float64{0.25, 1, 4} {
		w := at(100)
		w.Burstiness = b
		mean, variance := stat.MeanVariance(gaps(w, 100_000), nil)
		if math.Abs(mean*100-1) > 0.02 {
			t.Errorf("burstiness %v: %v arrivals a second instead of 100", b, 1/mean)
		}
		if got, want := variance/(mean*mean), 1/b; math.Abs(got/want-1) > 0.05 {
			t.Errorf("burstiness %v: squared coefficient of variation %v, want %v", b, got, want)
		}
	}
}

func constant(d time.Duration) func(engine.Request) time.Duration {
	return func(engine.Request) time.Duration { return d }
}

// The mean waiting time of Poisson arrivals at one server with a constant service time
// is known: rho/(2(1-rho)) services (Pollaczek and Khinchine).
func TestAConstantServerWaitsAsTheFormulaSays(t *testing.T) {
	const service = 2 * time.Millisecond
	for _, load := range []float64{0.3, 0.6, 0.8} {
		rate := load / service.Seconds()
		requests := at(rate).Sequence(1).Draw(300_000, rate)
		s := Serve(requests, Simulate(requests, 1, constant(service)), true)
		want := load / (2 * (1 - load)) * service.Seconds()
		if got := stat.Mean(s.Waits, nil); math.Abs(got/want-1) > 0.05 {
			t.Errorf("load %v: mean waiting time %v s, the formula says %v s", load, got, want)
		}
		if math.Abs(s.Rate()/rate-1) > 0.01 || s.Behind > 0.01 {
			t.Errorf("load %v: %v answered a second of %v, %v behind", load, s.Rate(), rate, s.Behind)
		}
	}
}

func TestLatencyCountsFromWhenARequestIsDue(t *testing.T) {
	ms := func(v ...float64) []float64 {
		for i := range v {
			v[i] /= 1000
		}
		return v
	}
	// The second request is due while the first is served: it waits 6 ms. The third is
	// due when nothing is to be done, and its call begins 1 ms late.
	requests := []engine.Request{{At: 0}, {At: 4 * time.Millisecond}, {At: 30 * time.Millisecond}}
	answers := []engine.Answer{
		{Taken: 0, Start: 0, End: 10 * time.Millisecond},
		{Taken: 10 * time.Millisecond, Start: 10 * time.Millisecond, End: 20 * time.Millisecond},
		{Taken: 20 * time.Millisecond, Start: 31 * time.Millisecond, End: 41 * time.Millisecond},
	}
	got := Serve(requests, answers, true)
	near := func(what string, got, want []float64) {
		for i := range want {
			if math.Abs(got[i]-want[i]) > 1e-12 {
				t.Errorf("%s are %v, want %v", what, got, want)
				return
			}
		}
	}
	near("latencies", got.Latencies, ms(10, 16, 11))
	near("waits", got.Waits, ms(0, 6, 0))
	near("services", got.Services, ms(10, 10, 10))
	near("lateness", got.Lateness, ms(0, 0, 1))
	if got.Good(11*time.Millisecond) != 2 {
		t.Errorf("%d answers came within 11 ms, want 2", got.Good(11*time.Millisecond))
	}
	closed := Serve(requests, answers, false)
	near("latencies of a closed loop", closed.Latencies, ms(10, 10, 21))
}

func TestMoreLanesServeSideBySide(t *testing.T) {
	requests := make([]engine.Request, 4)
	answers := Simulate(requests, 2, constant(time.Second))
	for i, want := range []time.Duration{1, 1, 2, 2} {
		if answers[i].End != want*time.Second {
			t.Errorf("request %d is answered at %v, want %v s", i, answers[i].End, int(want))
		}
	}
}

func TestAQueueThatGrowsIsSeenAtTheEndOfItsWindow(t *testing.T) {
	for _, c := range []struct {
		load  float64
		grows bool
	}{{0.5, false}, {0.9, false}, {1.5, true}, {3, true}} {
		const service = time.Millisecond
		rate := c.load / service.Seconds()
		requests := at(rate).Sequence(1).Draw(5000, rate)
		if s := Serve(requests, Simulate(requests, 1, constant(service)), true); s.FallsBehind(rate) != c.grows {
			t.Errorf("load %v: the last request waited %v of the window", c.load, s.Behind)
		}
	}
}

func TestAWindowThatEndsInABurstDoesNotFallBehind(t *testing.T) {
	const service, rate = time.Millisecond, 200.0
	w := at(rate)
	w.Burstiness = 0.05
	queues := 0
	for seed := range uint64(50) {
		requests := w.Sequence(seed).Draw(100, rate)
		s := Serve(requests, Simulate(requests, 1, constant(service)), true)
		if s.Behind > 0.1 {
			queues++
		}
		if s.FallsBehind(rate) {
			t.Errorf("seed %d: %v a second of %v, the last waited %v of the window", seed, s.Rate(), rate, s.Behind)
		}
	}
	if queues == 0 {
		t.Error("no window ended in a burst")
	}
}

// The search finds what trying every rate finds, in a tenth of the time that the
// requests take, on a virtual clock.
func TestTheHighestRateIsThatOfAnExhaustiveScan(t *testing.T) {
	mix := at(1)
	mix.Shapes = []Shape{{Weight: 70}, {Weight: 25}, {Weight: 5}}
	services := []time.Duration{time.Millisecond, 3 * time.Millisecond, 9 * time.Millisecond}
	mean := 0.7*0.001 + 0.25*0.003 + 0.05*0.009
	for _, c := range []struct {
		name   string
		within time.Duration
		lanes  int
	}{{"near the longest call", 10 * time.Millisecond, 1}, {"with room", 40 * time.Millisecond, 1}, {"by four at once", 12 * time.Millisecond, 4}, {"never", 5 * time.Millisecond, 1}} {
		var spent time.Duration
		holds := func(rate float64) (bool, error) {
			requests := mix.Sequence(2).Draw(4_000, rate)
			answers := Simulate(requests, c.lanes, func(r engine.Request) time.Duration { return services[r.Input] })
			spent += answers[len(answers)-1].End
			latencies := Serve(requests, answers, true).Latencies
			slices.Sort(latencies)
			return latencies[len(latencies)*99/100-1] <= c.within.Seconds(), nil
		}
		ceiling := float64(c.lanes) / mean
		want := 0.0
		for rate := ceiling / 50; rate < ceiling; rate *= 1.01 {
			if ok, _ := holds(rate); ok {
				want = rate
			}
		}
		scan := spent
		spent = 0
		got, err := MaxRate(ceiling, 0.02, 12, holds)
		if err != nil || math.Abs(got-want) > 0.03*want {
			t.Errorf("%s: %v a second, %v; a scan finds %v", c.name, got, err, want)
		}
		if spent*10 > scan {
			t.Errorf("%s: the search takes %v, the scan %v", c.name, spent, scan)
		}
	}
}

func TestASearchEndsAfterItsQuestions(t *testing.T) {
	asked := 0
	rate, err := MaxRate(1000, 1e-9, 12, func(rate float64) (bool, error) { asked++; return rate < 500, nil })
	if err != nil || asked > 12 || math.Abs(rate-500) > 10 {
		t.Errorf("%v after %d questions, %v", rate, asked, err)
	}
}
