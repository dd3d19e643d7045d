// Package forecasting carries histories to package forecast and forecasts to
// people and programs: the JSON lines that forecasters are scored with, CSV
// files of one series, text, and pictures.
package forecasting

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/plancast/plancast/forecast"
)

// query is one line asked: points are [unix seconds, value] in order of time.
type query struct {
	Points    [][]float64          `json:"points"`
	Direction string               `json:"direction"`
	Target    *float64             `json:"target"`
	Horizon   *int                 `json:"horizon"`
	Effort    forecast.EffortLevel `json:"effort"`
	Siblings  []past               `json:"siblings"`
}

// past is another series of the same project, as known by then.
type past struct {
	Points    [][]float64 `json:"points"`
	Direction string      `json:"direction"`
}

// answer is one line answered. Quantiles are of the value at the horizon.
type answer struct {
	Probability *float64           `json:"probability,omitempty"`
	Quantiles   map[string]float64 `json:"quantiles,omitempty"`
	Error       string             `json:"error,omitempty"`
}

// longestLine bounds the memory that one line can take.
const longestLine = 64 << 20

// ServeJSONL answers questions, one JSON object a line:
//
//	{"points": [[unix seconds, value], ...], "direction": "lower", "target": x, "horizon": h}
//
// asks whether one of the next h results reaches target, and is answered by
//
//	{"probability": p, "quantiles": {"0.1": a, "0.5": b, "0.9": c}}
//
// with quantiles of the value h iterations ahead. A question may add
//
//	"siblings": [{"points": [[unix seconds, value], ...], "direction": "lower"}, ...]
//
// the other series of the same project as known by then, from which the
// forecast learns how often gains come there, and "effort": "active" or
// "maintenance" where it is known whether people work on it. Every line that is not blank
// has its answer, in order; one that is no question is answered by
// {"error": "..."}. Answers are written as soon as no further question waits.
// The error is that of reading or writing.
func ServeJSONL(r io.Reader, w io.Writer) error {
	in := bufio.NewReaderSize(r, 1<<16)
	out := bufio.NewWriter(w)
	enc := json.NewEncoder(out)
	for n := 1; ; n++ {
		line, err := readLine(in)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errLong) {
			return fmt.Errorf("read question %d: %w", n, err)
		}
		switch {
		case errors.Is(err, errLong):
			err = nil
			if e := enc.Encode(answer{Error: errLong.Error()}); e != nil {
				return fmt.Errorf("write answer: %w", e)
			}
		case len(bytes.TrimSpace(line)) > 0:
			if e := enc.Encode(reply(line)); e != nil {
				return fmt.Errorf("write answer: %w", e)
			}
		}
		if in.Buffered() == 0 || err != nil {
			if e := out.Flush(); e != nil {
				return fmt.Errorf("write answer: %w", e)
			}
		}
		if err != nil {
			return nil
		}
	}
}

var errLong = fmt.Errorf("the question is longer than %d MiB", longestLine>>20)

// readLine returns the next line; too long a one is read to its end and
// reported as errLong.
func readLine(in *bufio.Reader) (line []byte, err error) {
	for {
		part, err := in.ReadSlice('\n')
		if len(line) <= longestLine {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err == nil && len(line) > longestLine:
			return nil, errLong
		}
		return line, err
	}
}

func reply(line []byte) answer {
	a, err := respond(line)
	if err != nil {
		return answer{Error: err.Error()}
	}
	return a
}

func respond(line []byte) (answer, error) {
	var q query
	if err := json.Unmarshal(line, &q); err != nil {
		return answer{}, fmt.Errorf("read the question: %w", err)
	}
	if err := withoutNull(line); err != nil {
		return answer{}, err
	}
	switch {
	case q.Target == nil:
		return answer{}, errors.New("the question has no target")
	case q.Horizon == nil:
		return answer{}, errors.New("the question has no horizon")
	case *q.Horizon < 1:
		return answer{}, fmt.Errorf("horizon %d is not 1 or more", *q.Horizon)
	}
	s, err := series(past{q.Points, q.Direction})
	if err != nil {
		return answer{}, err
	}
	if len(s.Observations) == 0 {
		return answer{}, errors.New("the question has no points")
	}
	s.Criterion.Target = *q.Target
	var o forecast.Options
	now := s.Observations[len(s.Observations)-1].Time
	for i, x := range q.Siblings {
		sibling, err := series(x)
		if err != nil {
			return answer{}, fmt.Errorf("sibling %d: %w", i+1, err)
		}
		o.Siblings = append(o.Siblings, sibling)
		if n := len(sibling.Observations); n > 0 && sibling.Observations[n-1].Time.After(now) {
			now = sibling.Observations[n-1].Time
		}
	}
	f, err := forecast.Single(s, forecast.Goal{Iterations: *q.Horizon, Effort: q.Effort}, now, o)
	if err != nil {
		return answer{}, err
	}
	b := f.Bands[*q.Horizon-1]
	return answer{
		Probability: &f.Probability.Value,
		Quantiles:   map[string]float64{"0.1": b.Low, "0.5": b.Median, "0.9": b.High},
	}, nil
}

// withoutNull refuses a point with a null, which encoding/json reads as 0.
func withoutNull(line []byte) error {
	if !bytes.Contains(line, []byte("null")) {
		return nil
	}
	type past struct {
		Points [][]*float64 `json:"points"`
	}
	var q struct {
		past
		Siblings []past `json:"siblings"`
	}
	if err := json.Unmarshal(line, &q); err != nil {
		return fmt.Errorf("read the question: %w", err)
	}
	for _, p := range append(q.Siblings, q.past) {
		for i, point := range p.Points {
			if slices.Contains(point, nil) {
				return fmt.Errorf("point %d holds null: leave out what has no value", i+1)
			}
		}
	}
	return nil
}

// series reads the points of a series. They are one iteration each, in order of
// time, and in the order given where clocks stood still or a result was repeated.
func series(p past) (forecast.Series, error) {
	s := forecast.Series{
		Criterion:    forecast.Criterion{Metric: "value", Comparison: forecast.AtMost},
		Observations: make([]forecast.Observation, len(p.Points)),
	}
	switch p.Direction {
	case "lower":
	case "higher":
		s.Criterion.Comparison = forecast.AtLeast
	default:
		return s, fmt.Errorf("direction %q is neither lower nor higher", p.Direction)
	}
	for i, p := range p.Points {
		if len(p) != 2 {
			return s, fmt.Errorf("point %d has %d numbers, want [unix seconds, value]", i+1, len(p))
		}
		if math.Abs(p[0]) > 1e12 {
			return s, fmt.Errorf("point %d: time %v is not in unix seconds", i+1, p[0])
		}
	}
	slices.SortStableFunc(p.Points, func(a, b []float64) int { return cmp.Compare(a[0], b[0]) })
	var last time.Time
	for i, p := range p.Points {
		whole, part := math.Modf(p[0])
		t := time.Unix(int64(whole), int64(part*1e9))
		if i > 0 && !t.After(last) {
			t = last.Add(1)
		}
		last = t
		s.Observations[i] = forecast.Observation{Time: t, Value: p[1], Valid: true}
	}
	return s, nil
}
