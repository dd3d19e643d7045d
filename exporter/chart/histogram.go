package chart

import (
	"fmt"
	"html/template"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/plancast/plancast/units"
)

// Histogram is how often a query took how long, as the page of a result shows it.
// The axis of times is logarithmic, as its buckets are.
type Histogram struct {
	ID    string // of its title and description in the page
	Title string
	// Buckets are counts: bucket i holds values up to Factor^i and above Factor^(i-1).
	Buckets map[int]int64
	Factor  float64
	Marks   []Mark // ascending
}

// Mark is a value that is pointed out, such as a percentile.
type Mark struct {
	Value float64
	Text  string
}

// mostBars is how many bars are drawn; neighboring buckets are put together.
const mostBars = 64

// bar is some neighboring buckets.
type bar struct {
	low, high float64
	count     int64
}

// bars puts buckets together, so that the picture shows the shape and not the grid.
func (h Histogram) bars() (out []bar, total int64) {
	keys := slices.Sorted(maps.Keys(h.Buckets))
	if len(keys) == 0 {
		return nil, 0
	}
	first, last := keys[0], keys[len(keys)-1]
	every := (last-first)/mostBars + 1
	out = make([]bar, (last-first)/every+1)
	for i := range out {
		from := first - 1 + i*every
		out[i].low, out[i].high = math.Pow(h.Factor, float64(from)), math.Pow(h.Factor, float64(from+every))
	}
	for _, k := range keys {
		out[(k-first)/every].count += h.Buckets[k]
		total += h.Buckets[k]
	}
	return out, total
}

// Empty reports whether there is nothing to draw.
func (h Histogram) Empty() bool {
	_, total := h.bars()
	return total == 0
}

// SVG draws the histogram for the page, whose style sheet colors it.
func (h Histogram) SVG() template.HTML {
	bars, total := h.bars()
	if total == 0 {
		return ""
	}
	var most int64
	for _, b := range bars {
		most = max(most, b.count)
	}
	y, shares := positive(0, float64(most)/float64(total), false, plotBottom, plotTop)
	least, largest := bars[0].low, bars[len(bars)-1].high
	x := axis{math.Log10(least), math.Log10(largest), plotLeft, plotRight, true}

	var out strings.Builder
	p := newPicture(&out)
	p.start("svg", "class", "chart", "viewBox", fmt.Sprintf("0 0 %d %d", historyWidth, historyHeight), "role", "img", "aria-labelledby", h.ID+"-t "+h.ID+"-d")
	p.text("title", h.Title, "id", h.ID+"-t")
	p.text("desc", h.description(total, least, largest), "id", h.ID+"-d")
	for _, t := range shares {
		p.element("line", "class", "grid", "x1", plotLeft, "x2", plotRight, "y1", y.at(t), "y2", y.at(t))
		p.text("text", units.Percent(t), "class", "tick", "x", plotLeft-7, "y", y.at(t), "dy", 4, "text-anchor", "end")
	}
	for _, b := range bars {
		if b.count == 0 {
			continue
		}
		left, top := x.at(b.low), y.at(float64(b.count)/float64(total))
		text := fmt.Sprintf("%s to %s: %s", units.Format(b.low, units.Seconds), units.Format(b.high, units.Seconds), queries(b.count))
		p.titled("rect", text, "class", "bin", "x", left+0.3, "y", top, "width", max(x.at(b.high)-left-0.6, 0.8), "height", plotBottom-top)
	}
	p.element("line", "class", "axis", "x1", plotLeft, "x2", plotRight, "y1", plotBottom, "y2", plotBottom)
	const ticks = 4
	for i := range ticks + 1 {
		t := math.Pow(10, x.from+(x.to-x.from)*float64(i)/ticks)
		anchor := "middle"
		if i == ticks {
			anchor = "end" // within the picture
		}
		p.text("text", units.Format(t, units.Seconds), "class", "tick", "x", x.at(t), "y", failLane+4, "text-anchor", anchor)
	}
	for i, m := range h.Marks {
		at := x.at(m.Value)
		p.element("line", "class", "target", "x1", at, "x2", at, "y1", plotTop-4, "y2", plotBottom)
		anchor, aside := "start", 4.0
		if at > (plotLeft+plotRight)/2 {
			anchor, aside = "end", -4
		}
		p.text("text", m.Text, "class", "target-text", "x", at+aside, "y", plotTop+8+13*float64(i), "text-anchor", anchor)
	}
	p.text("text", "latency (log)", "class", "axis-title", "x", (plotLeft+plotRight)/2, "y", axisText+6, "text-anchor", "middle")
	p.text("text", "share of the queries", "class", "axis-title", "x", 4, "y", 12)
	p.end("svg")
	_ = p.b.Flush() // a strings.Builder takes everything
	return template.HTML(out.String())
}

func queries(n int64) string {
	if n == 1 {
		return "1 query"
	}
	return units.Number(float64(n)) + " queries"
}

// description says in words what the picture shows.
func (h Histogram) description(total int64, least, largest float64) string {
	parts := []string{fmt.Sprintf("%s between %s and %s.", queries(total), units.Format(least, units.Seconds), units.Format(largest, units.Seconds))}
	for _, m := range h.Marks {
		parts = append(parts, m.Text+".")
	}
	return strings.Join(parts, " ")
}
