package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/units"
)

// The chart's geometry, in units of its view box.
const (
	chartWidth, chartHeight = 460, 250
	plotLeft, plotRight     = 66, 446
	plotTop, plotBottom     = 28, 186
	failLane                = 198 // failed iterations are marked below the plot
	axisText                = 218
	chartIterations         = 60 // the newest so many are drawn
)

// Chart is P99 over iterations, laid out for the page's template: every number
// is a coordinate, every string is for people.
type Chart struct {
	ID            string
	Title, Desc   string
	Width, Height int
	Left, Right   int
	Top, Bottom   int
	FailLane      int
	AxisText      int
	Log           bool
	YTicks        []tick
	XTicks        []tick
	Series        []chartSeries
	Targets       []chartTarget
	Failures      bool // at least one is marked
}

type tick struct {
	At   string
	Text string
}

type chartSeries struct {
	Precision engine.Precision
	Path      string // of the line; "" for a single point
	Points    []chartPoint
	Failed    []chartPoint
}

type chartPoint struct {
	X, Y, Mark, Text string
}

type chartTarget struct {
	Y, TextY, Text string
	Left           bool // the label stands on the left side
}

// newChart lays out the P99 of a model. It is nil when there is nothing to draw.
func newChart(m ModelView, id string) *Chart {
	first, last := math.MaxInt, 0
	low, high := math.Inf(1), math.Inf(-1)
	values := 0
	for _, h := range m.History {
		for _, p := range h.Points {
			last = max(last, p.Iteration)
		}
	}
	for _, h := range m.History {
		for _, p := range h.Points {
			if p.Iteration <= last-chartIterations {
				continue
			}
			first = min(first, p.Iteration)
			if p.P99 != nil && *p.P99 > 0 {
				low, high = min(low, *p.P99), max(high, *p.P99)
				values++
			}
		}
	}
	if values == 0 {
		return nil
	}
	newestLow, newestHigh := low, high
	targets := map[float64][]string{}
	for _, v := range m.Verdicts {
		if v.P99Target != nil && *v.P99Target > 0 {
			targets[*v.P99Target] = append(targets[*v.P99Target], v.Name)
			low, high = min(low, *v.P99Target), max(high, *v.P99Target)
		}
	}

	c := &Chart{
		ID: id, Width: chartWidth, Height: chartHeight, Left: plotLeft, Right: plotRight, Top: plotTop, Bottom: plotBottom,
		FailLane: failLane, AxisText: axisText, Log: high/low > 15,
	}
	y, ticks := scale(low, high, c.Log)
	for _, t := range ticks {
		c.YTicks = append(c.YTicks, tick{coord(y(t)), units.Format(t, units.Seconds)})
	}
	x := func(iteration int) float64 {
		if first == last {
			return (plotLeft + plotRight) / 2
		}
		const inset = 12
		return plotLeft + inset + float64(iteration-first)/float64(last-first)*(plotRight-plotLeft-2*inset)
	}
	step := max(1, int(math.Ceil(float64(last-first+1)/10)))
	for i := last; i >= first; i -= step {
		c.XTicks = append(c.XTicks, tick{coord(x(i)), strconv.Itoa(i)})
	}
	slices.Reverse(c.XTicks)

	for k, h := range m.History {
		s := chartSeries{Precision: h.Precision}
		var path strings.Builder
		pen := "M"
		for _, p := range h.Points {
			if p.Iteration < first {
				continue
			}
			px := x(p.Iteration)
			switch {
			case p.P99 != nil && *p.P99 > 0:
				py := y(*p.P99)
				fmt.Fprintf(&path, "%s%s %s", pen, coord(px), coord(py))
				pen = "L"
				s.Points = append(s.Points, chartPoint{
					coord(px), coord(py), marker(h.Precision, px, py),
					fmt.Sprintf("%s, iteration %d (version %s): %s", h.Precision, p.Iteration, p.Version, units.Format(*p.P99, units.Seconds)),
				})
			case p.Failure != "":
				pen = "M" // a line across a failure would claim a measurement
				fx := px + float64(k-len(m.History)/2)*9
				c.Failures = true
				s.Failed = append(s.Failed, chartPoint{
					coord(fx), coord(failLane), cross(fx, failLane),
					fmt.Sprintf("%s, iteration %d (version %s) failed: %s", h.Precision, p.Iteration, p.Version, kindTitle(p.Failure)),
				})
			}
		}
		if len(s.Points) > 1 {
			s.Path = path.String()
		}
		if len(s.Points)+len(s.Failed) > 0 {
			c.Series = append(c.Series, s)
		}
	}
	levels := make([]float64, 0, len(targets))
	for t := range targets {
		levels = append(levels, t)
	}
	slices.Sort(levels)
	for i, t := range levels {
		// A label stands above its line, on the left where latencies are still far
		// from it; below it when the next line is close
		// above, and on the other side when both neighbours are.
		ty := y(t)
		crowded := func(j int) bool { return j >= 0 && j < len(levels) && math.Abs(y(levels[j])-ty) < 18 }
		text, left := ty-5, true
		if crowded(i+1) || text < plotTop+6 {
			text = ty + 13
			left = !crowded(i - 1)
		}
		c.Targets = append(c.Targets, chartTarget{
			Y: coord(ty), TextY: coord(text), Left: left, Text: shorten(and(targets[t]), 40) + " " + units.Format(t, units.Seconds),
		})
	}

	c.Title = "P99 latency of " + m.Name + " over iterations"
	desc := []string{fmt.Sprintf("Iterations %d to %d; P99 between %s and %s.", first, last, units.Format(newestLow, units.Seconds), units.Format(newestHigh, units.Seconds))}
	for _, s := range c.Series {
		if n := len(s.Points); n > 0 {
			desc = append(desc, "Newest "+s.Points[n-1].Text+".")
		}
		if n := len(s.Failed); n > 0 {
			desc = append(desc, fmt.Sprintf("%s: %s failed.", s.Precision, units.Count(n, "iteration")))
		}
	}
	for _, t := range c.Targets {
		desc = append(desc, "Target "+t.Text+".")
	}
	if c.Log {
		desc = append(desc, "The axis is logarithmic.")
	}
	c.Desc = strings.Join(desc, " ")
	return c
}

// scale maps latencies onto the plot and chooses round ticks.
func scale(low, high float64, log bool) (y func(float64) float64, ticks []float64) {
	if log {
		a, b := math.Log10(low)-0.15, math.Log10(high)+0.05
		y = func(v float64) float64 { return plotBottom - (math.Log10(v)-a)/(b-a)*(plotBottom-plotTop) }
		for _, mantissas := range [][]float64{{1, 2, 5}, {1, 3}, {1}} {
			ticks = ticks[:0]
			for e := math.Floor(a); e <= math.Ceil(b); e++ {
				for _, m := range mantissas {
					if t := m * math.Pow(10, e); math.Log10(t) >= a && math.Log10(t) <= b {
						ticks = append(ticks, t)
					}
				}
			}
			if len(ticks) <= 7 {
				break
			}
		}
		return y, ticks
	}
	// From zero, so that a difference looks as large as it is.
	top := high * 1.12
	step := math.Pow(10, math.Floor(math.Log10(top/4)))
	for _, k := range []float64{1, 2, 2.5, 5, 10} {
		if top/(step*k) <= 5 {
			step *= k
			break
		}
	}
	y = func(v float64) float64 { return plotBottom - v/top*(plotBottom-plotTop) }
	for i := 0; float64(i)*step <= top; i++ {
		ticks = append(ticks, float64(i)*step)
	}
	return y, ticks
}

// marker draws a precision's own shape around a point, so that colour is not
// the only difference: circle, square, triangle.
func marker(p engine.Precision, x, y float64) string {
	const r = 4.2
	switch p {
	case engine.FP16:
		return fmt.Sprintf("M%s %sh%sv%sh-%sz", coord(x-r+.4), coord(y-r+.4), coord(2*r-.8), coord(2*r-.8), coord(2*r-.8))
	case engine.INT8:
		return fmt.Sprintf("M%s %sL%s %sL%s %sz", coord(x), coord(y-r-.8), coord(x+r+.6), coord(y+r-.4), coord(x-r-.6), coord(y+r-.4))
	}
	return fmt.Sprintf("M%s %sa%s %s 0 1 0 %s 0a%s %s 0 1 0 -%s 0z", coord(x-r), coord(y), coord(r), coord(r), coord(2*r), coord(r), coord(r), coord(2*r))
}

func cross(x, y float64) string {
	const r = 3.4
	return fmt.Sprintf("M%s %sL%s %sM%s %sL%s %s", coord(x-r), coord(y-r), coord(x+r), coord(y+r), coord(x-r), coord(y+r), coord(x+r), coord(y-r))
}

// coord writes a coordinate with one decimal; finer steps cannot be seen.
func coord(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

func shorten(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
