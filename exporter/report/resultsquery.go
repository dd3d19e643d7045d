package report

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/history"
)

// resultsPerPage is how many results the page of a model lists.
const resultsPerPage = 50

// ResultsQuery says which of a model's results are listed, and how.
type ResultsQuery struct {
	Precision, State, Environment, Author, Branch, Kind string // "" selects all
	Sort                                                string // a key of sortings; with "-" before it descending
	Page                                                int    // from 1
}

// newest is the order without another: the newest first.
const newest = "-id"

// sortings are what the list can be sorted by.
var sortings = map[string]func(e history.Entry) float64{
	"id":         func(e history.Entry) float64 { return float64(e.ID) },
	"version":    func(e history.Entry) float64 { v, _ := strconv.ParseFloat(e.Version, 64); return v },
	"p99":        value("p99"),
	"throughput": value("throughput"),
	"deviation":  value("accuracy_deviation"),
	"memory":     value("memory"),
}

// value is a quantity; what was not measured comes last in either order.
func value(quantity string) func(history.Entry) float64 {
	return func(e history.Entry) float64 {
		v, ok := e.Value(quantity)
		if !ok {
			return missing
		}
		return v
	}
}

// missing is a value that no quantity has.
const missing = -1

// ParseResultsQuery reads the parameters of a model's page.
func ParseResultsQuery(v url.Values) (ResultsQuery, error) {
	q := ResultsQuery{
		Precision: v.Get("precision"), State: v.Get("state"), Environment: v.Get("environment"), Author: v.Get("author"),
		Branch: v.Get("branch"), Kind: v.Get("kind"), Sort: cmp.Or(v.Get("sort"), newest), Page: 1,
	}
	if sortings[strings.TrimPrefix(q.Sort, "-")] == nil {
		return q, fmt.Errorf("sort %q is not one of %s, with or without \"-\" before it", q.Sort, strings.Join(slices.Sorted(maps.Keys(sortings)), ", "))
	}
	if text := v.Get("page"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > 1e6 {
			return q, fmt.Errorf("page %q is not a number from 1", text)
		}
		q.Page = n
	}
	return q, nil
}

// with is the query string with one parameter changed.
func (q ResultsQuery) with(name, value string) string {
	v := url.Values{}
	for _, x := range []struct{ name, value string }{
		{"precision", q.Precision}, {"state", q.State}, {"environment", q.Environment}, {"author", q.Author}, {"branch", q.Branch}, {"kind", q.Kind},
		{"sort", strings.TrimSuffix(q.Sort, newest)}, {"page", ""}, // another filter begins with the first page
	} {
		if x.name == name {
			x.value = value
		}
		if x.value != "" {
			v.Set(x.name, x.value)
		}
	}
	return "?" + v.Encode()
}

// selected are the entries that the query selects, in its order.
func (q ResultsQuery) selected(all []history.Entry, of func(history.Entry) *change.Change) []history.Entry {
	by := history.By{Author: q.Author, Branch: q.Branch, Kind: change.Kind(q.Kind)}
	var out []history.Entry
	for _, e := range all {
		if q.Precision != "" && string(e.Precision) != q.Precision || q.State != "" && string(stateOf(e)) != q.State ||
			q.Environment != "" && e.Fingerprint != q.Environment {
			continue
		}
		if by != (history.By{}) {
			if c := of(e); c == nil || !by.Selects(*c) {
				continue
			}
		}
		out = append(out, e)
	}
	key, down := strings.CutPrefix(q.Sort, "-")
	name := key
	if !down {
		name = q.Sort
	}
	figure := sortings[name]
	slices.SortStableFunc(out, func(a, b history.Entry) int {
		x, y := figure(a), figure(b)
		switch {
		case x == missing || y == missing:
			return cmp.Or(cmp.Compare(boolean(x == missing), boolean(y == missing)), cmp.Compare(b.ID, a.ID))
		case down:
			x, y = y, x
		}
		return cmp.Or(cmp.Compare(x, y), cmp.Compare(b.ID, a.ID))
	})
	return out
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}
