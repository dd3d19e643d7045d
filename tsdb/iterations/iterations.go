// Package iterations turns what a time series database remembers into one
// observation per iteration. A result is scraped hundreds of times; here it
// becomes one point again, with its own time and environment, whatever the
// scrape interval, gaps, restarts or replicas in between.
package iterations

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/prometheus/common/model"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/tsdb/prom"
	"github.com/plancast/plancast/units"
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
	// Concern is what speaks against further gains: "12 layers stayed unquantized".
	Concern string
	// Disturbed says that other work disturbed the measurement.
	Disturbed bool
	// NoEffect says that nothing in the engine computes in its precision.
	NoEffect bool
}

// Evidence is what a series is rebuilt from.
type Evidence struct {
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
	// Built is whether the newest build gave a result: 0 or 1.
	Built *Join
	// EnvironmentLabel is the label, of the value or of an environment series,
	// whose value distinguishes environments.
	EnvironmentLabel string
	Step             time.Duration // of the history
}

// maxMissed bounds the missed iterations that one jump of the number stands for.
const maxMissed = 200

// Rebuild returns the iterations of a series of changes (or, by sample, of
// samples), in order of time, and what a reader should know about them.
func Rebuild(s prom.Series, e Evidence) (out []Iteration, notes []string) {
	switch e.By {
	case BySample:
		out = bySample(s)
	case ByChange:
		out = byChange(s)
	default:
		out, notes = bySeries(s, e)
	}
	e.environments(s, out)
	return out, notes
}

func at(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func usable(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func bySample(s prom.Series) []Iteration {
	out := make([]Iteration, 0, len(s.Points))
	for _, p := range s.Points {
		if !p.Gone {
			out = append(out, Iteration{Number: float64(len(out) + 1), Time: at(p.T), Known: at(p.T), Value: p.V, Valid: usable(p.V)})
		}
	}
	return out
}

// byChange takes every new value for an iteration. A gap, or a value that is
// not a number, is neither new nor old.
func byChange(s prom.Series) []Iteration {
	var out []Iteration
	for _, p := range s.Points {
		if p.Gone || !usable(p.V) || (len(out) > 0 && out[len(out)-1].Value == p.V) {
			continue
		}
		out = append(out, Iteration{Number: float64(len(out) + 1), Time: at(p.T), Known: at(p.T), Value: p.V, Valid: true})
	}
	return out
}

// span is the time in which a number holds, [from, to).
type span struct {
	number   float64
	from, to int64
}

func spans(s prom.Series) []span {
	var out []span
	for _, p := range s.Points {
		if p.Gone || !usable(p.V) {
			continue
		}
		if n := len(out); n > 0 {
			if out[n-1].number == p.V {
				continue // a gap in which nothing changed
			}
			out[n-1].to = p.T
		}
		out = append(out, span{p.V, p.T, math.MaxInt64})
	}
	return out
}

// within returns the last usable value that s has in [from, to), looking at
// what holds when the span begins, too.
func within(s prom.Series, from, to int64) (v float64, ok bool) {
	end, _ := slices.BinarySearchFunc(s.Points, to, func(p prom.Point, t int64) int {
		if p.T < t {
			return -1
		}
		return 1
	})
	for i := end - 1; i >= 0; i-- {
		p := s.Points[i]
		if !p.Gone && usable(p.V) {
			return p.V, true
		}
		if p.T <= from {
			return 0, false // it had ended, or was no number, when the span began
		}
	}
	return 0, false
}

func bySeries(s prom.Series, e Evidence) (out []Iteration, notes []string) {
	number, many := pick(e.Numbers.Of(s.Labels))
	if many {
		notes = append(notes, "several iteration series fit and count differently: the one with the newest number was used; name the labels in the expression to choose")
	}
	if len(number.Points) == 0 {
		return byChange(s), append(notes, "no iteration series fits these labels: every new value counts as an iteration")
	}
	times, _ := pick(e.Times.Of(s.Labels))
	// What stayed unquantized speaks against the candidate, not the engine.
	unquantized, _ := pick(e.Unquantized.Of(allPrecisions(s.Labels)))
	disturbed, _ := pick(e.Disturbed.Of(s.Labels))
	effective, _ := pick(e.Effective.Of(s.Labels))
	all := spans(number)
	siblings := e.siblings(s.Labels)
	layers := 0.0

	type result struct {
		value, stamp float64
	}
	out = make([]Iteration, 0, len(all)+1)
	epoch := make(map[float64]result, len(all)) // the numbers since they last started again
	var last float64
	restarts := 0
	for i, sp := range all {
		value, valid := within(s, sp.from, sp.to)
		stamp, stamped := within(times, sp.from, sp.to)
		r := result{value, stamp}
		next := iteration(sp, value, valid, stamp, stamped, e.Step)
		if f := finished(siblings, sp, stamp); stamped && f > stamp {
			next.Time = moment(f)
		}
		if n, ok := within(unquantized, sp.from, sp.to); ok && n > layers {
			next.Concern = units.Count(int(n), "layer") + " stayed unquantized"
			layers = n
		}
		if d, ok := within(disturbed, sp.from, sp.to); ok && d == 1 {
			next.Disturbed = true
		}
		if v, ok := within(effective, sp.from, sp.to); ok && v == 0 {
			next.NoEffect = true
		}
		if i > 0 && sp.number < last {
			if before, ok := epoch[sp.number]; ok && before == r {
				continue // an earlier result shown again
			}
			restarts++
			clear(epoch)
			out = append(out, next)
			epoch[sp.number], last = r, sp.number
			continue
		}
		if before, ok := epoch[sp.number]; ok && before == r {
			last = math.Max(last, sp.number)
			continue
		}
		if jump := sp.number - last; i > 0 && jump > 1 && jump <= maxMissed+1 && len(out) > 0 {
			out = append(out, missed(out[len(out)-1], next, int(jump)-1)...)
		}
		out = append(out, next)
		epoch[sp.number], last = r, sp.number
	}
	if built, _ := pick(e.Built.Of(s.Labels)); len(out) > 0 && len(built.Points) > 0 {
		// The newest result is an earlier one: at least one iteration failed since.
		if p := built.Points[len(built.Points)-1]; !p.Gone && p.V == 0 && at(p.T).After(out[len(out)-1].Known) {
			out = append(out, Iteration{Number: last + 1, Time: at(p.T), Known: at(p.T), Guessed: true})
		}
	}
	// One that has no value before the first with one says nothing.
	for len(out) > 0 && !out[0].Valid {
		out = out[1:]
	}
	if restarts > 0 {
		notes = append(notes, fmt.Sprintf("iteration numbers started again %d times in this history", restarts))
		if restarts == 1 {
			notes[len(notes)-1] = "iteration numbers started again once in this history"
		}
	}
	return out, notes
}

// iteration dates a result: by its own time when it has one that can be, else
// by when it was first known.
func iteration(sp span, value float64, valid bool, stamp float64, stamped bool, step time.Duration) Iteration {
	it := Iteration{Number: sp.number, Time: at(sp.from), Known: at(sp.from), Value: value, Valid: valid}
	if stamped && stamp > 0 && stamp < 1e11 {
		if t := moment(stamp); !t.After(it.Known.Add(step + 5*time.Minute)) {
			it.Time = t
		}
	}
	return it
}

// moment is a time in seconds since the epoch, to the millisecond.
func moment(seconds float64) time.Time {
	whole, frac := math.Modf(seconds)
	return time.Unix(int64(whole), int64(math.Round(frac*1e3))*1e6).UTC()
}

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
func (e Evidence) siblings(labels model.Metric) []sibling {
	if labels[Precision] == "" || e.Times == nil {
		return nil
	}
	var out []sibling
	for _, s := range e.Numbers.Of(allPrecisions(labels)) {
		if s.Labels[Precision] != labels[Precision] {
			times, _ := pick(e.Times.Of(s.Labels))
			out = append(out, sibling{spans(s), times})
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
			if t, ok := within(b.times, other.from, other.to); ok {
				stamp = math.Max(stamp, t)
			}
		}
	}
	return stamp
}

// missed are the n iterations that came between two and gave no result.
func missed(before, after Iteration, n int) []Iteration {
	out := make([]Iteration, n)
	between := after.Time.Sub(before.Time) / time.Duration(n+1)
	for i := range out {
		// Known only once the next number is known.
		out[i] = Iteration{Number: before.Number + float64(i+1), Time: before.Time.Add(time.Duration(i+1) * between), Known: after.Known, Guessed: true}
	}
	return out
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
		if i > 0 && v != bestV && t != math.MinInt64 && bestT != math.MinInt64 {
			doubt = true
		}
		if t > bestT || (t == bestT && v > bestV) || i == 0 {
			best, bestT, bestV = s, t, v
		}
	}
	return best, doubt
}

// environments names the environment of each iteration: by a label of the
// value itself, or by the newest environment series that was there then.
func (e Evidence) environments(s prom.Series, its []Iteration) {
	if e.EnvironmentLabel == "" {
		return
	}
	if v, ok := s.Labels[model.LabelName(e.EnvironmentLabel)]; ok {
		for i := range its {
			its[i].Environment = string(v)
		}
		return
	}
	type life struct {
		name     string
		from, to int64
	}
	var lives []life
	for _, x := range e.Environments.Of(s.Labels) {
		name := string(x.Labels[model.LabelName(e.EnvironmentLabel)])
		for i, p := range x.Points {
			if p.Gone || !(p.V > 0) {
				continue
			}
			to := int64(math.MaxInt64)
			for _, q := range x.Points[i+1:] {
				if q.Gone {
					to = q.T
					break
				}
			}
			lives = append(lives, life{name, p.T, to})
		}
	}
	if len(lives) == 0 {
		return
	}
	slices.SortStableFunc(lives, func(a, b life) int {
		switch {
		case a.from != b.from:
			return int(math.Copysign(1, float64(a.from-b.from)))
		case a.name < b.name:
			return -1
		case a.name > b.name:
			return 1
		}
		return 0
	})
	for i := range its {
		t := its[i].Known.UnixMilli()
		for _, l := range slices.Backward(lives) {
			// The newest that had begun; one that has ended still names the
			// past, unless another holds.
			if l.from <= t {
				if its[i].Environment == "" {
					its[i].Environment = l.name
				}
				if t < l.to {
					its[i].Environment = l.name
					break
				}
			}
		}
		if its[i].Environment == "" {
			its[i].Environment = lives[0].name
		}
	}
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
			if repeat && !o.Valid && it.Valid {
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

// Observations are the iterations for package forecast, as far as they were
// known at a moment; the zero time is all of them.
func Observations(its []Iteration, known time.Time) []forecast.Observation {
	out := make([]forecast.Observation, 0, len(its))
	for _, it := range its {
		if !known.IsZero() && (it.Known.After(known) || it.Time.After(known)) {
			continue
		}
		out = append(out, forecast.Observation{Time: it.Time, Value: it.Value, Environment: it.Environment, Valid: it.Valid, Concern: it.Concern, Disturbed: it.Disturbed})
	}
	return out
}
