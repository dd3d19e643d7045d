package prom

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"sync/atomic"

	"github.com/prometheus/common/model"
)

// memory is how many bytes the answers to one question may take: some 1.4
// million points. A year of 2,000 series is a small part of it, since only
// changes are asked for.
const memory = 32 << 20

// What is kept of an answer beside its data.
const (
	maxLabel    = 64 << 10 // bytes in one label's value
	maxText     = 2000     // bytes of an error or warning
	maxWarnings = 20
)

// errMemory and errSeries are what an answer is refused for while it is read.
var (
	errMemory = errors.New("more than the memory for one question")
	errSeries = errors.New("more series than allowed")
)

// budget counts what the answers to one question take. It may be used concurrently.
type budget struct {
	used  atomic.Int64
	limit int64
}

func (b *budget) take(n int64) error {
	if b.used.Add(n) > b.limit {
		return errMemory
	}
	return nil
}

// labelBytes is about how much memory labels take.
func labelBytes(l model.Metric) int64 {
	n := int64(96)
	for k, v := range l {
		n += 64 + int64(len(k)+len(v))
	}
	return n
}

// answer is what the API answered; what it holds beside depends on the question.
type answer struct {
	warnings []string
	kind     string // resultType
	series   []Series
	strings  []string // of a list of labels or values
	version  string
	native   bool // a series holds nothing but native histograms
	partial  bool // parts of the store did not answer
}

// decoder reads one answer as a stream, within limits.
type decoder struct {
	scanner
	maxSeries int // 0 for no limit
	// settled drops points that repeat the one before.
	settled bool
	// step is that of an answer with a point for every step, in milliseconds: a series that
	// lacks one has ended, also before until. 0 leaves ends to the store.
	step, until int64
	last        int64 // when the newest point of the series was that is being read
	budget      *budget
	out         answer
}

// decode reads the JSON of an answer from r.
func (d *decoder) decode(r io.Reader) (answer, error) {
	d.reset(r)
	status := ""
	var failed apiError
	err := d.object(func(key string) (err error) {
		switch key {
		case "status":
			status, err = d.text(maxText)
		case "errorType":
			failed.kind, err = d.text(maxText)
		case "error":
			failed.text, err = d.text(maxText)
		case "warnings":
			err = d.array(func() error {
				w, err := d.text(maxText)
				if len(d.out.warnings) < maxWarnings {
					d.out.warnings = append(d.out.warnings, w)
				}
				return err
			})
		case "isPartial": // VictoriaMetrics
			d.out.partial, err = d.isTrue()
		case "data":
			err = d.data()
		default:
			err = d.skip()
		}
		return err
	})
	if err != nil {
		return answer{}, err
	}
	switch status {
	case "success":
		return d.out, nil
	case "error":
		return answer{}, &failed
	}
	return answer{}, errSyntax
}

func (d *decoder) data() error {
	c, err := d.peek()
	if err != nil {
		return err
	}
	if c == '[' {
		return d.array(func() error {
			s, err := d.text(maxLabel)
			if err != nil {
				return err
			}
			d.out.strings = append(d.out.strings, s)
			return d.budget.take(16 + int64(len(s)))
		})
	}
	return d.object(func(key string) (err error) {
		switch key {
		case "resultType":
			d.out.kind, err = d.text(maxText)
		case "result":
			err = d.result()
		case "version":
			d.out.version, err = d.text(maxText)
		default:
			err = d.skip()
		}
		return err
	})
}

// result reads a matrix, a vector, a scalar or a string: the first two are
// lists of objects, the others a time and a text.
func (d *decoder) result() error {
	at, n := int64(0), 0
	return d.array(func() error {
		c, err := d.peek()
		if err != nil {
			return err
		}
		switch {
		case c == '{':
			return d.one()
		case c == 'n':
			return d.skip()
		case n > 1:
			return errSyntax
		}
		text, err := d.scalar(maxText)
		if err != nil {
			return err
		}
		if n++; n == 1 {
			at, err = moment(text)
			return err
		}
		if v, err := number(text); err == nil { // else a string, which no question asks for
			d.out.series = append(d.out.series, Series{Labels: model.Metric{}, Points: []Point{{T: at, V: v}}})
		}
		return nil
	})
}

// one reads one series of a matrix, or one element of a vector.
func (d *decoder) one() error {
	if d.maxSeries > 0 && len(d.out.series) >= d.maxSeries {
		return errSeries
	}
	s, native := Series{Labels: model.Metric{}}, false
	err := d.object(func(key string) error {
		switch key {
		case "metric":
			return d.labels(s.Labels)
		case "values":
			return d.array(func() error { return d.point(&s) })
		case "value":
			return d.point(&s)
		case "histogram", "histograms":
			native = true
			return d.skip()
		default:
			return d.skip()
		}
	})
	if err != nil {
		return err
	}
	if native && len(s.Points) == 0 {
		d.out.native = true
	}
	if err := d.endBefore(&s, d.until+1); err != nil {
		return err
	}
	d.out.series = append(d.out.series, s)
	return d.budget.take(labelBytes(s.Labels))
}

func (d *decoder) labels(into model.Metric) error {
	size := int64(0)
	return d.object(func(name string) error {
		v, err := d.text(maxLabel)
		if err != nil {
			return err
		}
		// Labels are counted for good once their series is whole; until then they
		// must not grow without bound.
		if size += 64 + int64(len(name)+len(v)); size > d.budget.limit {
			return errMemory
		}
		into[model.LabelName(name)] = model.LabelValue(v)
		return nil
	})
}

// pointBytes is what a point takes in memory.
const pointBytes = 24

// point reads [time, "value"] and adds it to s.
func (d *decoder) point(s *Series) error {
	var p Point
	n := 0
	if err := d.array(func() error {
		text, err := d.scalar(64)
		if err != nil {
			return err
		}
		switch n++; n {
		case 1:
			p.T, err = moment(text)
		case 2:
			p.V, err = number(text)
		default:
			err = errSyntax
		}
		return err
	}); err != nil {
		return err
	}
	if n != 2 {
		return errSyntax
	}
	if err := d.endBefore(s, p.T); err != nil {
		return err
	}
	d.last = p.T
	if n := len(s.Points); d.settled && n > 0 && same(s.Points[n-1], p) {
		return nil
	}
	s.Points = append(s.Points, p)
	return d.budget.take(pointBytes)
}

// endBefore marks the end of a series that lacks the step after its last point, where
// steps are known and that one came before t.
func (d *decoder) endBefore(s *Series, t int64) error {
	end := d.last + d.step
	if d.step == 0 || len(s.Points) == 0 || end >= t {
		return nil
	}
	s.Points = append(s.Points, Point{T: end, Gone: true})
	return d.budget.take(pointBytes)
}

// moment reads seconds as milliseconds.
func moment(text []byte) (int64, error) {
	t, err := strconv.ParseFloat(string(text), 64)
	if err != nil || math.Abs(t) > 1e15 || t != t {
		return 0, errSyntax
	}
	return int64(math.Round(t * 1000)), nil
}

func number(text []byte) (float64, error) {
	v, err := strconv.ParseFloat(string(text), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) { // a range error comes with the infinity that is meant
		return 0, errSyntax
	}
	return v, nil
}

// same reports whether q says nothing that p has not said.
func same(p, q Point) bool {
	return p.Gone == q.Gone && (p.Gone || p.V == q.V || (math.IsNaN(p.V) && math.IsNaN(q.V)))
}

// bounded is a reader that fails once more than n bytes were read.
type bounded struct {
	r io.Reader
	n int64
}

var errBytes = errors.New("more bytes than allowed")

func (b *bounded) Read(p []byte) (int, error) {
	if b.n <= 0 {
		// One byte more reports whether the answer ends here.
		var one [1]byte
		if n, err := b.r.Read(one[:]); n == 0 {
			return 0, err
		}
		return 0, errBytes
	}
	if int64(len(p)) > b.n {
		p = p[:b.n]
	}
	n, err := b.r.Read(p)
	b.n -= int64(n)
	return n, err
}

func (e *apiError) Error() string { return fmt.Sprintf("%s: %s", e.kind, e.text) }

// apiError is an error of the API's own.
type apiError struct{ kind, text string }
