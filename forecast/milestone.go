package forecast

import (
	"cmp"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plancast/plancast/forecast/internal/law"
)

// JointGoal is a goal that several series have to reach together: a model is
// ready once one iteration of it has met all its criteria, the milestone once
// Share of the models are.
type JointGoal struct {
	Name   string
	Series []Series
	// Share of the models that have to be ready, a ratio; 0 is all of them.
	Share float64
	Goal  Goal
}

const defaultFutures = 2000

// Needed is how many of n models have to be ready for a share of them, a ratio;
// 0 is all. 0.8 of 5 models is 4 of them, whatever 0.8*5 is in binary.
func Needed(share float64, n int) int {
	return min(n, max(1, int(math.Ceil(cmp.Or(share, 1)*float64(n)-1e-9))))
}

// Joint forecasts a milestone as seen at now. Futures are simulated: in each,
// every model becomes ready at an iteration drawn from its curve of
// probabilities, and the ready models are counted. The curve of a model with
// one criterion is that of its series; with several, all have to be met by the
// same iteration (see model). Models lean on a shared component, so that they
// may be early or late together; how strongly is estimated from the gains their
// series made at the same times, and drawn towards a documented prior while
// there are few.
//
// A model is taken to stay ready. Draws are the same for every horizon,
// deadline and target, so a milestone obeys the same laws as one series. A
// milestone of one series is exactly Single.
func Joint(m JointGoal, now time.Time, o Options) (Forecast, error) {
	fail := func(err error) (Forecast, error) { return Forecast{}, fmt.Errorf("milestone %s: %w", m.Name, err) }
	if len(m.Series) == 0 {
		return fail(fmt.Errorf("%w: it has no series", ErrGoal))
	}
	if math.IsNaN(m.Share) || m.Share < 0 || m.Share > 1 {
		return fail(fmt.Errorf("%w: share of models %v, want 0 to 1", ErrGoal, m.Share))
	}
	criteria := map[string]int{} // of each model
	for _, s := range m.Series {
		criteria[s.Model]++
	}
	outlooks := make([]*outlook, len(m.Series))
	errs := make([]error, len(m.Series))
	shown := siblings(m.Series, now, o)
	spread(len(m.Series), func(i int) {
		d := workspaces.Get().(*workspace)
		defer workspaces.Put(d)
		l, la := &outlook{curve: d.outlook.curve, lower: d.outlook.lower, upper: d.outlook.upper}, &d.law
		if criteria[m.Series[i].Model] > 1 {
			la = &law.Law{}
		}
		if errs[i] = l.fill(m.Series[i], m.Goal, now, o, shown[i], &d.engine, la); la == &d.law {
			l.law = nil // only criteria that have to be met together ask it again
		}
		l.keep(&d.outlook)
		outlooks[i] = l
	})
	for i, err := range errs {
		if err != nil {
			return fail(fmt.Errorf("%s: %w", m.Series[i].Model, err))
		}
	}
	j := newJoint(m, outlooks)
	var f Forecast
	if len(outlooks) == 1 {
		f = outlooks[0].forecast
	} else {
		f = j.forecast(m, now, o)
	}
	for i, s := range m.Series {
		f.Parts = append(f.Parts, Part{s.Model, s.Criterion, outlooks[i].forecast})
	}
	slices.SortStableFunc(f.Parts, func(a, b Part) int { return cmp.Compare(a.Forecast.chance(), b.Forecast.chance()) })
	return f, nil
}

// spread calls f for 0 to n-1 on all cores. Each call has a result of its own,
// so their order changes nothing.
func spread(n int, f func(int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	wg.Wait()
}

// chance orders forecasts by what holds back most; nothing known comes first.
func (f *Forecast) chance() float64 {
	switch {
	case f.Met:
		return 2
	case f.Probability == nil:
		return -1
	}
	return f.Probability.Value
}
