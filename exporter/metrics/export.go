package metrics

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

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

	// Until is where the newest results end when Step is set: the present.
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
func WriteOpenMetrics(w io.Writer, records iter.Seq2[history.Record, error], o ExportOptions) (err error) {
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
	b := bufio.NewWriterSize(w, 1<<16)
	e := &exporter{spool: s, out: b, options: o}
	if err := e.write(); err != nil {
		return fmt.Errorf("export the history: %w", err)
	}
	b.WriteString("# EOF\n")
	if err := b.Flush(); err != nil {
		return fmt.Errorf("export the history: %w", err)
	}
	return nil
}

type exporter struct {
	*spool
	out     *bufio.Writer
	options ExportOptions
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
				values := c.labels
				if len(g.family.Labels) > len(engineLabels) {
					values = slices.Concat(values, []string{extra})
				}
				series := e.series(g.family.Name, g.family.Labels, values)
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
	e.header(environmentInfo)
	for _, name := range slices.Sorted(maps.Keys(e.models)) {
		spans := e.models[name].spans
		for i, s := range spans {
			end := e.options.Until.UnixMilli() + 1
			if i+1 < len(spans) {
				end = spans[i+1].start
			}
			series := e.series(environmentInfo.Name, environmentInfo.Labels, s.labels)
			e.carry(s.start, end, func(at int64) { e.sample(series, 1, at) })
		}
	}
	e.header(candidateChange)
	for _, name := range slices.Sorted(maps.Keys(e.models)) {
		changes := e.models[name].changes
		for i, s := range changes {
			end := e.options.Until.UnixMilli() + 1
			if i+1 < len(changes) {
				end = changes[i+1].start
			}
			if s.labels == nil {
				continue
			}
			series := e.series(candidateChange.Name, candidateChange.Labels, s.labels)
			e.carry(s.start, end, func(at int64) { e.sample(series, s.value, at) })
		}
	}
	if e.options.Replay != nil {
		return e.replay()
	}
	return nil
}

func (e *exporter) summary(f Family, index int, c *chain) error {
	if len(c.extras[index]) == 0 {
		return nil
	}
	sum, count := e.series(f.Name+"_sum", f.Labels, c.labels), e.series(f.Name+"_count", f.Labels, c.labels)
	quantile := map[string]string{}
	for q := range c.extras[index] {
		quantile[q] = e.series(f.Name, slices.Concat(f.Labels, []string{"quantile"}), slices.Concat(c.labels, []string{q}))
	}
	return e.results(c, func(x row, at int64) {
		some := false
		for _, s := range x.Samples {
			if s.F == index {
				e.sample(quantile[s.X], s.V, at)
				some = true
			}
		}
		if some {
			e.sample(sum, x.Sum, at)
			e.sample(count, float64(x.Count), at)
		}
	})
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
		if measured && !x.OK {
			continue
		}
		if some {
			e.carry(before.Time, e.end(c, before.Time, x.Time), func(at int64) { emit(before, at) })
		}
		kept := append(before.Samples[:0], x.Samples...) // the chain reuses its own
		before, some = x, true
		before.Samples = kept
	}
	if some {
		e.carry(before.Time, e.end(c, before.Time, e.options.Until.UnixMilli()+1), func(at int64) { emit(before, at) })
	}
	return nil
}

// end is when a result of an engine stops being shown: with the next one, or
// when the model moves to another environment.
func (e *exporter) end(c *chain, at, next int64) int64 {
	for _, s := range e.models[c.labels[0]].spans {
		if s.start > at {
			return min(next, s.start)
		}
	}
	return next
}

// carry calls emit at start and then at the multiples of Step before end.
func (e *exporter) carry(start, end int64, emit func(at int64)) {
	emit(start)
	step := e.options.Step.Milliseconds()
	if step <= 0 {
		return
	}
	for at := (start/step + 1) * step; at < end; at += step {
		emit(at)
	}
}

func (e *exporter) header(f Family) {
	name := f.Name
	if f.Type == Counter { // OpenMetrics names the family without the suffix of its samples
		name = strings.TrimSuffix(name, "_total")
	}
	fmt.Fprintf(e.out, "# HELP %s %s\n# TYPE %s %s\n", name, escape(f.Help), name, f.Type)
	for _, unit := range []string{"seconds", "bytes", "ratio"} {
		if strings.HasSuffix(f.Name, "_"+unit) {
			fmt.Fprintf(e.out, "# UNIT %s %s\n", f.Name, unit)
		}
	}
}

func (e *exporter) sample(series string, v float64, at int64) {
	e.out.WriteString(series)
	e.out.WriteByte(' ')
	e.out.Write(strconv.AppendFloat(e.out.AvailableBuffer(), v, 'g', -1, 64))
	e.out.WriteByte(' ')
	e.out.Write(strconv.AppendFloat(e.out.AvailableBuffer(), float64(at)/1000, 'f', -1, 64))
	e.out.WriteByte('\n')
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

func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`).Replace(s)
}
