// Package chart draws the pictures of histories and forecasts as SVG: of the
// report's page, and of plancast forecast and backtest.
package chart

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"math"
	"strconv"
)

// picture writes SVG. Texts and attributes are escaped; its errors stick until
// flush.
type picture struct{ b *bufio.Writer }

func newPicture(w io.Writer) picture { return picture{bufio.NewWriter(w)} }

// start begins an element; attributes are pairs of name and value, a value being
// a string or a coordinate.
func (p picture) start(name string, attributes ...any) {
	p.tag(name, attributes)
	p.b.WriteString(">")
}

func (p picture) tag(name string, attributes []any) {
	p.b.WriteString("<" + name)
	for i := 0; i+1 < len(attributes); i += 2 {
		value := ""
		switch v := attributes[i+1].(type) {
		case float64:
			value = Coord(v)
		case int:
			value = strconv.Itoa(v)
		default:
			value = html.EscapeString(fmt.Sprint(v))
		}
		fmt.Fprintf(p.b, ` %s="%s"`, attributes[i], value)
	}
}

// end ends what start began.
func (p picture) end(name string) { p.b.WriteString("</" + name + ">\n") }

// element writes an element without content.
func (p picture) element(name string, attributes ...any) {
	p.tag(name, attributes)
	p.b.WriteString("/>\n")
}

// text writes an element that holds a text.
func (p picture) text(name, text string, attributes ...any) {
	p.start(name, attributes...)
	p.b.WriteString(html.EscapeString(text))
	p.end(name)
}

// titled writes an element with a title, which browsers show as a tooltip.
func (p picture) titled(name, title string, attributes ...any) {
	p.start(name, attributes...)
	p.text("title", title)
	p.end(name)
}

// points writes a polyline or polygon.
func (p picture) points(name, class string, xy [][2]float64) {
	s := ""
	for i, q := range xy {
		if i > 0 {
			s += " "
		}
		s += Coord(q[0]) + "," + Coord(q[1])
	}
	p.element(name, "class", class, "points", s)
}

// Coord writes a coordinate with one decimal; finer steps cannot be seen.
func Coord(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

// Shape is how the points of a series look, so that color is not the only
// difference.
type Shape int

// The shapes.
const (
	Circle Shape = iota
	Square
	Triangle
	Cross // of a failure
)

// Path is the shape around a point, as the data of an SVG path.
func (s Shape) Path(x, y float64) string {
	const r = 4.2
	switch s {
	case Square:
		return fmt.Sprintf("M%s %sh%sv%sh-%sz", Coord(x-r+.4), Coord(y-r+.4), Coord(2*r-.8), Coord(2*r-.8), Coord(2*r-.8))
	case Triangle:
		return fmt.Sprintf("M%s %sL%s %sL%s %sz", Coord(x), Coord(y-r-.8), Coord(x+r+.6), Coord(y+r-.4), Coord(x-r-.6), Coord(y+r-.4))
	case Cross:
		const r = 3.4
		return fmt.Sprintf("M%s %sL%s %sM%s %sL%s %s", Coord(x-r), Coord(y-r), Coord(x+r), Coord(y+r), Coord(x-r), Coord(y+r), Coord(x+r), Coord(y-r))
	default:
		return fmt.Sprintf("M%s %sa%s %s 0 1 0 %s 0a%s %s 0 1 0 -%s 0z", Coord(x-r), Coord(y), Coord(r), Coord(r), Coord(2*r), Coord(r), Coord(r), Coord(2*r))
	}
}
