package tsdb

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/tsdb/prom"
)

const (
	// subjectsOfPart is about how many subjects are read at a time: what one answer
	// takes in memory and in the store stays within usual limits.
	subjectsOfPart = 250
	// longestFilter bounds a regular expression. One query repeats it up to twenty times, and
	// VictoriaMetrics takes queries of 16 KiB.
	longestFilter = 700
)

// lately is how long after its last sample a series counts as published: Prometheus' own
// five minutes, or the scrape interval where that is longer.
func (q *Query) lately() time.Duration { return prom.Lookback(q.Resolution) }

// publishedNow is an expression of the series that count iterations, and of those of
// engines without any.
func (q *Query) publishedNow() string {
	return fmt.Sprintf("last_over_time(%[1]s[%[3]s]) or last_over_time(%[2]s[%[3]s])", terms.IterationSeries, terms.BuiltSeries, terms.FormatDuration(q.lately()))
}

// countPublished is an expression of the number of subjects that are published.
func (q *Query) countPublished() string {
	return fmt.Sprintf("count(group by (%s) (%s))", strings.Join(q.Subject, ", "), q.publishedNow())
}

// changedSince is an expression that has one series for each subject of which anything
// is not as it was some time ago: came, went, or took another value. A new result moves
// all of the series that it compares, so that they stand for the others.
func (q *Query) changedSince(ago time.Duration) string {
	var out []string
	window, offset := terms.FormatDuration(q.lately()), terms.FormatDuration(ago.Truncate(time.Second))
	for _, series := range []string{terms.IterationSeries, terms.TimestampSeries, terms.BuiltSeries, terms.CountingSeries, terms.EnvironmentSeries} {
		now := fmt.Sprintf("last_over_time(%s[%s])", series, window)
		then := fmt.Sprintf("last_over_time(%s[%s] offset %s)", series, window, offset)
		out = append(out, fmt.Sprintf("(%[1]s unless %[1]s == %[2]s) or (%[2]s unless %[1]s)", now, then))
	}
	return "group by (" + strings.Join(q.Subject, ", ") + ") (" + strings.Join(out, " or ") + ")"
}

// parts are filters that together select every subject that the look-back holds: one
// without any, or as many as there are about subjectsOfPart of them. They divide the
// values of the label that has just enough.
func (x *reading) parts(ctx context.Context) ([][]prom.Filter, error) {
	// Of the last day, since stores and exporters may just have been started.
	by := strings.Join(x.query.Subject, ", ")
	count, err := x.at(ctx, fmt.Sprintf("count(group by (%s) (last_over_time(%s[%s])))", by, terms.IterationSeries, described))
	if err != nil {
		return nil, err
	}
	wanted := (single(count)-1)/subjectsOfPart + 1
	if wanted <= 1 {
		return [][]prom.Filter{nil}, nil
	}
	var label string
	var values []string
	for _, l := range x.query.Subject {
		v, a, err := x.client.Values(ctx, l, []string{terms.IterationSeries, terms.CountingSeries}, x.start(), x.out.At)
		x.out.heard(a)
		if err != nil {
			return nil, err
		}
		if len(v) > len(values) && len(values) < wanted || len(v) >= wanted && len(v) < len(values) {
			label, values = l, v
		}
	}
	slices.Sort(values)
	var out [][]prom.Filter
	for _, some := range chunks(values, len(values)/wanted, func(v string) int { return len(regexp.QuoteMeta(v)) + 1 }) {
		if len(out) == 0 {
			some = append([]string{""}, some...) // which selects series without the label
		}
		out = append(out, []prom.Filter{oneOf(label, some)})
	}
	return out, nil
}

// selecting are filters that together select some subjects, and maybe others.
func selecting(subjects []prom.Series, by []string) (out [][]prom.Filter) {
	slices.SortFunc(subjects, func(a, b prom.Series) int {
		for _, l := range slices.Backward(by) { // those of a host come together
			if c := cmp.Compare(a.Labels[model.LabelName(l)], b.Labels[model.LabelName(l)]); c != 0 {
				return c
			}
		}
		return 0
	})
	length := func(s prom.Series) (n int) {
		for _, l := range by {
			n += len(regexp.QuoteMeta(string(s.Labels[model.LabelName(l)]))) + 1
		}
		return n
	}
	for _, some := range chunks(subjects, subjectsOfPart, length) {
		var filters []prom.Filter
		for _, l := range by {
			values := make([]string, len(some))
			for i, s := range some {
				values[i] = string(s.Labels[model.LabelName(l)])
			}
			filters = append(filters, oneOf(l, values))
		}
		out = append(out, filters)
	}
	return out
}

// oneOf selects the series whose label has one of some values; "" is no such label.
func oneOf(label string, values []string) prom.Filter {
	values = slices.Clone(values)
	slices.Sort(values)
	values = slices.Compact(values)
	for i, v := range values {
		values[i] = regexp.QuoteMeta(v)
	}
	return prom.Filter{Key: label, Operator: "=~", Value: strings.Join(values, "|")}
}

// chunks divides all into pieces of at most so many, whose lengths together are at most
// longestFilter.
func chunks[T any](all []T, most int, length func(T) int) (out [][]T) {
	from, sum := 0, 0
	for i, x := range all {
		n := length(x)
		if i > from && (i-from >= most || sum+n > longestFilter) {
			out, from, sum = append(out, all[from:i]), i, 0
		}
		sum += n
	}
	if from < len(all) {
		out = append(out, all[from:])
	}
	return out
}
