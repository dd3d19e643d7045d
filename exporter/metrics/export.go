package metrics

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
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
// /metrics: the gauges and summaries of an engine, plancast_candidate_info and
// plancast_environment_info. The native histogram has no text form, and the
// counters and what depends on today's configuration are left out without
// ExportOptions.Replay.
//
// records come in ascending order of ID and are read once. Samples are sorted
// by family and series, and ascend in time: where a clock was set back, a result
// stands one millisecond after the one before it, and
// plancast_iteration_timestamp_seconds tells its own time. Versions that came
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

// row is one result in the spool.
type row struct {
	Time    int64 // milliseconds
	OK      bool
	Sum     float64 // of the latency
	Count   int
	Version string
	Digest  string
	Print   string // fingerprint
	Samples []spooled
}

// spooled is a sample: the family's index in gauges, or -1 - its index in
// summaries, with the value of the label that the family adds.
type spooled struct {
	F int
	X string
	V float64
}

// chain is the rows of one engine, in the order of time.
type chain struct {
	labels      []string
	first, last int64
	time        int64
	extras      map[int]map[string]bool // the values of X seen, by family
}

// environments are those a model was measured in, in the order of time.
type environments struct {
	current string
	spans   []span
}

type span struct {
	start  int64
	labels []string
}

type spool struct {
	file    *os.File
	buffer  bytes.Buffer // what is not in the file yet
	size    int64        // of the file
	engines map[string]*chain
	models  map[string]*environments
	words   []string // the values of X: as few as the table in families.go has
	scratch []byte

	replayed bool
	finished []time.Time // of every record, when there is a replay
}

// The spool starts with a byte of padding, so that offset 0 is no row.
func (s *spool) end() int64 { return s.size + int64(s.buffer.Len()) }

func (s *spool) add(r history.Record) error {
	if s.replayed {
		s.finished = append(s.finished, r.Finished.UTC().Truncate(time.Millisecond))
	}
	if r.SupersededBy != 0 || r.Excluded != nil {
		return nil
	}
	if r.Iteration <= 0 || (!r.OK() && r.Failure == nil) || r.Unsupported() {
		return nil
	}
	at := r.Finished.UnixMilli()
	labels := bounded([]string{r.Model, string(r.Precision), r.Backend, r.Device})
	m := s.models[labels[0]]
	if m == nil {
		m = &environments{}
		s.models[labels[0]] = m
	}
	if len(m.spans) == 0 || m.current != r.Fingerprint {
		env := r.Environment
		cores := ""
		if env.Cores > 0 {
			cores = strconv.Itoa(env.Cores)
		}
		if n := len(m.spans); n > 0 {
			at = max(at, m.spans[n-1].start+1)
		}
		m.current = r.Fingerprint
		m.spans = append(m.spans, span{at, bounded([]string{r.Model, r.Backend, r.Device, r.Fingerprint, env.BackendVersion, cores, env.Governor, env.Driver, env.CUDA, env.Platform})})
	}

	key := strings.Join(labels, "\xff")
	c := s.engines[key]
	if c == nil {
		c = &chain{labels: labels, extras: map[int]map[string]bool{}, time: math.MinInt64}
		s.engines[key] = c
	}
	at = max(at, c.time+1)
	c.time = at
	x := row{Time: at, OK: r.OK()}
	sample := func(f int, v float64, extra string) {
		if !finite(v) {
			return
		}
		if c.extras[f] == nil {
			c.extras[f] = map[string]bool{}
		}
		c.extras[f][extra] = true
		x.Samples = append(x.Samples, spooled{f, extra, v})
	}
	if r.OK() {
		id := bounded([]string{r.Version, r.Digest, r.Fingerprint})
		x.Version, x.Digest, x.Print = id[0], id[1], id[2]
		for i, g := range gauges {
			g.of(r, func(v float64, extra ...string) { sample(i, v, strings.Join(extra, "")) })
		}
		if l := r.Measurement.Latency; finite(l.Sum) && len(l.Quantiles) > 0 { // of how many queries is not known of what was measured elsewhere
			x.Sum, x.Count = l.Sum, l.Queries
			for i, f := range summaries {
				for _, q := range l.Quantiles {
					if v, ok := f.of(q); ok {
						sample(-1-i, v, formatQuantile(q.Q))
					}
				}
			}
		}
	}
	return s.append(c, x)
}

func (s *spool) append(c *chain, x row) error {
	body := s.encode(x)
	if s.end() == 0 {
		s.buffer.WriteByte(0)
	}
	at := s.end()
	var head [12]byte // the offset of the next row, the length of this one
	binary.LittleEndian.PutUint32(head[8:], uint32(len(body)))
	s.buffer.Write(head[:])
	s.buffer.Write(body)
	if c.first == 0 {
		c.first = at
	} else if err := s.link(c.last, at); err != nil {
		return err
	}
	c.last = at
	if s.buffer.Len() > 1<<18 {
		return s.flush()
	}
	return nil
}

// link makes the row at from lead to the row at to.
func (s *spool) link(from, to int64) error {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(to))
	if from >= s.size {
		copy(s.buffer.Bytes()[from-s.size:], b[:])
		return nil
	}
	_, err := s.file.WriteAt(b[:], from)
	return err
}

func (s *spool) flush() error {
	n, err := s.file.WriteAt(s.buffer.Bytes(), s.size)
	s.size += int64(n)
	s.buffer.Reset()
	return err
}

// encode writes a row in a form that is cheap to read again for each family.
func (s *spool) encode(x row) []byte {
	b := append(s.scratch[:0], byte(oneIf(x.OK)))
	b = binary.LittleEndian.AppendUint64(b, uint64(x.Time))
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x.Sum))
	b = binary.LittleEndian.AppendUint64(b, uint64(x.Count))
	for _, t := range []string{x.Version, x.Digest, x.Print} {
		b = append(b, byte(len(t))) // bounded to maxLabel
		b = append(b, t...)
	}
	for _, m := range x.Samples {
		i := slices.Index(s.words, m.X)
		if i < 0 {
			i, s.words = len(s.words), append(s.words, m.X)
		}
		b = append(b, byte(int8(m.F)), byte(i))
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(m.V))
	}
	s.scratch = b
	return b
}

func (s *spool) decode(b []byte, x *row) {
	u64 := func() (v uint64) { v, b = binary.LittleEndian.Uint64(b), b[8:]; return v }
	x.OK, b = b[0] == 1, b[1:]
	x.Time, x.Sum, x.Count = int64(u64()), math.Float64frombits(u64()), int(u64())
	for _, t := range []*string{&x.Version, &x.Digest, &x.Print} {
		n := int(b[0])
		if string(b[1:1+n]) != *t { // mostly the same: spare the copy
			*t = string(b[1 : 1+n])
		}
		b = b[1+n:]
	}
	x.Samples = x.Samples[:0]
	for len(b) > 0 {
		f, w := int(int8(b[0])), s.words[b[1]]
		b = b[2:]
		x.Samples = append(x.Samples, spooled{f, w, math.Float64frombits(u64())})
	}
}

// rows walks a chain; a row's samples are valid until the next.
func (s *spool) rows(c *chain) iter.Seq2[row, error] {
	return func(yield func(row, error) bool) {
		var body []byte
		var x row
		for at := c.first; at != 0; {
			var head [12]byte
			if _, err := s.file.ReadAt(head[:], at); err != nil {
				yield(row{}, err)
				return
			}
			n := int(binary.LittleEndian.Uint32(head[8:]))
			body = slices.Grow(body[:0], n)[:n]
			if _, err := s.file.ReadAt(body, at+int64(len(head))); err != nil {
				yield(row{}, err)
				return
			}
			s.decode(body, &x)
			if !yield(x, nil) {
				return
			}
			at = int64(binary.LittleEndian.Uint64(head[:8]))
		}
	}
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
