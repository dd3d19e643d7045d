package trt

import (
	"bufio"
	"bytes"
	"math"
	"strconv"
	"strings"
)

// Calibration feeds TensorRT's entropy calibrator (IInt8EntropyCalibrator2), which
// finds the range of each tensor by running the FP32 network on sample data.
// TensorRT 11 has no calibrators.
type Calibration struct {
	// Shapes of the batches by input name; all batches are alike. An input left out
	// has its fixed shape, or the shape its first profile is tuned for.
	Shapes map[string]Shape
	// Next gives the next batch, float32 values by input name in row-major order, or
	// io.EOF after the last. The slices are copied before the next call. It is called
	// from a thread of the builder, one call at a time; any other error stops the
	// build and comes back from it.
	Next func() (map[string][]float32, error)
	// Cache is an earlier CalibrationResult.Cache. With one, TensorRT reads no data
	// and Next may be nil.
	Cache []byte
}

// CalibrationResult says what calibration did.
type CalibrationResult struct {
	Cache     []byte // the ranges found, text of TensorRT's own format; see ParseCalibrationCache
	FromCache bool   // no data was read
	Batches   int    // batches read
	Samples   int64  // batches times the batch size
}

func (c *Calibration) shapes(inputs []TensorInfo, profiles [][]inputRange) (map[string]Shape, error) {
	if c.Next == nil && len(c.Cache) == 0 {
		return nil, invalidf("neither data nor a cache")
	}
	out := map[string]Shape{}
	for _, in := range inputs {
		s, ok := c.Shapes[in.Name]
		switch {
		case ok:
			if err := (Range{s, s, s}).check(in); err != nil {
				return nil, err
			}
		case !in.Shape.Dynamic():
			s = in.Shape
		default:
			for _, r := range profiles[0] {
				if r.name == in.Name {
					s = r.Opt
				}
			}
		}
		switch in.DType {
		case Float32, Float16, Int32, Int64:
		default:
			return nil, invalidf("input %q is %v; batches are given as float32", in.Name, in.DType)
		}
		out[in.Name] = s
	}
	for name := range c.Shapes {
		if _, ok := out[name]; !ok {
			return nil, invalidf("the model has no input %q", name)
		}
	}
	return out, nil
}

// CalibrationCache is a calibration cache, read.
type CalibrationCache struct {
	Header string // such as "TRT-100600-EntropyCalibration2"
	// Scales by tensor: a tensor's values in ±127·scale are kept, the rest saturate.
	Scales map[string]float32
}

// ParseCalibrationCache reads the text that TensorRT writes: a header line, then
// "tensor: hex" lines with the scale as big-endian IEEE 754 bits.
func ParseCalibrationCache(cache []byte) (*CalibrationCache, error) {
	s := bufio.NewScanner(bytes.NewReader(cache))
	s.Buffer(nil, 1<<20)
	if !s.Scan() || !strings.HasPrefix(s.Text(), "TRT-") {
		return nil, invalidf("calibration cache: the first line is not a TensorRT header")
	}
	c := &CalibrationCache{Header: strings.TrimSpace(s.Text()), Scales: map[string]float32{}}
	for line := 2; s.Scan(); line++ {
		text := strings.TrimSpace(s.Text())
		if text == "" {
			continue
		}
		i := strings.LastIndex(text, ":")
		if i < 0 {
			return nil, invalidf("calibration cache: line %d has no colon", line)
		}
		bits, err := strconv.ParseUint(strings.TrimSpace(text[i+1:]), 16, 32)
		if err != nil {
			return nil, invalidf("calibration cache: line %d has no hexadecimal scale", line)
		}
		c.Scales[text[:i]] = math.Float32frombits(uint32(bits))
	}
	if err := s.Err(); err != nil {
		return nil, invalidf("calibration cache: %v", err)
	}
	return c, nil
}
