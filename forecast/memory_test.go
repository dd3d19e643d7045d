package forecast

import (
	"runtime"
	"testing"
)

// A fleet's milestone has thousands of models, here with two criteria each. All that is
// allocated counts, whether it is kept or not.
func TestAFurtherModelOfAMilestoneTakesLittleMemory(t *testing.T) {
	const fewer, more = 100, 300
	prepared := func(n int) JointGoal {
		m := fleet(n, 50, 7)
		for i := range m.Series {
			m.Series[i] = m.Series[i].Prepared()
			m.Series[i].Observations = nil
		}
		return m
	}
	few, many := prepared(fewer), prepared(more)
	for _, c := range []struct {
		name string
		most int // bytes
		f    func(JointGoal)
	}{
		{"a forecast", 55_000, func(m JointGoal) {
			if _, err := Joint(m, after(50), Options{}); err != nil {
				t.Fatal(err)
			}
		}},
		{"a back-test", 70_000, func(m JointGoal) { Backtest(m.Series, BacktestOptions{}) }},
	} {
		if raceDetector {
			c.most += c.most / 2
		}
		c.f(many) // pools fill
		if got := (allocated(func() { c.f(many) }) - allocated(func() { c.f(few) })) / (more - fewer); got > c.most {
			t.Errorf("%s takes %d bytes for a further model, more than %d", c.name, got, c.most)
		}
	}
}

// allocated is how many bytes f allocates.
func allocated(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}
