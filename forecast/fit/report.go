package main

import (
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/plancast/plancast/forecast/internal/law"
)

// tally scores the answers to some questions.
type tally struct {
	n, brier, base        float64
	bins                  [10][3]float64
	in, bands, pin, naive float64
	brierByLength         [5][2]float64
}

var lengths = []struct {
	name string
	upTo int
}{{"4-7", 7}, {"8-15", 15}, {"16-31", 31}, {"32-99", 99}, {"100+", math.MaxInt}}

// report prints, for each population, alone and with siblings, the score of
// coefficients that may depend on the repository.
func (s *sample) report(w io.Writer, name string, rates []func(string, *question) float64, of func(repo string) *law.Coefficients) {
	for p, rate := range rates {
		part := s.of(p)
		for _, siblings := range []bool{false, true} {
			t := part.score(rate, of, siblings)
			fmt.Fprintf(w, "%s, population %d, siblings %v: %.0f questions, skill %+.4f, calibration error %.4f, 80%% interval covers %.3f, pinball/naive %.3f\n ",
				name, p, siblings, t.n, 1-t.brier/t.base, t.calibration(), t.in/t.bands, t.pin/t.naive)
			for k, l := range lengths {
				fmt.Fprintf(w, "  %s: %+.3f", l.name, 1-t.brierByLength[k][0]/t.brierByLength[k][1])
			}
			fmt.Fprintln(w)
		}
	}
	s.reportShifts(w, of)
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
			b, base := weight*(v-y)*(v-y), weight*(r-y)*(r-y)
			t.brier += b
			t.base += base
			t.brierByLength[k][0] += b
			t.brierByLength[k][1] += base
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
