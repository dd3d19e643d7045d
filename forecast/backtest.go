package forecast

import (
	"math"
	"slices"

	"github.com/plancast/plancast/forecast/internal/law"
)

// Score is how well probabilities and bands came true. Lower is better for
// Brier, LogLoss, CalibrationError and Pinball.
type Score struct {
	Questions int     `json:"questions"`
	HitRate   float64 `json:"hit_rate"`
	Brier     float64 `json:"brier"` // mean squared error of the probabilities (Brier 1950)
	// Skill is 1 - Brier/Brier of the base rate: above 0 is better than quoting
	// how often such questions come true elsewhere.
	Skill   float64 `json:"skill"`
	LogLoss float64 `json:"log_loss"`
	// CalibrationError is the mean distance between what was said and what
	// came true, over ten classes of probability.
	CalibrationError float64 `json:"calibration_error"`
	// Coverage is the share of values inside their 80 % band, and Pinball the
	// loss of its 10, 50 and 90 % points relative to repeating the last value;
	// absent for those who give no bands.
	Coverage *float64 `json:"coverage,omitempty"`
	Pinball  *float64 `json:"pinball,omitempty"`
}

// Bin is a class of the reliability diagram.
type Bin struct {
	Questions int     `json:"questions"`
	Said      float64 `json:"said"` // mean probability
	True      float64 `json:"true"` // share that came true
}

// Peer is the score of another method on the same questions.
type Peer struct {
	Name  string `json:"name"`
	Score Score  `json:"score"`
}

// Report is the outcome of a back-test.
type Report struct {
	Plancast Score   `json:"plancast"`
	Bins     [10]Bin `json:"bins"`
	// Uncorrected is the score of the same forecasts without what the other
	// series had shown by then, and UncorrectedBins their classes; absent
	// with one series.
	Uncorrected     *Score   `json:"uncorrected,omitempty"`
	UncorrectedBins *[10]Bin `json:"uncorrected_bins,omitempty"`
	Peers           []Peer   `json:"peers"`
	// Series and Skipped count the histories asked about and those too short.
	Series  int `json:"series"`
	Skipped int `json:"skipped"`
}

// BacktestOptions have useful zero values.
type BacktestOptions struct {
	Cuts     int                   // moments in each history, at most; 0 is 8
	Peers    bool                  // score the other methods as well
	Seed     uint64                // of the Monte Carlo peer
	Progress func(done, total int) // called after each series, unless nil
}

// The walk-forward questions: seeing only the results up to a moment, does one
// of the next steps results improve the best so far by a share?
const (
	firstCut    = 8
	defaultCuts = 8
)

var (
	questionShares = [...]float64{0.02, 0.05, 0.10, 0.20, 0.40}
	questionSteps  = [...]int{3, 5, 10, 20}
)

// Backtest walks forward through histories and scores what would have been
// said at each moment against what came, each forecast corrected by what all
// series together had shown by that moment and nothing later. The moments are spaced geometrically,
// so short histories count as much as long ones. The base rate of a question
// is the share of the same questions that came true in the other histories;
// with one history, that of a typical history elsewhere. Histories that are
// too short or broken are skipped and counted.
func Backtest(series []Series, o BacktestOptions) Report {
	var r Report
	t := &tester{o: o, learned: law.Default()}
	if t.o.Cuts <= 0 {
		t.o.Cuts = defaultCuts
	}
	t.timeline = newTimeline(series, t.o.Cuts)
	t.questions = make([]question, 0, len(t.timeline.all.times)*len(questionShares)*len(questionSteps))
	var h history
	for i, s := range series {
		if h.open(s) == nil && t.walk(i, &h) {
			r.Series++
		} else {
			r.Skipped++
		}
		if o.Progress != nil {
			o.Progress(i+1, len(series))
		}
	}
	base := t.baseRates(len(series))
	r.Plancast, r.Bins = t.score(func(i int) float64 { return t.questions[i].said }, base)
	r.Plancast.Coverage, r.Plancast.Pinball = t.bands()
	if r.Series > 1 {
		s, bins := t.score(func(i int) float64 { return t.questions[i].uncorrected }, base)
		r.Uncorrected, r.UncorrectedBins = &s, &bins
	}
	if o.Peers {
		for k, name := range peerNames {
			s, _ := t.score(func(i int) float64 { return t.peers[i][k] }, base)
			r.Peers = append(r.Peers, Peer{name, s})
		}
		s, _ := t.score(base, base)
		r.Peers = append(r.Peers, Peer{"base rate", s})
	}
	return r
}

// question is one question with plancast's answers: 24 bytes, since many histories have
// millions.
type question struct {
	said, uncorrected float64
	series            int32
	share, steps      uint8 // indices of questionShares and questionSteps
	hit               bool
	lower             bool // is better
}

// answers give a probability for each question.
type answers func(question int) float64

// bandOutcome is one band with its outcome.
type bandOutcome struct {
	in             bool
	pinball, naive float64
}

type tester struct {
	o         BacktestOptions
	questions []question
	peers     [][len(peerNames)]float64 // their answers, when asked for
	outcomes  []bandOutcome
	engine    law.History
	law       law.Law
	plain     law.Law // without what other series showed
	learned   law.Coefficients
	chance    [20]float64

	timeline timeline
}

// moments returns the lengths of history at which questions are asked.
func moments(n, cuts int) (at []int) {
	last := n - questionSteps[0]
	for k := range cuts {
		c := min(last, int(firstCut*math.Pow(float64(last)/firstCut, (float64(k)+0.5)/float64(cuts))))
		if c >= firstCut && !slices.Contains(at, c) {
			at = append(at, c)
		}
	}
	return at
}

// walk asks all questions of one history; it grows the engine as it goes. The
// scale is that of the history up to each moment, so the engine starts over
// when it changes.
func (t *tester) walk(series int, h *history) bool {
	at := moments(len(h.values), t.o.Cuts)
	if len(at) == 0 {
		return false
	}
	lower := h.criterion.Comparison.LowerIsBetter()
	var scale, was law.Scale
	for _, n := range at {
		scale, _ = law.ScaleOf(h.values[:n], lower, nil)
		if scale != was {
			t.engine.Reset()
			was = scale
		}
		for _, v := range h.values[t.engine.Len():n] {
			t.engine.Append(scale.To(v))
		}
		around := law.Context{Shift: t.timeline.others(series, h.times[n-1]).Shift()}
		t.engine.Law(&t.learned, around, len(t.chance), &t.law)
		t.engine.Law(&t.learned, law.Context{}, len(t.chance), &t.plain)
		t.ask(series, h, scale, n)
	}
	t.engine.Reset()
	return true
}

func (t *tester) ask(series int, h *history, scale law.Scale, n int) {
	best := t.engine.Best()
	var z []float64
	if t.o.Peers {
		for _, v := range h.values[:n] {
			z = append(z, scale.To(v))
		}
	}
	next := math.Inf(1)
	for k, steps := range questionSteps {
		if n+steps > len(h.values) {
			break
		}
		from := n
		if k > 0 {
			from += questionSteps[k-1]
		}
		for _, v := range h.values[from : n+steps] {
			next = math.Min(next, scale.To(v))
		}
		for i, share := range questionShares {
			lower := h.criterion.Comparison.LowerIsBetter()
			target := best - gapOf(share, lower)
			t.questions = append(t.questions, question{
				said: t.law.ReachedWithin(target, steps), uncorrected: t.plain.ReachedWithin(target, steps),
				series: int32(series), share: uint8(i), steps: uint8(k), hit: next <= target, lower: lower,
			})
			if t.o.Peers {
				var said [len(peerNames)]float64
				peers(said[:], z, target, steps, t.o.Seed)
				t.peers = append(t.peers, said)
			}
		}
		low, mid, high := t.law.Band(steps)
		v, last := scale.To(h.values[n+steps-1]), scale.To(h.values[n-1])
		t.outcomes = append(t.outcomes, bandOutcome{
			in:      low <= v && v <= high,
			pinball: pinball(v, low, mid, high),
			naive:   pinball(v, last, last, last),
		})
	}
}

// gapOf is the distance on the scale of an improvement by a share.
func gapOf(share float64, lower bool) float64 {
	if lower {
		return -math.Log1p(-share)
	}
	return math.Log1p(share)
}

// pinball is the mean loss of the 10, 50 and 90 % points (Koenker and Bassett
// 1978), on the scale of relative gains, cut where one history would be all.
func pinball(v, low, mid, high float64) float64 {
	loss := func(p, x float64) float64 { return math.Min(math.Max(p*(v-x), (p-1)*(v-x)), 10) }
	return (loss(0.1, low) + loss(0.5, mid) + loss(0.9, high)) / 3
}

// baseRates are, for each question, the rate at which the same question
// came true in the other histories, each of which weighs the same.
func (t *tester) baseRates(series int) answers {
	type tally struct{ hits, n float64 }
	type tallies [len(questionShares)][len(questionSteps)]tally
	own := make([]tallies, series)
	for _, a := range t.questions {
		c := &own[a.series][a.share][a.steps]
		c.n++
		if a.hit {
			c.hits++
		}
	}
	var total tallies
	asked := 0
	for i := range own {
		if own[i][0][0].n > 0 { // whoever is asked anything is asked this
			asked++
		}
		for share := range questionShares {
			for steps := range questionSteps {
				if c, x := own[i][share][steps], &total[share][steps]; c.n > 0 {
					x.hits, x.n = x.hits+c.hits/c.n, x.n+1
				}
			}
		}
	}
	return func(i int) float64 {
		a := &t.questions[i]
		if asked == 1 {
			return t.learned.BaseRate(gapOf(questionShares[a.share], a.lower), questionSteps[a.steps])
		}
		c, x := own[a.series][a.share][a.steps], total[a.share][a.steps]
		return (x.hits - c.hits/c.n + 0.5) / (x.n - 1 + 1)
	}
}

// bands are the share of values inside their band, and the loss of the bands' points
// relative to repeating the last value; nil without any.
func (t *tester) bands() (coverage, loss *float64) {
	if len(t.outcomes) == 0 {
		return nil, nil
	}
	var in, pin, naive float64
	for _, x := range t.outcomes {
		if x.in {
			in++
		}
		pin += x.pinball
		naive += x.naive
	}
	if naive > 0 {
		loss = new(pin / naive)
	}
	return new(in / float64(len(t.outcomes))), loss
}

// score holds answers to what came true.
func (t *tester) score(said, base answers) (s Score, bins [10]Bin) {
	if len(t.questions) == 0 {
		return s, bins
	}
	s.Questions = len(t.questions)
	n := float64(s.Questions)
	reference := 0.0
	for i := range t.questions {
		y, p, b := 0.0, said(i), base(i)
		if t.questions[i].hit {
			y = 1
		}
		s.HitRate += y / n
		s.Brier += (p - y) * (p - y) / n
		reference += (b - y) * (b - y) / n
		s.LogLoss -= math.Log(math.Max(1e-4, math.Min(1-1e-4, 1-math.Abs(y-p)))) / n
		bin := &bins[min(9, int(p*10))]
		bin.Questions++
		bin.Said += p
		bin.True += y
	}
	if reference > 0 {
		s.Skill = 1 - s.Brier/reference
	}
	for i := range bins {
		b := &bins[i]
		s.CalibrationError += math.Abs(b.Said-b.True) / n
		if b.Questions > 0 {
			b.Said /= float64(b.Questions)
			b.True /= float64(b.Questions)
		}
	}
	return s, bins
}
