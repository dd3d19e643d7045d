package metrics

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	promvalue "github.com/prometheus/prometheus/model/value"

	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/standing"
)

// ExportOptions choose what WriteOpenMetrics writes.
type ExportOptions struct {
	// Step repeats each result at multiples of Step until the next one, as a
	// scrape would have seen it: an instant query looks back five minutes
	// only, so a Step of at most 5m makes the past look as if it had been
	// scraped. 0 writes one sample for each iteration.
	Step time.Duration

	// Edges also writes a sample just before each change, and marks where a series
	// ends: all that a store needs to draw the past. It is an alternative to Step.
	Edges bool

	// Until is where the newest results end when Step or Edges is set: the present.
	Until time.Time

	// TempDir holds the spool while the export runs; "" is the system's.
	TempDir string

	// Labels are added to every series: pairs of name and value, such as the
	// job and instance that a scrape adds. ParseLabel says which may be.
	Labels []string

	// Replay, when it is set, adds what depends on the configuration: builds by
	// result, targets, milestones and their forecasts. It returns the state as it was known at
	// that moment, from nothing that came later. It is asked for
	// each result and each day.
	Replay func(at time.Time) (*standing.State, error)
}

// Samples takes what an export writes: family by family, series by series, in
// order of time. The end of a series is a staleness marker.
type Samples interface {
	Family(f Family) error
	Sample(series string, v float64, at int64) error // at is in milliseconds
}

var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

// WriteOpenMetrics writes the history as OpenMetrics text with timestamps, for
// promtool tsdb create-blocks-from openmetrics. Names and labels are those of
// /metrics: the gauges and summaries of an engine, plancast_candidate_info,
// plancast_candidate_change and plancast_environment_info. The native histogram has no text form, and the
// counters and what depends on today's configuration are left out without
// ExportOptions.Replay.
//
// records come in ascending order of ID and are read once. Samples are sorted
// by family and series, and ascend in time: where a clock was set back, a result
// stands one millisecond after the one before it, and
// plancast_iteration_timestamp_seconds holds its own time. Versions that came
// out of order, excluded and superseded results are left out, as they are from /metrics. Memory grows with the
// number of series, not of samples: the samples wait in a temporary file.
func WriteOpenMetrics(w io.Writer, records iter.Seq2[history.Record, error], o ExportOptions) error {
	text := openMetrics{bufio.NewWriterSize(w, 1<<16)}
	if err := WriteSamples(text, records, o); err != nil {
		return err
	}
	text.WriteString("# EOF\n")
	if err := text.Flush(); err != nil {
		return fmt.Errorf("export the history: %w", err)
	}
	return nil
}

// WriteSamples is WriteOpenMetrics for a receiver of samples.
func WriteSamples(to Samples, records iter.Seq2[history.Record, error], o ExportOptions) (err error) {
	if o.Step < 0 || (o.Step > 0 && o.Step < time.Millisecond) {
		return fmt.Errorf("export the history: a step of %v: use 0 or at least 1ms", o.Step)
	}
	file, err := os.CreateTemp(o.TempDir, "plancast-export-*")
	if err != nil {
		return fmt.Errorf("export the history: %w", err)
	}
	defer func() {
		file.Close()
		os.Remove(file.Name())
	}()
	s := &spool{file: file, engines: map[string]*chain{}, models: map[string]*environments{}, replayed: o.Replay != nil}
	for r, err := range records {
		if err != nil {
			return fmt.Errorf("export the history: %w", err)
		}
		if err := s.add(r); err != nil {
			return fmt.Errorf("export the history: record %d: %w", r.ID, err)
		}
	}
	if err := s.flush(); err != nil {
		return fmt.Errorf("export the history: %w", err)
	}
	e := &exporter{spool: s, to: to, options: o, held: map[string]int64{}}
	if err := errors.Join(e.write(), e.end()); err != nil {
		return fmt.Errorf("export the history: %w", err)
	}
	return nil
}

type exporter struct {
	*spool
	to      Samples
	options ExportOptions
	err     error            // of to; it sticks
	until   int64            // when what is being written ends
	held    map[string]int64 // of Edges: until when each series of the family holds
}

func (e *exporter) write() error {
	keys := slices.SortedFunc(maps.Keys(e.engines), cmp.Compare)
	for i, f := range summaries {
		e.header(f.family)
		for _, k := range keys {
			if err := e.summary(f.family, -1-i, e.engines[k]); err != nil {
				return err
			}
		}
	}
	for i, g := range gauges {
		e.header(g.family)
		for _, k := range keys {
			c := e.engines[k]
			for _, extra := range slices.Sorted(maps.Keys(c.extras[i])) {
				series := e.series(g.family.Name, g.family.Labels, slices.Concat(c.labels, extraOf(extra)))
				err := e.results(c, func(x row, at int64) {
					for _, s := range x.Samples {
						if s.F == i && s.X == extra {
							e.sample(series, s.V, at)
						}
					}
				})
				if err != nil {
					return err
				}
			}
		}
	}
	e.header(lastBuildSuccess)
	for _, k := range keys {
		c := e.engines[k]
		series := e.series(lastBuildSuccess.Name, lastBuildSuccess.Labels, c.labels)
		if err := e.walk(c, false, func(x row, at int64) { e.sample(series, oneIf(x.OK), at) }); err != nil {
			return err
		}
	}
	e.header(candidateInfo)
	for _, k := range keys {
		c := e.engines[k]
		err := e.results(c, func(x row, at int64) {
			e.sample(e.series(candidateInfo.Name, candidateInfo.Labels, slices.Concat(c.labels, []string{x.Version, x.Digest, x.Print})), 1, at)
		})
		if err != nil {
			return err
		}
	}
	e.spans(environmentInfo, func(m *environments) []span { return m.spans })
	e.spans(candidateChange, func(m *environments) []span { return m.changes })
	if e.options.Replay != nil {
		return e.replay()
	}
	return nil
}

// spans writes a family of models: each of a model's spans lasts until the next begins.
func (e *exporter) spans(f Family, of func(*environments) []span) {
	e.header(f)
	for _, name := range slices.Sorted(maps.Keys(e.models)) {
		all := of(e.models[name])
		for i, s := range all {
			end := e.options.Until.UnixMilli() + 1
			if i+1 < len(all) {
				end = all[i+1].start
			}
			if s.labels == nil {
				continue
			}
			series := e.series(f.Name, f.Labels, s.labels)
			e.carry(s.start, end, func(at int64) { e.sample(series, s.value, at) })
		}
	}
}

// summary writes a summary of an engine, one set of labels after the other.
func (e *exporter) summary(f Family, index int, c *chain) error {
	sets := map[string]map[string]string{} // series by sample, by the labels that the family adds
	for x := range c.extras[index] {
		extra := extraOf(x)
		part, set := extra[len(extra)-1], strings.Join(extra[:len(extra)-1], separator)
		labels := slices.Concat(c.labels, extra[:len(extra)-1])
		if sets[set] == nil {
			sets[set] = map[string]string{}
		}
		switch part {
		case partSum, partCount:
			sets[set][x] = e.series(f.Name+"_"+part, f.Labels, labels)
		default:
			sets[set][x] = e.series(f.Name, slices.Concat(f.Labels, []string{"quantile"}), append(labels, part))
		}
	}
	for _, set := range slices.Sorted(maps.Keys(sets)) {
		err := e.results(c, func(x row, at int64) {
			for _, s := range x.Samples {
				if series := sets[set][s.X]; s.F == index && series != "" {
					e.sample(series, s.V, at)
				}
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// results walks the measured rows of a chain: a failure does not end the
// result before it, the next result or another environment does.
func (e *exporter) results(c *chain, emit func(row, int64)) error {
	return e.walk(c, true, emit)
}

func (e *exporter) walk(c *chain, measured bool, emit func(row, int64)) error {
	var before row
	some := false
	for x, err := range e.rows(c) {
		if err != nil {
			return err
		}
		if e.err != nil {
			return nil // end returns it
		}
		if measured && !x.OK {
			continue
		}
		if some {
			e.carry(before.Time, e.replaced(c, before.Time, x.Time), func(at int64) { emit(before, at) })
		}
		kept := append(before.Samples[:0], x.Samples...) // the chain reuses its own
		before, some = x, true
		before.Samples = kept
	}
	if some {
		e.carry(before.Time, e.replaced(c, before.Time, e.options.Until.UnixMilli()+1), func(at int64) { emit(before, at) })
	}
	return nil
}

// replaced is when a result of an engine stops being shown: with the next one, or
// when the model moves to another environment.
func (e *exporter) replaced(c *chain, at, next int64) int64 {
	for _, s := range e.models[c.labels[0]].spans {
		if s.start > at {
			return min(next, s.start)
		}
	}
	return next
}

// carry calls emit at start and then at the multiples of Step before end, or with
// Edges just before end.
func (e *exporter) carry(start, end int64, emit func(at int64)) {
	e.until = end
	emit(start)
	if last := end - 1; e.options.Edges && last > start {
		emit(last)
	}
	step := e.options.Step.Milliseconds()
	if step <= 0 {
		return
	}
	for at := (start/step + 1) * step; at < end; at += step {
		emit(at)
	}
}

// header begins a family.
func (e *exporter) header(f Family) {
	if err := e.end(); err == nil {
		e.err = e.to.Family(f)
	}
}

// end marks where the series of a family end that do not reach the present, and
// returns what went wrong so far.
func (e *exporter) end() error {
	for _, series := range slices.Sorted(maps.Keys(e.held)) {
		if at := e.held[series]; at <= e.options.Until.UnixMilli() {
			e.put(series, stale, at)
		}
	}
	clear(e.held)
	return e.err
}

var stale = math.Float64frombits(promvalue.StaleNaN)

// sample writes a sample, after the end of the series where it was not there for
// a while.
func (e *exporter) sample(series string, v float64, at int64) {
	if e.options.Edges {
		if ended, ok := e.held[series]; ok && ended < at {
			e.put(series, stale, ended)
		}
		e.held[series] = e.until
	}
	e.put(series, v, at)
}

func (e *exporter) put(series string, v float64, at int64) {
	if e.err == nil {
		e.err = e.to.Sample(series, v, at)
	}
}

// series is one as the text formats write it, with the labels of the export.
func (e *exporter) series(name string, labels, values []string) string {
	pairs := slices.Clone(e.options.Labels)
	for i, l := range labels {
		pairs = append(pairs, l, values[i])
	}
	var b strings.Builder
	b.WriteString(name)
	b.WriteByte('{')
	for i := 0; i+1 < len(pairs); i += 2 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(pairs[i] + `="` + escape(pairs[i+1]) + `"`)
	}
	b.WriteByte('}')
	return b.String()
}

// openMetrics writes samples as text, which has no staleness markers. The errors of
// a bufio.Writer stick.
type openMetrics struct{ *bufio.Writer }

// Family implements Samples.
func (w openMetrics) Family(f Family) error {
	name := f.Name
	if f.Type == Counter { // OpenMetrics names the family without the suffix of its samples
		name = strings.TrimSuffix(name, "_total")
	}
	fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n", name, escape(f.Help), name, f.Type)
	for _, unit := range []string{"seconds", "bytes", "ratio"} {
		if strings.HasSuffix(f.Name, "_"+unit) {
			fmt.Fprintf(w, "# UNIT %s %s\n", f.Name, unit)
		}
	}
	return nil
}

// Sample implements Samples.
func (w openMetrics) Sample(series string, v float64, at int64) error {
	if promvalue.IsStaleNaN(v) {
		return nil
	}
	w.WriteString(series)
	w.WriteByte(' ')
	w.Write(strconv.AppendFloat(w.AvailableBuffer(), v, 'g', -1, 64))
	w.WriteByte(' ')
	w.Write(strconv.AppendFloat(w.AvailableBuffer(), float64(at)/1000, 'f', -1, 64))
	return w.WriteByte('\n')
}

func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`).Replace(s)
}
