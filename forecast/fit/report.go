package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/plancast/plancast/forecast/internal/law"
)

// tally scores the answers to some questions.
type tally struct {
	n                     float64
	all                   losses
	byLength              [5]losses
	bySource              map[string]losses
	bins                  [10][3]float64
	in, bands, pin, naive float64
}

// losses are sums of squared errors: of the forecast, and of the base rate.
type losses struct{ own, base float64 }

func (l losses) plus(m losses) losses { return losses{l.own + m.own, l.base + m.base} }

func (l losses) skill() float64 { return 1 - l.own/l.base }

var lengths = []struct {
	name string
	upTo int
}{{"4-7", 7}, {"8-15", 15}, {"16-31", 31}, {"32-99", 99}, {"100+", math.MaxInt}}

// report prints, for each population, alone and with siblings, the score of
// coefficients that may depend on the repository.
func report(w io.Writer, name string, populations []*sample, of func(repo string) *law.Coefficients) {
	for p, part := range populations {
		rate := baseRate(part)
		for _, siblings := range []bool{false, true} {
			t := part.score(rate, of, siblings)
			low, high := t.interval()
			fmt.Fprintf(w, "%s, population %d, siblings %v: %.0f questions, skill %+.4f [%+.3f, %+.3f], calibration error %.4f, 80%% interval covers %.3f, pinball/naive %.3f\n ",
				name, p, siblings, t.n, t.all.skill(), low, high, t.calibration(), t.in/t.bands, t.pin/t.naive)
			for k, l := range lengths {
				if t.byLength[k].base > 0 {
					fmt.Fprintf(w, "  %s: %+.3f", l.name, t.byLength[k].skill())
				}
			}
			fmt.Fprintln(w)
		}
	}
}

// mostAsked is how many questions of one history of a large population count,
// as in the walk-forward score, which draws 6,000 of them in turn.
const mostQuestions = 31.5

func (s *sample) score(rate func(string, *question) float64, of func(string) *law.Coefficients, siblings bool) (t tally) {
	questions := map[int]float64{}
	for _, c := range s.cuts {
		questions[c.series] += float64(len(c.questions))
	}
	large := len(questions) > 100
	t.bySource = map[string]losses{}
	var l law.Law
	for _, c := range s.cuts {
		var around law.Context
		if siblings {
			around.Shift = c.siblings.Shift()
		}
		weight := 1.0
		if large {
			weight = min(1, mostQuestions/questions[c.series])
		}
		c.history.Law(of(c.repo), around, slices.Max(steps), &l)
		k := 0
		for c.n > lengths[k].upTo {
			k++
		}
		for j := range c.questions {
			q := &c.questions[j]
			v, y, r := l.ReachedWithin(q.target, q.steps), 0.0, rate(c.repo, q)
			if q.hit {
				y = 1
			}
			t.n++
			of := losses{weight * (v - y) * (v - y), weight * (r - y) * (r - y)}
			t.all, t.byLength[k], t.bySource[c.repo] = t.all.plus(of), t.byLength[k].plus(of), t.bySource[c.repo].plus(of)
			bin := &t.bins[min(9, int(v*10))]
			bin[0] += weight
			bin[1] += weight * v
			bin[2] += weight * y
		}
		for j := range c.ahead {
			a := &c.ahead[j]
			lo, m, hi := l.Band(a.steps)
			z := c.scale.To(a.last)
			t.pin += weight * pinball(c.scale, a, [3]float64{lo, m, hi}, c.lower)
			t.naive += weight * pinball(c.scale, a, [3]float64{z, z, z}, c.lower)
			if lo <= a.z && a.z <= hi {
				t.in += weight
			}
			t.bands += weight
		}
	}
	return t
}

// interval is the 95 % interval of the skill over sources (bootstrap).
func (t *tally) interval() (low, high float64) {
	const draws = 1000
	rng := rand.New(rand.NewPCG(1, draws))
	names := slices.Sorted(maps.Keys(t.bySource))
	skills := make([]float64, draws)
	for i := range skills {
		var drawn losses
		for range names {
			drawn = drawn.plus(t.bySource[names[rng.IntN(len(names))]])
		}
		skills[i] = drawn.skill()
	}
	slices.Sort(skills)
	return skills[draws/40], skills[draws-1-draws/40]
}

func (t *tally) calibration() float64 {
	sum, n := 0.0, 0.0
	for _, b := range t.bins {
		sum += math.Abs(b[1] - b[2])
		n += b[0]
	}
	return sum / n
}

// reportShifts says how much the log odds of whole repositories differ from the
// forecast: what the credible interval is made of.
func (s *sample) reportShifts(w io.Writer, of func(string) *law.Coefficients) {
	rows := map[string][][2]float64{}
	var l law.Law
	for _, c := range s.cuts {
		c.history.Law(of(c.repo), law.Context{}, slices.Max(steps), &l)
		for j := range c.questions {
			q := &c.questions[j]
			v, y := l.ReachedWithin(q.target, q.steps), 0.0
			if q.hit {
				y = 1
			}
			rows[c.repo] = append(rows[c.repo], [2]float64{math.Log(v / (1 - v)), y})
		}
	}
	sum, square := 0.0, 0.0
	for _, r := range s.repos {
		d := shift(rows[r])
		sum += d
		square += d * d
	}
	m := float64(len(s.repos))
	fmt.Fprintf(w, "log odds of a repository differ from the forecast by %.2f on average, standard deviation %.2f\n", sum/m, math.Sqrt(square/m-sum/m*sum/m))
}

// shift is the constant that, added to the log odds, fits the outcomes best;
// a weak normal prior keeps it finite where nothing was ever hit.
func shift(rows [][2]float64) float64 {
	d := 0.0
	for range 50 {
		grad, curve := -d/4, 1.0/4
		for _, r := range rows {
			p := 1 / (1 + math.Exp(-r[0]-d))
			grad += r[1] - p
			curve += p * (1 - p)
		}
		d += grad / curve
	}
	return d
}
