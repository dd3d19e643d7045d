package models

import (
	"regexp"
	"strings"

	"github.com/plancast/plancast/terms"
)

var (
	firstName = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*`)
	selector  = regexp.MustCompile(`^\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{([^{}]*)\})?\s*$`)
)

// QuantityOf finds the quantity that an expression selects, whatever further
// labels it names. src/sentence.ts does the same.
func QuantityOf(expr string) (terms.Quantity, bool) {
	have := selector.FindStringSubmatch(expr)
	for _, m := range terms.Quantities() {
		if m.Expr == expr {
			return m, true
		}
		want := selector.FindStringSubmatch(m.Expr)
		if have != nil && want != nil && have[1] == want[1] && (want[2] == "" || strings.Contains(strings.ReplaceAll(have[2], " ", ""), want[2])) {
			return m, true
		}
	}
	return terms.Quantity{}, false
}

// Title is a name for an expression that was given none: plancast's own words
// where they fit, else the expression when it is short, else its first metric.
func Title(expr string) string {
	if m, ok := QuantityOf(expr); ok {
		return m.Title
	}
	if r := []rune(expr); len(r) <= 40 {
		return expr
	}
	if name := firstName.FindString(expr); name != "" {
		return name
	}
	return "value"
}
