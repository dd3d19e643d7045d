package forecast

import (
	"math"
	"time"

	"gonum.org/v1/gonum/stat/distuv"
)

// cadence turns iterations into dates and back. Iterations come at a rate per
// unit of working time; how much working time a day of the week holds is
// learned from the history, so that weekends and other idle days stretch the
// calendar and not the count. All days are days of UTC.
type cadence struct {
	known   bool
	rate    float64    // iterations per second of working time
	spread  float64    // squared coefficient of variation of the gaps
	count   float64    // gaps the rate was learned from
	weekday [7]float64 // working seconds in a second of Sunday, Monday, ...
	gap     time.Duration
	paused  bool
}

const (
	cadenceGaps  = 20              // the newest gaps that the rate is learned from
	cadenceSpan  = 24 * time.Hour  // of results before their times show a pace
	cadenceDays  = 14              // days of history before days of the week are distinguished
	cadenceNodes = 9               // equally likely paces in a sum over them
	defaultPace  = 24 * time.Hour  // between iterations, before two are known
	week         = 7 * 24 * 3600.0 // seconds
	day          = 24 * 3600.0
	farthest     = 200 * 365 * day // that can be foreseen
)

// nodes are the normal quantiles of the paces: midpoints of equal shares.
var nodes = func() (z [cadenceNodes]float64) {
	for j := range z {
		z[j] = distuv.UnitNormal.Quantile((float64(j) + 0.5) / cadenceNodes)
	}
	return z
}()

// newCadence learns from the distinct times of iterations, in order, as seen
// at now.
func newCadence(times []time.Time, now time.Time) cadence {
	c := cadence{rate: 1 / defaultPace.Seconds(), spread: 1, count: 1, gap: defaultPace}
	for i := range c.weekday {
		c.weekday[i] = 1
	}
	// Results that all came within a day were measured in one go, such as a
	// backlog: their times do not show how often candidates come.
	if len(times) < 2 || times[len(times)-1].Sub(times[0]) < cadenceSpan {
		return c
	}
	c.known = true
	if span := times[len(times)-1].Sub(times[0]).Hours() / 24; span >= cadenceDays && len(times) >= 10 {
		var counts [7]float64
		for _, t := range times {
			counts[t.UTC().Weekday()]++
		}
		for i, n := range counts { // one iteration each before any is seen
			c.weekday[i] = (n + 1) / (float64(len(times))/7 + 1)
		}
	}
	from := max(0, len(times)-1-cadenceGaps)
	var sum, square, n float64
	for i := from + 1; i < len(times); i++ {
		g := c.working(times[i-1], times[i])
		sum += g
		square += g * g
		n++
	}
	mean := max(sum/n, 1e-3)
	c.spread = min(max(square/n/(mean*mean)-1, 0.05), 1)
	c.count = n
	c.gap = time.Duration(min(times[len(times)-1].Sub(times[from]).Seconds()/n, 1e9) * 1e9)
	// The gap that is still open says something once it is longer than usual.
	open := c.working(times[len(times)-1], now)
	c.paused = open > 5*mean && open > day
	c.rate = n / (mean*n + max(0, open-mean))
	return c
}

// working returns the working seconds between two moments, 0 when b is not
// after a.
func (c *cadence) working(a, b time.Time) float64 {
	if !b.After(a) {
		return 0
	}
	return c.since(b) - c.since(a)
}

// since returns the working seconds since a Thursday long ago (the Unix epoch).
func (c *cadence) since(t time.Time) float64 {
	s := float64(t.Unix()) + float64(t.Nanosecond())/1e9
	weeks := math.Floor(s / week)
	rest := s - weeks*week
	w := weeks * week // the weights of the week sum to 7
	for d := 0; rest > 0; d++ {
		w += min(rest, day) * c.weekday[(int(time.Thursday)+d)%7]
		rest -= day
	}
	return w
}

// after returns the moment at which work seconds have passed since t. Moments
// centuries away are cut there.
func (c *cadence) after(t time.Time, work float64) time.Time {
	work = min(work, farthest)
	goal := c.since(t) + work
	weeks := math.Floor(goal / week)
	rest := goal - weeks*week
	s := weeks * week
	for d := 0; d < 7; d++ {
		w := c.weekday[(int(time.Thursday)+d)%7]
		if rest <= day*w {
			s += rest / w
			break
		}
		rest -= day * w
		s += day
	}
	whole, frac := math.Modf(s)
	return time.Unix(int64(whole), int64(frac*1e9)).UTC()
}

// paces returns how many iterations come while x are expected, at each node of the
// normal quantile: the rate is uncertain and so is the count. It grows with x for
// quantiles up to 2. The nodes are symmetric around 0.
func (c *cadence) paces(x float64) (n [cadenceNodes]float64) {
	s := math.Sqrt(c.spread/c.count + 0.01 + c.spread/max(x, 1))
	n[cadenceNodes/2] = x
	for j := range cadenceNodes / 2 {
		f := math.Exp(nodes[j] * s)
		n[j], n[cadenceNodes-1-j] = x*f, x/f
	}
	return n
}

// expect returns how many iterations are expected until deadline.
func (c *cadence) expect(now, deadline time.Time) float64 {
	return c.rate * c.working(now, deadline)
}

// date returns the moment by which x iterations are expected.
func (c *cadence) date(now time.Time, x float64) time.Time { return c.after(now, x/c.rate) }
