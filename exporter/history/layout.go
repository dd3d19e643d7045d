package history

import (
	"context"
	"encoding/binary"
	"math"
	"slices"
	"strings"
)

// Each row of entries says in the upper bits of its flags which layout its quantities have:
// a line of the property 'quantities', which names them. So a plancast that knows other
// quantities reads what an older one wrote, and derives the rest later.

// propertyQuantities names the quantities of each layout, in their order.
const propertyQuantities = "quantities"

// quantityNames is the layout of this plancast.
func quantityNames() string {
	names := make([]string, len(Quantities))
	for i, q := range Quantities {
		names[i] = q.Name
	}
	return strings.Join(names, ",") + figuresFollow
}

// readLayouts reads the layouts of a file.
func readLayouts(ctx context.Context, q querier) ([]layout, error) {
	names, err := property(ctx, q, propertyQuantities)
	if err != nil {
		return nil, err
	}
	var out []layout
	for line := range strings.Lines(names) {
		out = append(out, parseLayout(strings.TrimSuffix(line, "\n")))
	}
	return out, nil
}

// findLayout finds the layout of this plancast among those of a file. lacking says that
// another has less.
func findLayout(names string) (own int64, lacking, found bool) {
	own = -1
	i := int64(0)
	for line := range strings.Lines(names) {
		line = strings.TrimSuffix(line, "\n")
		if line == quantityNames() {
			own = i
		}
		lacking = lacking || !parseLayout(line).whole
		i++
	}
	return own, lacking, own >= 0
}

// layout says how the quantities of a row are stored.
type layout struct {
	order   []int // index in Values of each stored quantity, -1 when this plancast has none
	figures bool  // they follow the quantities
	whole   bool  // it has all that this plancast knows
}

func parseLayout(names string) layout {
	var l layout
	names, l.figures = cutFigures(names)
	known := 0
	for _, name := range strings.Split(names, ",") {
		at := slices.IndexFunc(Quantities, func(q Quantity) bool { return q.Name == name })
		if at >= 0 {
			known++
		}
		l.order = append(l.order, at)
	}
	l.whole = l.figures && known == len(Quantities)
	return l
}

// fits reports whether quantities of that many bytes are those of a row.
func (l layout) fits(length int) bool {
	return length == 8*len(l.order) || l.figures && length > 8*len(l.order)
}

// decode takes the quantities that are stored; they must fit.
func (l layout) decode(quantities []byte, e *Entry) {
	e.Values = unknown()
	for i, at := range l.order {
		if at >= 0 {
			e.Values[at] = math.Float64frombits(binary.LittleEndian.Uint64(quantities[8*i:]))
		}
	}
	e.Figures = Figures(quantities[8*len(l.order):])
}
