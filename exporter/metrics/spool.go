package metrics

import (
	"bytes"
	"encoding/binary"
	"iter"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/history"
)

// row is one result in the spool.
type row struct {
	Time    int64 // milliseconds
	OK      bool
	Version string
	Digest  string
	Print   string // fingerprint
	Samples []spooled
}

// spooled is a sample: the family's index in gauges, or -1 - its index in
// summaries, with the values of the labels that the family adds. Of a summary the
// last of them is a quantile, partSum or partCount.
type spooled struct {
	F int
	X string // joined by separator
	V float64
}

const (
	separator = "\xff"
	partSum   = "sum"
	partCount = "count"
)

// extraOf are the values of the labels that a family adds.
func extraOf(x string) []string {
	if x == "" {
		return nil
	}
	return strings.Split(x, separator)
}

// chain is the rows of one engine, in the order of time.
type chain struct {
	labels      []string
	first, last int64
	time        int64
	extras      map[int]map[string]bool // the values of X, by family
}

// environments are those a model was measured in, in the order of time.
type environments struct {
	current string
	spans   []span
	changes []span // of the candidates that were measured in turn
}

type span struct {
	start  int64
	labels []string // of a change: nil when nothing is known of it
	value  float64
}

// change notes what the change was that led to the candidate of r.
func (e *environments) change(r history.Record, at int64) {
	labels := changeLabels(r.Model, r.Version, r.Change)
	last := span{}
	if n := len(e.changes); n > 0 {
		last = e.changes[n-1]
		at = max(at, last.start+1)
	}
	if value := float64(r.Iteration); value != last.value || !slices.Equal(labels, last.labels) {
		e.changes = append(e.changes, span{at, labels, value})
	}
}

type spool struct {
	file    *os.File
	buffer  bytes.Buffer // what is not in the file yet
	size    int64        // of the file
	engines map[string]*chain
	models  map[string]*environments
	words   []string // the values of X: as few as the table in families.go and the workloads make
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
		m.spans = append(m.spans, span{start: at, value: 1, labels: bounded([]string{r.Model, r.Backend, r.Device, r.Fingerprint, env.BackendVersion, cores, env.Governor, env.Driver, env.CUDA, env.Platform})})
	}

	m.change(r, at)
	key := strings.Join(labels, "\xff")
	c := s.engines[key]
	if c == nil {
		c = &chain{labels: labels, extras: map[int]map[string]bool{}, time: math.MinInt64}
		s.engines[key] = c
	}
	at = max(at, c.time+1)
	c.time = at
	x := row{Time: at, OK: r.OK()}
	sample := func(f int, v float64, labels ...string) {
		if !finite(v) {
			return
		}
		extra := strings.Join(bounded(labels), separator)
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
			g.of(r, func(v float64, extra ...string) { sample(i, v, extra...) })
		}
		for i, f := range summaries {
			f.of(r, func(v summary) {
				part := func(name string, value float64) { sample(-1-i, value, append(slices.Clip(v.extra), name)...) }
				for _, q := range slices.Sorted(maps.Keys(v.quantiles)) {
					part(formatQuantile(q), v.quantiles[q])
				}
				part(partSum, v.sum)
				part(partCount, float64(v.count))
			})
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
	for _, t := range []string{x.Version, x.Digest, x.Print} {
		b = append(b, byte(len(t))) // bounded to maxLabel
		b = append(b, t...)
	}
	for _, m := range x.Samples {
		i := slices.Index(s.words, m.X)
		if i < 0 {
			i, s.words = len(s.words), append(s.words, m.X)
		}
		b = binary.AppendUvarint(append(b, byte(int8(m.F))), uint64(i))
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(m.V))
	}
	s.scratch = b
	return b
}

func (s *spool) decode(b []byte, x *row) {
	u64 := func() (v uint64) { v, b = binary.LittleEndian.Uint64(b), b[8:]; return v }
	x.OK, b = b[0] == 1, b[1:]
	x.Time = int64(u64())
	for _, t := range []*string{&x.Version, &x.Digest, &x.Print} {
		n := int(b[0])
		if string(b[1:1+n]) != *t { // mostly the same: spare the copy
			*t = string(b[1 : 1+n])
		}
		b = b[1+n:]
	}
	x.Samples = x.Samples[:0]
	for len(b) > 0 {
		f := int(int8(b[0]))
		word, n := binary.Uvarint(b[1:])
		b = b[1+n:]
		x.Samples = append(x.Samples, spooled{f, s.words[word], math.Float64frombits(u64())})
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
