package forecast

import (
	"math"
	"slices"
	"time"

	"github.com/plancast/plancast/forecast/internal/law"
)

// model is one model of a milestone: the criteria that one and the same
// iteration of it has to meet.
//
// Its curve is the least of the curves of its criteria, none of which can be
// met later than all, and of law.Together: the chance that they are met at
// once. Criteria that were met one after the other but never together (faster,
// but less accurate) are as far from ready as the iteration that came nearest.
// All parts keep the laws of one series, and so does the least of them.
type model struct {
	name     string
	series   []int // in the milestone
	outlooks []*outlook
	met      bool          // by the newest iteration
	apart    bool          // every criterion was met at some time, but never all at once
	curve    curve         // nil when nothing is known of a criterion
	ends     [curves]shift // of the curve: itself, and the ends of the interval
}

// The curves of a model: its probability, and the ends of the interval.
const (
	middle = iota
	lower
	upper
	curves
)

// endsOf are the shifts of a curve whose interval reaches as far as doubt, in log odds.
func endsOf(doubt float64) [curves]shift {
	return [curves]shift{middle: unshifted, lower: shiftBy(-doubt), upper: shiftBy(doubt)}
}

// certain reports whether the model is ready in every future.
func (m *model) certain() bool { return len(m.curve) > 0 && m.curve[0] >= 1 }

func (m *model) combine() {
	if len(m.outlooks) == 1 {
		l := m.outlooks[0]
		m.met, m.curve, m.ends = l.forecast.Met, l.curve, endsOf(l.doubt)
		return
	}
	steps, doubt := math.MaxInt, 0.0
	m.met = true
	for _, l := range m.outlooks {
		m.met = m.met && l.forecast.Met
		if len(l.curve) == 0 {
			return
		}
		steps = min(steps, len(l.curve))
		doubt = max(doubt, l.doubt)
	}
	gap, n, newest := m.nearest()
	m.met = m.met && newest
	if together, shared := m.together(); shared {
		m.met = together
	}
	m.curve = make(curve, steps)
	if m.met {
		for i := range m.curve {
			m.curve[i] = 1
		}
	} else {
		criteria := make([]law.Criterion, len(m.outlooks))
		m.apart = gap > 0
		for i, l := range m.outlooks {
			criteria[i] = law.Criterion{Law: l.law, X: l.target}
			m.apart = m.apart && l.law.Best() <= l.target
		}
		law.Together(criteria, gap, n, m.curve[1:])
		for i, p := range m.curve {
			for _, l := range m.outlooks {
				p = min(p, l.curve[i])
			}
			m.curve[i] = p
		}
	}
	m.ends = endsOf(doubt)
}

// together reports whether the newest iteration that decides meets all criteria:
// one with a valid result for each, or with one that misses. shared is false
// where the series do not have their newest result at the same times, so that
// criteria can only be taken one by one.
func (m *model) together() (met, shared bool) {
	var newest time.Time
	for _, l := range m.outlooks {
		h := &l.history
		for i := len(h.times) - 1; i >= 0; i-- {
			if h.valid[i] {
				if h.times[i].After(newest) {
					newest = h.times[i]
				}
				break
			}
		}
	}
	at := make([]int, len(m.outlooks))
	for k, l := range m.outlooks {
		i, ok := slices.BinarySearchFunc(l.history.times, newest, time.Time.Compare)
		if !ok {
			return false, false
		}
		at[k] = i
	}
	for least := slices.Min(at); least >= 0; least-- {
		missed, whole := false, true
		t := m.outlooks[0].history.times[at[0]]
		for k, l := range m.outlooks {
			h := &l.history
			if !h.times[at[k]].Equal(t) {
				return false, false
			}
			whole = whole && h.valid[at[k]]
			missed = missed || h.valid[at[k]] && !h.criterion.Met(h.values[at[k]])
			at[k]--
		}
		if missed || whole {
			return !missed, true
		}
	}
	return false, true
}

// nearest looks at the iterations that have a valid result for every criterion:
// how far the nearest of them was from meeting all, as a gain on the scale, how
// many there are, and whether the newest met all. Where no iteration has all,
// the criteria are taken one by one.
func (m *model) nearest() (gap float64, n int, newest bool) {
	gap, newest = math.Inf(1), true
	at := make([]int, len(m.outlooks))
	first := &m.outlooks[0].history
	for i, t := range first.times {
		worst, whole, met := math.Inf(-1), true, true
		for k, l := range m.outlooks {
			h := &l.history
			for at[k] < len(h.times) && h.times[at[k]].Before(t) {
				at[k]++
			}
			if k == 0 {
				at[k] = i
			}
			if whole = at[k] < len(h.times) && h.times[at[k]].Equal(t) && h.valid[at[k]]; !whole {
				break
			}
			worst = max(worst, h.z[at[k]]-l.target)
			met = met && h.criterion.Met(h.values[at[k]])
		}
		if met {
			worst = 0
		}
		if whole {
			n++
			gap = min(gap, max(worst, 0))
			newest = met
		}
	}
	if n > 0 {
		return gap, n, newest
	}
	gap, n = 0, math.MaxInt
	for _, l := range m.outlooks {
		gap = max(gap, l.law.Best()-l.target)
		n = min(n, len(l.history.values))
	}
	return gap, n, true
}
