package law

import "math"

// Tally counts, over the resolved questions of one or more series, how many
// gains came and how many the record law expected.
type Tally struct {
	Came, Expected float64
	Series         int
}

// The questions asked of every past step: did it improve the best so far by
// this much? Each is answered in shares, as in Work.
var tallied = [3]float64{0.05, 0.10, 0.20}

const (
	tallyFrom  = 2   // results before the first question
	tallyLeast = 4   // results of a series that counts
	tallyMass  = 2.0 // expected gains that a tally is drawn towards none with
	tallyBound = 1.0 // of what it can say, in log hazard
)

// Tallies returns what was resolved after each result: only what had been seen
// by then, so the entry for a moment never knows what came after it.
func (e *History) Tallies(c *Coefficients, out []Tally) []Tally {
	out = out[:0]
	var t Tally
	var gaps [len(tallied)]float64
	for k, g := range tallied {
		gaps[k] = c.Record.gap(g, math.Log(g+gapFloor))
	}
	spread, due := typical, 0
	for i, z := range e.z {
		if i >= tallyFrom {
			if i >= due { // a spread hardly changes from one result to the next
				spread, due = e.ranges(i-1), i+1+i/16
			}
			a := max(e.best[i-1]-z, 0)
			start := c.Record.start(i, spread)
			for k, g := range tallied {
				t.Came += a * a / (a*a + g*g)
				t.Expected += min(1, math.Exp(start+gaps[k]))
			}
		}
		t.Series = one(i+1 >= tallyLeast)
		out = append(out, t)
	}
	return out
}

// Add sums up tallies; series with too few results say nothing.
func (t *Tally) Add(s Tally) {
	if s.Series > 0 {
		t.Came += s.Came
		t.Expected += s.Expected
		t.Series += s.Series
	}
}

// Less is t without s, which was added before.
func (t Tally) Less(s Tally) Tally {
	if s.Series > 0 {
		t.Came -= s.Came
		t.Expected -= s.Expected
		t.Series -= s.Series
	}
	return t
}

// Shift is what a tally adds to the log hazard: 0 without series, drawn towards
// 0 while little is resolved, and bounded. Series of one project move together,
// so k of them count as the root of k.
func (t Tally) Shift() float64 {
	if t.Series == 0 {
		return 0
	}
	k := math.Sqrt(float64(t.Series))
	s := math.Log((t.Came/k + tallyMass) / (t.Expected/k + tallyMass))
	return min(max(s, -tallyBound), tallyBound)
}
