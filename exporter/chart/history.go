package chart

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/plancast/plancast/units"
)

// History is a figure of a model over its iterations, as the report's page shows
// it. Values are positive; their axis is logarithmic where they differ much.
type History struct {
	ID      string // of its title and description in the page
	Title   string
	YTitle  string // of the axis of values
	Unit    units.Unit
	Series  []Series
	Targets []Target // at different values
}

// Series is one line of a history, with a shape and a CSS class of its own.
type Series struct {
	Name   string // also its class
	Shape  Shape
	Points []Point // in order of iterations
}

// Point is what an iteration gave: a value, a failure or neither.
type Point struct {
	Iteration int
	Value     float64 // 0 when there is none
	Failed    bool
	Text      string // what a tooltip says
}

// Drawn reports whether there is anything to draw of it.
func (s Series) Drawn() bool {
	return slices.ContainsFunc(s.Points, func(p Point) bool { return p.Value > 0 || p.Failed })
}

// Target is a line that values have to stay below, or reach.
type Target struct {
	Value float64
	Text  string
}

// The geometry of a history, in units of its view box.
const (
	historyWidth, historyHeight = 460, 250
	plotLeft, plotRight         = 66.0, 446.0
	plotTop, plotBottom         = 28.0, 186.0
	failLane                    = 198.0 // failed iterations are marked below the plot
	axisText                    = 218.0
)

// Empty reports whether there is nothing to draw.
func (h History) Empty() bool {
	return !slices.ContainsFunc(h.Series, func(s Series) bool { return slices.ContainsFunc(s.Points, func(p Point) bool { return p.Value > 0 }) })
}

// Failures reports whether a failure is marked.
func (h History) Failures() bool {
	return slices.ContainsFunc(h.Series, func(s Series) bool { return slices.ContainsFunc(s.Points, func(p Point) bool { return p.Failed }) })
}

// span is the range of iterations, and those of values with and without targets.
func (h History) span() (first, last int, least, most, low, high float64) {
	first, least, most = math.MaxInt, math.Inf(1), math.Inf(-1)
	for _, s := range h.Series {
		for _, p := range s.Points {
			first, last = min(first, p.Iteration), max(last, p.Iteration)
			if p.Value > 0 {
				least, most = min(least, p.Value), max(most, p.Value)
			}
		}
	}
	low, high = least, most
	for _, t := range h.Targets {
		low, high = min(low, t.Value), max(high, t.Value)
	}
	return first, last, least, most, low, high
}

// SVG draws the history for the page, whose style sheet colors it.
func (h History) SVG() template.HTML {
	if h.Empty() {
		return ""
	}
	first, last, _, _, low, high := h.span()
	log := high/low > 15
	y, ticks := positive(low, high, log, plotBottom, plotTop)
	const inset = 12
	x := axis{from: float64(first), to: float64(last), low: plotLeft + inset, high: plotRight - inset}

	var out strings.Builder
	p := newPicture(&out)
	p.start("svg", "class", "chart", "viewBox", fmt.Sprintf("0 0 %d %d", historyWidth, historyHeight), "role", "img", "aria-labelledby", h.ID+"-t "+h.ID+"-d")
	p.text("title", h.Title, "id", h.ID+"-t")
	p.text("desc", h.description(log), "id", h.ID+"-d")
	for _, t := range ticks {
		p.element("line", "class", "grid", "x1", plotLeft, "x2", plotRight, "y1", y.at(t), "y2", y.at(t))
		p.text("text", units.Format(t, h.Unit), "class", "tick", "x", plotLeft-7, "y", y.at(t), "dy", 4, "text-anchor", "end")
	}
	step := max(1, int(math.Ceil(float64(last-first+1)/10)))
	for i := last - (last-first)/step*step; i <= last; i += step {
		p.text("text", strconv.Itoa(i), "class", "tick", "x", x.at(float64(i)), "y", axisText, "text-anchor", "middle")
	}
	p.element("line", "class", "axis", "x1", plotLeft, "x2", plotRight, "y1", plotBottom, "y2", plotBottom)
	p.text("text", "iteration", "class", "axis-title", "x", (plotLeft+plotRight)/2, "y", axisText+20, "text-anchor", "middle")
	title := h.YTitle
	if log {
		title += " (log)"
	}
	p.text("text", title, "class", "axis-title", "x", 4, "y", 12)
	for _, t := range h.Targets {
		p.element("line", "class", "target", "x1", plotLeft, "x2", plotRight, "y1", y.at(t.Value), "y2", y.at(t.Value))
	}
	for k, s := range h.Series {
		s.draw(p, x, y, float64(k-len(h.Series)/2)*9)
	}
	h.labels(p, y)
	p.end("svg")
	_ = p.b.Flush() // a strings.Builder takes everything
	return template.HTML(out.String())
}

// draw draws a series; aside is how far its failures stand from their iteration,
// so that those of several series do not hide each other.
func (s Series) draw(p picture, x, y axis, aside float64) {
	p.start("g", "class", "series "+s.Name)
	var path strings.Builder
	pen, measured := "M", 0
	for _, q := range s.Points {
		switch {
		case q.Value > 0:
			fmt.Fprintf(&path, "%s%s %s", pen, Coord(x.at(float64(q.Iteration))), Coord(y.at(q.Value)))
			pen = "L"
			measured++
		case q.Failed:
			pen = "M" // a line across a failure would claim a measurement
		}
	}
	if measured > 1 {
		p.element("path", "class", "line", "d", path.String())
	}
	for _, q := range s.Points {
		at := x.at(float64(q.Iteration))
		switch {
		case q.Value > 0:
			p.titled("path", q.Text, "class", "point", "d", s.Shape.Path(at, y.at(q.Value)))
		case q.Failed:
			p.titled("path", q.Text, "class", "fail", "d", Cross.Path(at+aside, failLane))
		}
	}
	p.end("g")
}

// labels names the targets. A label stands above its line, on the left where
// latencies are still far from it; below it when the next line is close above,
// and on the other side when both neighbors are.
func (h History) labels(p picture, y axis) {
	targets := slices.SortedFunc(slices.Values(h.Targets), func(a, b Target) int {
		if a.Value < b.Value {
			return -1
		}
		return 1
	})
	for i, t := range targets {
		at := y.at(t.Value)
		crowded := func(j int) bool {
			return j >= 0 && j < len(targets) && math.Abs(y.at(targets[j].Value)-at) < 18
		}
		text, left := at-5, true
		if crowded(i+1) || text < plotTop+6 {
			text = at + 13
			left = !crowded(i - 1)
		}
		if left {
			p.text("text", t.Text, "class", "target-text", "x", plotLeft+4, "y", text)
		} else {
			p.text("text", t.Text, "class", "target-text", "x", plotRight-2, "y", text, "text-anchor", "end")
		}
	}
}

// description says in words what the picture shows.
func (h History) description(log bool) string {
	first, last, least, most, _, _ := h.span()
	parts := []string{fmt.Sprintf("Iterations %d to %d; %s between %s and %s.", first, last, strings.TrimSuffix(h.YTitle, " latency"), units.Format(least, h.Unit), units.Format(most, h.Unit))}
	for _, s := range h.Series {
		newest, failed := "", 0
		for _, p := range s.Points {
			if p.Value > 0 {
				newest = p.Text
			}
			if p.Failed {
				failed++
			}
		}
		if newest != "" {
			parts = append(parts, "Newest "+newest+".")
		}
		if failed > 0 {
			parts = append(parts, fmt.Sprintf("%s: %s failed.", s.Name, units.Count(failed, "iteration")))
		}
	}
	for _, t := range h.Targets {
		parts = append(parts, "Target "+t.Text+".")
	}
	if log {
		parts = append(parts, "The axis is logarithmic.")
	}
	return strings.Join(parts, " ")
}
