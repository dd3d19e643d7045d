package chart

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/units"
)

// The colors of the pictures: readable on white and on black, distinct
// without color by shape and place.
const svgStyle = `<style>
.bg{fill:#fff}.ink{fill:#1f2328;font:12px system-ui,sans-serif}.faint{stroke:#8c959f;stroke-opacity:.35}
.band{fill:#0969da;fill-opacity:.18}.mid{stroke:#0969da;fill:none;stroke-width:2;stroke-dasharray:5 3}
.line{stroke:#57606a;fill:none;stroke-width:1.5}.dot{fill:#57606a}.miss{stroke:#cf222e;stroke-width:1.5}
.target{stroke:#1a7f37;stroke-width:1.5}.due{stroke:#bc4c00;stroke-width:1.5;stroke-dasharray:2 3}
@media(prefers-color-scheme:dark){.bg{fill:#0d1117}.ink{fill:#e6edf3}.line{stroke:#9198a1}.dot{fill:#9198a1}
.band{fill:#4493f8;fill-opacity:.25}.mid{stroke:#4493f8}.target{stroke:#3fb950}.due{stroke:#f0883e}.miss{stroke:#f85149}}
</style>
`

const (
	svgWidth, svgHeight = 720.0, 320.0
	left, right         = 76.0, 16.0
	top, bottom         = 34.0, 34.0
)

// open begins a picture that stands alone, with its own colors.
func open(w io.Writer, width, height float64, title string) picture {
	p := newPicture(w)
	p.start("svg", "xmlns", "http://www.w3.org/2000/svg", "viewBox", "0 0 "+Coord(width)+" "+Coord(height), "role", "img", "aria-label", title)
	p.text("title", title)
	p.b.WriteString(svgStyle)
	p.element("rect", "class", "bg", "width", width, "height", height)
	return p
}

func (p picture) close() error {
	p.end("svg")
	return p.b.Flush()
}

// label writes a text, and stroke a line.
func (p picture) label(x, y float64, anchor, s string) {
	p.text("text", s, "class", "ink", "x", x, "y", y, "text-anchor", anchor)
}

func (p picture) stroke(class string, x1, y1, x2, y2 float64) {
	p.element("line", "class", class, "x1", x1, "y1", y1, "x2", x2, "y2", y2)
}

// Fan draws a series with its forecast: results, the 80 % band and the
// median of the values ahead, the target and, when it lies in view, the
// deadline. Iterations are evenly spaced; a cross marks a missed one.
func Fan(w io.Writer, s forecast.Series, f forecast.Forecast, g forecast.Goal) error {
	d := fan{c: s.Criterion, p: open(w, svgWidth, svgHeight, strings.TrimSpace(s.Model+" "+s.Criterion.String())+": "+f.Summary)}
	for _, o := range s.Observations {
		if (o.Environment == f.Basis.Environment || !o.Valid) && !(o.Valid && (math.IsNaN(o.Value) || math.IsInf(o.Value, 0))) {
			d.past = append(d.past, o)
		}
	}
	d.ahead = f.Bands
	if g.Iterations > 0 && g.Iterations < len(d.ahead) {
		d.ahead = d.ahead[:max(5, g.Iterations)]
	}
	lo, hi := d.bounds()
	d.x = axis{to: float64(max(1, len(d.past)-1+len(d.ahead))), low: left, high: svgWidth - right}
	d.y = axis{from: lo, to: hi, low: svgHeight - bottom, high: top}
	d.p.label(left, 18, "start", f.Summary)
	d.grid(lo, hi)
	d.bands()
	d.results()
	if !g.Deadline.IsZero() && f.Basis.PerIteration > 0 && len(d.past) > 0 {
		n := g.Deadline.Sub(d.past[len(d.past)-1].Time).Seconds() / f.Basis.PerIteration
		if n > 0 && n <= float64(len(d.ahead)) {
			at := d.x.at(float64(len(d.past)-1) + n)
			d.p.stroke("due", at, top, at, svgHeight-bottom)
			d.p.label(at-4, top+12, "end", "deadline "+g.Deadline.Format(time.DateOnly))
		}
	}
	d.dates()
	return d.p.close()
}

// fan is a forecast's picture in the making: past results, then the bands ahead.
type fan struct {
	c     forecast.Criterion
	past  []forecast.Observation
	ahead []forecast.Band
	x, y  axis
	p     picture
}

// bounds are those of the values shown, with a margin.
func (d *fan) bounds() (lo, hi float64) {
	lo, hi = d.c.Target, d.c.Target
	for _, o := range d.past {
		if o.Valid {
			lo, hi = math.Min(lo, o.Value), math.Max(hi, o.Value)
		}
	}
	for _, b := range d.ahead {
		lo, hi = math.Min(lo, b.Low), math.Max(hi, b.High)
	}
	if pad := (hi/2 - lo/2) * 0.1; pad > 0 {
		lo, hi = lo-pad, hi+pad
	}
	return math.Max(lo, -1e307), math.Min(hi, 1e307)
}

func (d *fan) grid(lo, hi float64) {
	for k := range 5 {
		v := lo + (hi/4-lo/4)*float64(k)
		d.p.stroke("faint", left, d.y.at(v), svgWidth-right, d.y.at(v))
		d.p.label(left-6, d.y.at(v)+4, "end", units.Format(v, d.c.Unit))
	}
	d.p.stroke("target", left, d.y.at(d.c.Target), svgWidth-right, d.y.at(d.c.Target))
	d.p.label(svgWidth-right, d.y.at(d.c.Target)-5, "end", "target "+units.Format(d.c.Target, d.c.Unit))
}

// bands draws what is ahead, from the newest result on.
func (d *fan) bands() {
	last := math.NaN()
	for _, o := range d.past {
		if o.Valid {
			last = o.Value
		}
	}
	if len(d.ahead) == 0 || math.IsNaN(last) {
		return
	}
	now := [2]float64{d.x.at(float64(len(d.past) - 1)), d.y.at(last)}
	band, mid := [][2]float64{now}, [][2]float64{now}
	for i, b := range d.ahead {
		at := d.x.at(float64(len(d.past) + i))
		band = append(band, [2]float64{at, d.y.at(b.High)})
		mid = append(mid, [2]float64{at, d.y.at(b.Median)})
	}
	for i := len(d.ahead) - 1; i >= 0; i-- {
		band = append(band, [2]float64{d.x.at(float64(len(d.past) + i)), d.y.at(d.ahead[i].Low)})
	}
	d.p.points("polygon", "band", band)
	d.p.points("polyline", "mid", mid)
}

// results draws the past: a line with dots, and crosses for iterations without a result.
func (d *fan) results() {
	var line [][2]float64
	for i, o := range d.past {
		if o.Valid {
			line = append(line, [2]float64{d.x.at(float64(i)), d.y.at(o.Value)})
		}
	}
	d.p.points("polyline", "line", line)
	for i, o := range d.past {
		at := d.x.at(float64(i))
		if o.Valid {
			d.p.titled("circle", o.Time.UTC().Format(time.DateOnly)+", "+units.Format(o.Value, d.c.Unit), "class", "dot", "cx", at, "cy", d.y.at(o.Value), "r", 3)
			continue
		}
		at0, y0 := at, svgHeight-bottom-6
		d.p.stroke("miss", at0-4, y0-4, at0+4, y0+4)
		d.p.stroke("miss", at0-4, y0+4, at0+4, y0-4)
	}
}

func (d *fan) dates() {
	if n := len(d.past); n > 0 {
		d.p.label(left, svgHeight-12, "start", d.past[0].Time.UTC().Format(time.DateOnly))
		d.p.label(d.x.at(float64(n-1)), svgHeight-12, "middle", d.past[n-1].Time.UTC().Format(time.DateOnly))
	}
	if n := len(d.ahead); n > 0 {
		d.p.label(svgWidth-right, svgHeight-12, "end", fmt.Sprintf("+%d iterations", n))
	}
}

// Reliability draws what came true against what was said: on the
// diagonal, a forecast is as sure as it should be. The area of a dot is the
// number of questions.
func Reliability(w io.Writer, r forecast.Report) error {
	const size = 360.0
	s := r.Plancast
	title := fmt.Sprintf("%s questions, calibration error %s, skill %+.2f", units.Number(float64(s.Questions)), units.Format(s.CalibrationError, units.Ratio), s.Skill)
	p := open(w, size, size, title)
	x, y := axis{to: 1, low: 56, high: size - 16}, axis{to: 1, low: size - 48, high: 34}
	p.label(56, 18, "start", title)
	for k := range 6 {
		v := float64(k) / 5
		p.stroke("faint", x.at(v), y.at(0), x.at(v), y.at(1))
		p.stroke("faint", x.at(0), y.at(v), x.at(1), y.at(v))
		p.label(x.at(v), y.at(0)+16, "middle", units.Percent(v))
		p.label(x.at(0)-6, y.at(v)+4, "end", units.Percent(v))
	}
	p.stroke("target", x.at(0), y.at(0), x.at(1), y.at(1))
	p.label(x.at(0.5), size-10, "middle", "said")
	p.label(8, 30, "start", "came true")
	var line [][2]float64
	for _, b := range r.Bins {
		if b.Questions > 0 {
			line = append(line, [2]float64{x.at(b.Said), y.at(b.True)})
		}
	}
	p.points("polyline", "line", line)
	for _, b := range r.Bins {
		if b.Questions > 0 {
			p.titled("circle", fmt.Sprintf("forecast %s, came true %s, %s questions", units.Percent(b.Said), units.Percent(b.True), units.Number(float64(b.Questions))),
				"class", "band", "cx", x.at(b.Said), "cy", y.at(b.True), "r", 3+22*math.Sqrt(float64(b.Questions)/float64(s.Questions)))
		}
	}
	return p.close()
}
