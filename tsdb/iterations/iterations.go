// Package iterations turns what a time series database remembers into one
// observation per iteration. A result is scraped hundreds of times; here it
// becomes one point again, with its own time and environment, whatever the
// scrape interval, gaps, restarts or replicas in between.
package iterations

import (
	"math"
	"slices"
	"time"

	"github.com/prometheus/common/model"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/tsdb/prom"
)

// By is how the iterations of a history are distinguished.
type By string

// The ways to distinguish iterations.
const (
	BySeries By = "series" // a series that holds the iteration's number
	ByChange By = "change" // a new value is a new iteration
	BySample By = "sample" // every sample is an iteration
)

// Iteration is one result, or one that is missing.
type Iteration struct {
	Number      float64 // of the iteration series; the ordinal when there is none
	Time        time.Time
	Known       time.Time // when the database first held it: never after what was known then
	Value       float64
	Environment string
	Valid       bool // false for a missed iteration
	// Guessed is a missed iteration that left no trace of its own: only that
	// it was, somewhere around Time.
	Guessed bool
	// Endless is a result that is no number: a latency that grows for as long as requests
	// arrive. It misses every limit, and is not Valid.
	Endless bool
	// Concern is what speaks against further gains: "12 layers stayed unquantized".
	Concern string
	// Unquantized counts the layers of the candidate's int8 engine that stayed as
	// they were.
	Unquantized int
	// Disturbed says that other work disturbed the measurement.
	Disturbed bool
	// NoEffect says that nothing in the engine computes in its precision.
	NoEffect bool
	// Pair is how the value changed from an earlier one, where the two engines were
	// timed in turns; else nil.
	Pair *Pair
	// Engine is which of the engines that Best was given the value is of.
	Engine int
}

// Joins are the series that a series of values is rebuilt with.
type Joins struct {
	By By
	// Numbers, Times and Environments are joined to the value series by their
	// common labels; any may be nil.
	Numbers, Times, Environments *Join
	// Unquantized counts the layers of an engine that stayed as they were.
	Unquantized *Join
	// Disturbed is whether other work disturbed the measurement: 0 or 1.
	Disturbed *Join
	// Effective is whether anything in the engine computes in its precision: 0 or 1.
	Effective *Join
	// Pairs are how the values changed from those of the iteration that Compared names,
	// timed in turns with it.
	Pairs    PairJoins
	Compared *Join
	// Built is whether the newest build gave a result: 0 or 1.
	Built *Join
	// Counting names the environment that counts: that of a failure which left no
	// environment series.
	Counting *Join
	// EnvironmentLabel is the label, of the value or of an environment series,
	// whose value distinguishes environments.
	EnvironmentLabel string
	Step             time.Duration // of the history
}

// maxMissed bounds the missed iterations that one jump of the number stands for.
const maxMissed = 200

// sibling is another precision of the same candidates.
type sibling struct {
	spans []span
	times prom.Series
}

// Precision is the label that distinguishes the engines of a candidate.
const Precision = "precision"

// allPrecisions is labels without the precision.
func allPrecisions(labels model.Metric) model.Metric {
	out := labels.Clone()
	delete(out, Precision)
	return out
}

// siblings finds the other precisions of an engine. A candidate is finished
// when the last of them is.
func (e Joins) siblings(labels model.Metric) []sibling {
	if labels[Precision] == "" || e.Times == nil {
		return nil
	}
	var out []sibling
	for _, s := range e.Numbers.Of(allPrecisions(labels)) {
		if s.Labels[Precision] != labels[Precision] {
			times, _ := pick(e.Times.Of(s.Labels))
			out = append(out, sibling{spans(s, e.Step), times})
		}
	}
	return out
}

// finished is when all precisions of a candidate were done.
func finished(siblings []sibling, sp span, stamp float64) float64 {
	for _, b := range siblings {
		for _, other := range b.spans {
			if other.number != sp.number || other.from >= sp.to || other.to <= sp.from {
				continue
			}
			if t, ok := within(b.times, other); ok {
				stamp = math.Max(stamp, t)
			}
		}
	}
	return stamp
}

// pick chooses among the series that fit: the one with the newest point.
// Several are a doubt only when their newest numbers differ.
func pick(fit []prom.Series) (best prom.Series, doubt bool) {
	newest := func(s prom.Series) (t int64, v float64) {
		for _, p := range slices.Backward(s.Points) {
			if !p.Gone && usable(p.V) {
				return p.T, p.V
			}
		}
		return math.MinInt64, 0
	}
	bestT, bestV := int64(math.MinInt64), 0.0
	for i, s := range fit {
		t, v := newest(s)
		if v != bestV && t != math.MinInt64 && bestT != math.MinInt64 {
			doubt = true
		}
		if t > bestT || (t == bestT && v > bestV) || i == 0 {
			best, bestT, bestV = s, t, v
		}
	}
	return best, doubt
}

// scrapeLabels say who scraped and from where, not what was measured.
var scrapeLabels = map[model.LabelName]bool{
	model.MetricNameLabel: true, "instance": true, "job": true, "replica": true, "__replica__": true,
	"prometheus": true, "prometheus_replica": true, "pod": true, "container": true, "endpoint": true,
	"service": true, "node": true, "receive": true, "tenant_id": true,
}

// Identity is labels without those that say who scraped: replicas, and a
// program that moved to another host, have the same.
func Identity(labels model.Metric) model.Metric {
	out := make(model.Metric, len(labels))
	for n, v := range labels {
		if !scrapeLabels[n] {
			out[n] = v
		}
	}
	return out
}

// Merge puts together the iterations of several series of one identity.
func Merge(parts ...[]Iteration) []Iteration {
	switch len(parts) {
	case 0:
		return nil
	case 1:
		return parts[0]
	}
	all := slices.Concat(parts...)
	slices.SortStableFunc(all, func(a, b Iteration) int { return a.Known.Compare(b.Known) })
	out := all[:0:0]
	for _, it := range all {
		repeat := false
		for i := len(out) - 1; i >= 0 && i >= len(out)-8 && !repeat; i-- {
			o := &out[i]
			repeat = o.Number == it.Number && o.Environment == it.Environment && (o.Value == it.Value || !it.Valid || !o.Valid)
			if repeat && it.tells() > o.tells() {
				*o = it
			}
		}
		if !repeat {
			out = append(out, it)
		}
	}
	slices.SortStableFunc(out, func(a, b Iteration) int { return a.Time.Compare(b.Time) })
	return out
}

// tells is how much an iteration says of its result: nothing, that it has no end, or its
// value.
func (i Iteration) tells() int {
	switch {
	case i.Valid:
		return 2
	case i.Endless:
		return 1
	}
	return 0
}

// knownAt reports whether the iteration was known at a moment; the zero time is now.
func (i Iteration) knownAt(t time.Time) bool {
	return t.IsZero() || !i.Known.After(t) && !i.Time.After(t)
}

// Observations are the iterations for package forecast, as far as they were
// known at a moment; the zero time is all of them.
func Observations(its []Iteration, known time.Time) []forecast.Observation {
	out := make([]forecast.Observation, 0, len(its))
	for _, it := range its {
		if !it.knownAt(known) {
			continue
		}
		out = append(out, forecast.Observation{Time: it.Time, Value: it.Value, Environment: it.Environment, Valid: it.Valid, Concern: it.Concern, Disturbed: it.Disturbed})
	}
	return out
}
