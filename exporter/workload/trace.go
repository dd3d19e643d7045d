package workload

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strings"
	"time"
)

// Traced is a request of a trace.
type Traced struct {
	At    time.Duration `json:"at"`    // after the first
	Shape int           `json:"shape"` // index into Shapes
}

// MostShapes is how many shapes a recorded mix may have: an engine holds each of them
// ready.
const MostShapes = 64

// The bounds of a trace: each job carries it whole.
const (
	mostTraced     = 10_000
	longestLine    = 64 << 10
	longestTrace   = time.Hour
	mostDimensions = 1 << 30
)

// ReadTrace reads a trace, a JSON object in each line: "at" is when a request came, in
// seconds since any moment, and "dims" are the sizes of its shape. Lines ascend in
// time; empty ones do not count. It fills Shapes, Rate, Replayed and Trace; errors name
// the line.
func (w *Workload) ReadTrace(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, longestLine)
	var shapes []Shape
	var trace []Traced
	known := map[string]int{}
	first, last := 0.0, math.Inf(-1)
	for n := 1; lines.Scan(); n++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		at, dims, err := tracedLine(line)
		if len(trace) == 0 {
			first = at
		}
		switch {
		case err != nil:
		case at < last:
			err = errors.New("it is earlier than the request before: sort the trace by time")
		case at-first > longestTrace.Seconds():
			err = fmt.Errorf("it is more than %v after the first: take a part of the trace", longestTrace)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		last = at
		shape := Shape{Dims: dims}
		i, ok := known[shape.Words()]
		if !ok {
			i = len(shapes)
			known[shape.Words()], shapes = i, append(shapes, shape)
		}
		shapes[i].Weight++
		trace = append(trace, Traced{At: time.Duration((at - first) * float64(time.Second)), Shape: i})
		switch {
		case len(trace) > mostTraced:
			return fmt.Errorf("it has more than %d requests: take a part of it", mostTraced)
		case len(shapes) > MostShapes:
			return fmt.Errorf("it has more than %d shapes: round its sizes up, as a server with buckets does", MostShapes)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if len(trace) < 2 || trace[len(trace)-1].At == 0 {
		return errors.New("it needs two requests at different times")
	}
	w.Shapes, w.Trace, w.Replayed = shapes, trace, len(trace)
	w.Rate = float64(len(trace)-1) / trace[len(trace)-1].At.Seconds()
	return nil
}

func tracedLine(line []byte) (at float64, dims map[string]int64, err error) {
	var x struct {
		At   *float64         `json:"at"`
		Dims map[string]int64 `json:"dims"`
	}
	object := json.NewDecoder(bytes.NewReader(line))
	object.DisallowUnknownFields()
	err = object.Decode(&x)
	if err == nil && object.InputOffset() < int64(len(line)) {
		err = errors.New("text follows the object")
	}
	if err != nil {
		return 0, nil, fmt.Errorf(`it is not a request such as {"at": 0.25, "dims": {"sequence": 32}}: %w`, traceError(err))
	}
	if x.At == nil {
		return 0, nil, errors.New(`it has no "at", the time in seconds`)
	}
	for name, size := range x.Dims {
		if size < 0 || size > mostDimensions || name == Batch && size == 0 {
			return 0, nil, fmt.Errorf("%s is %d", name, size)
		}
	}
	return *x.At, x.Dims, nil
}

// traceError says what is wrong with a line in words about the line.
func traceError(err error) error {
	var mistyped *json.UnmarshalTypeError
	switch {
	case !errors.As(err, &mistyped):
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	case mistyped.Field == "at":
		return fmt.Errorf(`"at" is a %s, and a time in seconds is needed`, mistyped.Value)
	case mistyped.Type.Kind() == reflect.Int64:
		return fmt.Errorf("a size is a %s, and a whole number is needed", mistyped.Value)
	}
	return fmt.Errorf("%s stands where an object is needed", mistyped.Value)
}
