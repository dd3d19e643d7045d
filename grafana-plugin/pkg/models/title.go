package models

import (
	"regexp"
	"slices"

	"github.com/plancast/plancast/terms"
)

var (
	firstName = regexp.MustCompile(`[a-zA-Z_:][a-zA-Z0-9_:]*`)
	selector  = regexp.MustCompile(`^\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{([^{}]*)\})?\s*$`)
	matcher   = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"`)
)

// QuantityOf finds the quantity that an expression selects, whatever further
// labels it names. src/sentence.ts does the same.
func QuantityOf(expr string) (terms.Quantity, bool) {
	candidates := terms.Quantities()
	have := selector.FindStringSubmatch(expr)
	if have != nil {
		candidates = append(candidates, workloadQuantities(have[2])...)
	}
	for _, m := range candidates {
		want := selector.FindStringSubmatch(m.Expr)
		if m.Expr == expr || have != nil && want != nil && have[1] == want[1] && selects(have[2], want[2]) {
			return m, true
		}
	}
	return terms.Quantity{}, false
}

// selects reports whether every matcher of want is among those of have.
func selects(have, want string) bool {
	all := matchers(have)
	return !slices.ContainsFunc(matchers(want), func(m string) bool { return !slices.Contains(all, m) })
}

func matchers(inside string) []string {
	var out []string
	for _, m := range matcher.FindAllStringSubmatch(inside, -1) {
		out = append(out, m[1]+m[2]+m[3])
	}
	return out
}

// workloadQuantities are those of the workload that matchers name.
func workloadQuantities(inside string) (out []terms.Quantity) {
	for _, m := range matcher.FindAllStringSubmatch(inside, -1) {
		if m[1] != terms.WorkloadLabel || m[2] != "=" {
			continue
		}
		for _, q := range terms.WorkloadQuantities() {
			if of, err := terms.QuantityByName(terms.OfWorkload(q.Name, m[3])); err == nil {
				out = append(out, of)
			}
		}
	}
	return out
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
