package bench

import (
	"fmt"
	"math"
	"slices"

	"github.com/plancast/plancast/exporter/engine"
)

// fewSamples is how many samples top-1 agreement needs before it is chosen by
// itself: with fewer, one flipped sample moves it by more than 1 %.
const fewSamples = 100

// comparison gathers what compare finds.
type comparison struct {
	Accuracy
	warnings []string
}

// compare computes the accuracy of outputs against reference, both with all
// samples along the first dimension of each tensor. Definitions are in
// docs/accuracy.md. labels may be nil. Failures are *engine.Error of
// KindAccuracy or, where nothing can be compared until the user puts it right,
// KindInvalidInput.
func compare(outputs, reference []engine.Tensor, labels []int64, samples int, o Options) (comparison, error) {
	c := comparison{Accuracy: Accuracy{Samples: samples, Cosine: 1}}
	pairs, err := c.pair(outputs, reference)
	if err != nil {
		return c, err
	}
	var absSum, elements float64
	for _, p := range pairs {
		d, err := differ(p.out, p.ref)
		if err != nil {
			return c, err
		}
		c.MaxAbs = max(c.MaxAbs, d.maxAbs)
		c.RelL2 = max(c.RelL2, d.relL2)
		c.Cosine = min(c.Cosine, d.cosine)
		c.NaNs += d.nans
		c.Infs += d.infs
		absSum += d.absSum
		elements += float64(d.finite)
	}
	if elements > 0 {
		c.MeanAbs = absSum / elements
	}
	if err := c.classes(pairs, labels, samples, o.Output); err != nil {
		return c, err
	}
	return c, c.deviation(o, len(pairs) == 1)
}

type pair struct{ out, ref engine.Tensor }

// pair matches outputs with the reference's by name, or by being the only ones.
func (c *comparison) pair(outputs, reference []engine.Tensor) ([]pair, error) {
	var pairs []pair
	for _, out := range outputs {
		i := slices.IndexFunc(reference, func(r engine.Tensor) bool { return r.Name == out.Name })
		if i < 0 && len(outputs) == 1 && len(reference) == 1 {
			i = 0
		}
		if i < 0 {
			c.warnings = append(c.warnings, fmt.Sprintf("output %q is not in the reference and was not compared", out.Name))
			continue
		}
		pairs = append(pairs, pair{out, reference[i]})
	}
	if len(pairs) == 0 {
		names := func(ts []engine.Tensor) (out []string) {
			for _, t := range ts {
				out = append(out, t.Name)
			}
			return out
		}
		e := engine.Errorf(engine.KindInvalidInput, "compare outputs", "", "the model's outputs are %q and the reference's are %q", names(outputs), names(reference))
		e.Hint = "use the same output names, or a new reference"
		return nil, e
	}
	return pairs, nil
}

type difference struct {
	maxAbs, absSum, relL2, cosine float64
	finite, nans, infs            int
}

// differ compares element by element. Elements that are not finite on either
// side are counted and left out of the sums.
func differ(out, ref engine.Tensor) (difference, error) {
	d := difference{cosine: 1}
	if (out.DType == engine.String) != (ref.DType == engine.String) {
		return d, engine.Errorf(engine.KindInvalidInput, "compare output", out.Name, "it is %s and the reference's is %s", out.DType, ref.DType)
	}
	if out.Len() != ref.Len() || !sameShape(out.Shape, ref.Shape) {
		e := engine.Errorf(engine.KindInvalidInput, "compare output", out.Name, "its shape over all samples is %v and the reference's is %v", out.Shape, ref.Shape)
		e.Hint = "compare the same model on the same inputs, or make a new reference"
		return d, e
	}
	if out.DType == engine.String {
		return differText(out, ref), nil
	}
	var diff2, out2, ref2, dot float64
	fresh := 0 // NaNs where the reference has a number
	for i := range out.Len() {
		y, r := out.At(i), ref.At(i)
		switch {
		case math.IsNaN(y):
			if d.nans++; !math.IsNaN(r) {
				fresh++
			}
			continue
		case math.IsInf(y, 0):
			d.infs++
			continue
		case math.IsNaN(r) || math.IsInf(r, 0):
			continue
		}
		abs := math.Abs(y - r)
		d.finite++
		d.maxAbs = max(d.maxAbs, abs)
		d.absSum += abs
		diff2 += abs * abs
		out2 += y * y
		ref2 += r * r
		dot += y * r
	}
	if fresh > 0 {
		e := engine.Errorf(engine.KindAccuracy, "compare output", out.Name, "%d of %d values are NaN where the reference has numbers", fresh, out.Len())
		e.Hint = "look for overflow or a division by zero; float16 overflows above 65504"
		return d, e
	}
	switch {
	case ref2 > 0:
		d.relL2 = math.Sqrt(diff2 / ref2)
	case diff2 > 0:
		d.relL2 = 1 // nothing to be relative to, and not equal
	}
	switch {
	case out2 > 0 && ref2 > 0:
		d.cosine = max(-1, min(1, dot/math.Sqrt(out2/ref2)/ref2))
	case out2 > 0 || ref2 > 0:
		d.cosine = 0
	}
	return d, nil
}

// differText compares text, where an element is the same or is not: the relative
// distance is the share of those that are not.
func differText(out, ref engine.Tensor) difference {
	d := difference{cosine: 1, finite: len(out.Strings)}
	other := 0.0
	for i, s := range out.Strings {
		if s != ref.Strings[i] {
			other++
		}
	}
	if other > 0 {
		share := other / float64(len(out.Strings))
		d.maxAbs, d.absSum, d.relL2, d.cosine = 1, other, share, 1-share
	}
	return d
}

// sameShape ignores dimensions of size one: [10,1000,1,1] is [10,1000].
func sameShape(a, b []int64) bool {
	squeeze := func(s []int64) []int64 {
		return slices.DeleteFunc(slices.Clone(s), func(n int64) bool { return n == 1 })
	}
	return slices.Equal(squeeze(a), squeeze(b))
}

// classCount is the number of classes when t holds one row of scores for each
// sample, and 0 otherwise.
func classCount(t engine.Tensor, samples int) int {
	if samples < 1 || len(t.Shape) < 2 || t.Shape[0] != int64(samples) {
		return 0
	}
	wide := 0
	for _, n := range t.Shape[1:] {
		if n > 1 {
			wide++
		}
	}
	switch t.DType {
	case engine.Float16, engine.BFloat16, engine.Float32, engine.Float64:
	default:
		return 0
	}
	if n := t.Len() / samples; wide == 1 && n >= 2 {
		return n
	}
	return 0
}

// argmax is the position of the largest score of row i; the first of equals.
// -1 when the row has no number.
func argmax(t engine.Tensor, row, classes int) int {
	best, at := math.Inf(-1), -1
	for k := range classes {
		if v := t.At(row*classes + k); v > best || (at < 0 && !math.IsNaN(v)) {
			best, at = v, k
		}
	}
	return at
}

// classes computes what class scores allow: agreement, and top-1 by labels.
func (c *comparison) classes(pairs []pair, labels []int64, samples int, output string) error {
	i, err := c.scores(pairs, labels, samples, output)
	if err != nil || i < 0 {
		return err
	}
	c.Output = pairs[i].out.Name
	out, ref := pairs[i].out, pairs[i].ref
	n := classCount(out, samples)
	if labels != nil && len(labels) != samples {
		return engine.Errorf(engine.KindInvalidInput, "compare with labels", "labels.npy", "it has %d labels for %d samples", len(labels), samples)
	}
	var same, right, refRight float64
	for k := range samples {
		y, r := argmax(out, k, n), argmax(ref, k, n)
		if y == r {
			same++
		}
		if labels == nil {
			continue
		}
		if labels[k] < 0 || labels[k] >= int64(n) {
			return engine.Errorf(engine.KindInvalidInput, "compare with labels", "labels.npy", "label %d of sample %d is outside the %d classes", labels[k], k, n)
		}
		if int64(y) == labels[k] {
			right++
		}
		if int64(r) == labels[k] {
			refRight++
		}
	}
	ratio := func(v float64) *float64 { v /= float64(samples); return &v }
	c.Top1Agreement = ratio(same)
	if labels != nil {
		c.Top1, c.ReferenceTop1 = ratio(right), ratio(refRight)
	}
	return nil
}

// deviation picks the definition and applies it.
func (c *comparison) deviation(o Options, single bool) error {
	c.Measure = o.Deviation
	switch {
	case o.Reference == ReferenceLabels:
		c.Measure = deviationError
	case o.Deviation == DeviationAuto || o.Deviation == "":
		switch {
		case c.Top1 != nil:
			c.Measure = DeviationTop1
		case c.Top1Agreement != nil && single && c.Samples >= fewSamples:
			c.Measure = DeviationAgreement
		default:
			c.Measure = DeviationRelL2
		}
	}
	missing := func(what, hint string) error {
		e := engine.Errorf(engine.KindInvalidInput, "compute accuracy deviation", c.Measure, "%s", what)
		e.Hint = hint
		return e
	}
	switch c.Measure {
	case DeviationTop1:
		if c.Top1 == nil {
			return missing("there are no labels", "put labels.npy beside the model, or choose another deviation")
		}
		c.Deviation = max(0, *c.ReferenceTop1-*c.Top1)
	case deviationError:
		if c.Top1 == nil {
			return missing("there are no labels for an output of class scores", "put labels.npy beside the model, or choose another reference")
		}
		c.Deviation = 1 - *c.Top1
		c.ReferenceTop1, c.Top1Agreement = nil, nil // of the outputs with themselves
	case DeviationAgreement:
		if c.Top1Agreement == nil {
			return missing("no output is a row of class scores", "choose relative_l2")
		}
		c.Deviation = 1 - *c.Top1Agreement
	case DeviationRelL2:
		c.Deviation = c.RelL2
	}
	if c.Measure != DeviationRelL2 && c.Samples < fewSamples {
		c.warnings = append(c.warnings, fmt.Sprintf("%s on %d samples moves in steps of %.2g %%", c.Measure, c.Samples, 100/float64(c.Samples)))
	}
	if o.MaxDeviation > 0 && c.Deviation > o.MaxDeviation {
		e := engine.Errorf(engine.KindAccuracy, "compare outputs", "", "accuracy deviation (%s) is %.3g, above the %.3g allowed", c.Measure, c.Deviation, o.MaxDeviation)
		e.Hint = "check the quantization, or raise max_deviation"
		return e
	}
	return nil
}
