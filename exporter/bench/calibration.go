package bench

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/tensorio"
)

// Calibration says how well calibration data stand for what the engine is given.
// Shares are ratios in [0, 1]; one that nothing is known of is nil.
type Calibration struct {
	Samples   int64 `json:"samples"`
	FromCache bool  `json:"from_cache,omitempty"`
	// Tensors is the share of the engine's tensors whose range was found.
	Tensors *float64 `json:"tensors,omitempty"`
	// Values is the share of the values in the evaluation inputs that lie between the
	// least and the greatest value of the same input in the calibration data; the
	// input for which it is least counts.
	Values *float64 `json:"values,omitempty"`
	// Channels is the share of the inputs' channels (positions along the second
	// dimension) that are covered: nearly all of a channel's values in the evaluation
	// inputs lie in the range that the calibration data have in that channel.
	Channels *float64 `json:"channels,omitempty"`
	// Classes is the share of the classes that the engine predicts for evaluation
	// inputs which it also predicts for calibration data.
	Classes *float64 `json:"classes,omitempty"`
	// Coverage is how far the data meet the limits: the least of samples and shares,
	// each over its limit, at most 1.
	Coverage float64 `json:"coverage"`
}

// CalibrationLimits are what calibration data should reach. They are a judgement
// of the data and no part of what a result depends on.
type CalibrationLimits struct {
	Samples  int     `json:"samples"`
	Values   float64 `json:"values"`
	Channels float64 `json:"channels"`
	Classes  float64 `json:"classes"`
}

// DefaultCalibrationLimits are loose enough for the few hundred samples that
// entropy calibration is known to do with.
func DefaultCalibrationLimits() CalibrationLimits {
	return CalibrationLimits{Samples: 100, Values: 0.99, Channels: 0.95, Classes: 0.5}
}

// calibration judges the data that the plan was calibrated with.
func (r *run) calibration(ctx context.Context) error {
	plan := r.m.Plan.Calibration
	if plan == nil {
		return nil
	}
	c := &Calibration{Samples: plan.Samples, FromCache: plan.FromCache}
	r.m.Calibration = c
	if plan.Tensors > 0 {
		c.Tensors = new(float64(plan.Ranged) / float64(plan.Tensors))
	}
	arrays, err := tensorio.ReadNPZ(r.job.CalibrationPath, tensorio.ForInputs(r.inputs))
	if err != nil {
		return err
	}
	limits := r.job.CalibrationLimits
	if r.arrays != nil {
		c.ranges(r.inputs, arrays, r.arrays)
		if err := r.predicted(ctx, c, arrays); err != nil {
			return err
		}
	}

	c.Coverage = 1
	part := func(value *float64, limit float64, words string) {
		if value == nil || limit <= 0 {
			return
		}
		c.Coverage = min(c.Coverage, *value/limit)
		if *value < limit {
			r.warn("calibration data are insufficient: %s", words)
		}
	}
	percent := func(v *float64) float64 {
		if v == nil {
			return 0
		}
		return math.Floor(1000**v) / 10 // 99.96 % is not 100 %
	}
	part(new(float64(c.Samples)), float64(limits.Samples), fmt.Sprintf("%d samples instead of %d", c.Samples, limits.Samples))
	part(c.Tensors, 1, fmt.Sprintf("no range was found for %d of %d tensors", plan.Tensors-plan.Ranged, plan.Tensors))
	part(c.Values, limits.Values, fmt.Sprintf("%.3g %% of the evaluation inputs' values lie in their range instead of %.3g %%", percent(c.Values), 100*limits.Values))
	part(c.Channels, limits.Channels, fmt.Sprintf("%.3g %% of the input channels are covered instead of %.3g %%", percent(c.Channels), 100*limits.Channels))
	part(c.Classes, limits.Classes, fmt.Sprintf("%.3g %% of the predicted classes occur in them instead of %.3g %%", percent(c.Classes), 100*limits.Classes))
	return nil
}

// nearlyAll is the share of a channel's values that cover it. Of n calibration
// values of a channel, 2 in n+1 further ones lie outside their range even when
// both come from the same source, and where a sample has one value of each
// channel, n is the number of samples.
const nearlyAll = 0.95

// ranges compares the values of floating-point inputs: element types of others
// hold names and positions, whose range says nothing.
func (c *Calibration) ranges(inputs []engine.TensorInfo, calibration, evaluation []engine.Tensor) {
	channels, covered := 0, 0
	for _, in := range inputs {
		if !strings.Contains(string(in.DType), "float") {
			continue
		}
		named := func(t engine.Tensor) bool { return t.Name == in.Name }
		i, k := slices.IndexFunc(calibration, named), slices.IndexFunc(evaluation, named)
		if i < 0 || k < 0 {
			continue
		}
		have, want := byChannel(calibration[i], len(in.Dims)), byChannel(evaluation[k], len(in.Dims))
		if len(have) != len(want) {
			continue
		}
		whole := extent{math.Inf(1), math.Inf(-1)}
		for _, values := range have {
			for v := range values {
				whole.add(v)
			}
		}
		inside, all := 0, 0
		for ch := range want {
			own := extent{math.Inf(1), math.Inf(-1)}
			for v := range have[ch] {
				own.add(v)
			}
			inOwn, inChannel := 0, 0
			for v := range want[ch] {
				inChannel++
				if whole.holds(v) {
					inside++
				}
				if own.holds(v) {
					inOwn++
				}
			}
			all += inChannel
			if inChannel > 0 {
				channels++
				if float64(inOwn) >= nearlyAll*float64(inChannel) {
					covered++
				}
			}
		}
		if all > 0 {
			share := float64(inside) / float64(all)
			if c.Values == nil || share < *c.Values {
				c.Values = &share
			}
		}
	}
	if channels > 0 {
		c.Channels = new(float64(covered) / float64(channels))
	}
}

type extent struct{ least, most float64 }

func (e *extent) add(v float64) { e.least, e.most = min(e.least, v), max(e.most, v) }

func (e extent) holds(v float64) bool { return v >= e.least && v <= e.most }

// byChannel gives the values of t by their position along the second dimension of
// an input of that rank; everything is one channel where there is no such
// dimension. An array of one dimension more holds whole inputs.
func byChannel(t engine.Tensor, rank int) []func(yield func(float64) bool) {
	axis := len(t.Shape) - rank + 1
	n, inner := 1, t.Len()
	if rank >= 2 && axis >= 1 && axis < len(t.Shape) && t.Shape[axis] > 0 {
		n, inner = int(t.Shape[axis]), 1
		for _, d := range t.Shape[axis+1:] {
			inner *= int(d)
		}
	}
	out := make([]func(yield func(float64) bool), n)
	for ch := range n {
		out[ch] = func(yield func(float64) bool) {
			if inner == 0 {
				return
			}
			for at := ch * inner; at+inner <= t.Len(); at += n * inner {
				for i := range inner {
					if v := t.At(at + i); !math.IsNaN(v) && !yield(v) {
						return
					}
				}
			}
		}
	}
	return out
}

// predicted compares the classes that the engine sees in both sets. Engines
// without class scores have none.
func (r *run) predicted(ctx context.Context, c *Calibration, arrays []engine.Tensor) error {
	if r.m.Accuracy == nil || r.m.Accuracy.Output == "" {
		return nil
	}
	scores := func(outputs []engine.Tensor) int {
		return slices.IndexFunc(outputs, func(t engine.Tensor) bool { return t.Name == r.m.Accuracy.Output })
	}
	which := scores(r.outputs)
	shapes, err := r.shapes(r.batches[0]).Resolve(r.inputs)
	if err != nil {
		return err
	}
	calls, err := tensorio.Calls(filepath.Base(r.job.CalibrationPath), r.inputs, shapes, arrays)
	if err != nil {
		return err
	}
	wanted := top(r.outputs[which], r.samples)
	present := map[int]bool{}
	for i, inputs := range calls {
		if i%max(1, len(calls)/20) == 0 {
			r.progress(engine.Progress{Stage: "calibration", Done: float64(i), Total: float64(len(calls)), Message: "classes in the calibration data"})
		}
		out, err := r.engine.Infer(ctx, inputs)
		if err != nil {
			return err
		}
		out = engine.Flatten(out)
		which := scores(out)
		if which < 0 {
			return nil
		}
		n := 1
		if len(out[which].Shape) > 0 {
			n = int(out[which].Shape[0])
		}
		if classCount(out[which], n) == 0 {
			return nil
		}
		for class := range top(out[which], n) {
			present[class] = true
		}
	}
	both := 0
	for class := range wanted {
		if present[class] {
			both++
		}
	}
	c.Classes = new(float64(both) / float64(len(wanted)))
	return nil
}

// top are the classes with the highest score of any sample.
func top(t engine.Tensor, samples int) map[int]bool {
	n := classCount(t, samples)
	classes := map[int]bool{}
	for i := range samples {
		classes[argmax(t, i, n)] = true
	}
	return classes
}
