package bench

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/engine"
)

func TestCompare(t *testing.T) {
	scores := func(rows ...[]float32) engine.Tensor {
		return floats("y", []int64{int64(len(rows)), 3}, slices.Concat(rows...)...)
	}
	ref := scores([]float32{1, 0, 0}, []float32{0, 1, 0}, []float32{0, 0, 1}, []float32{0, 0, 1})
	out := scores([]float32{2, 0, 0}, []float32{0, 2, 0}, []float32{0, 2, 0}, []float32{2, 0, 0})
	nan := float32(math.NaN())
	inf := float32(math.Inf(1))
	value := func(v *float64) float64 {
		if v == nil {
			return math.NaN()
		}
		return *v
	}

	o := DefaultOptions()
	c, err := compare([]engine.Tensor{out}, []engine.Tensor{ref}, []int64{0, 1, 2, 0}, 4, o)
	if err != nil {
		t.Fatal(err)
	}
	if value(c.Top1Agreement) != 0.5 || value(c.Top1) != 0.75 || value(c.ReferenceTop1) != 0.75 || c.Measure != DeviationTop1 || c.Deviation != 0 {
		t.Errorf("%+v", c)
	}
	o.Deviation = DeviationAgreement
	if c, err = compare([]engine.Tensor{out}, []engine.Tensor{ref}, nil, 4, o); err != nil || c.Deviation != 0.5 || len(c.warnings) != 1 {
		t.Errorf("%+v %v", c, err)
	}
	o.Deviation = DeviationTop1
	if _, err = compare([]engine.Tensor{out}, []engine.Tensor{ref}, nil, 4, o); engine.AsError(err).Kind != engine.KindInvalidInput {
		t.Errorf("top1 without labels: %v", err)
	}
	o.Deviation = DeviationAuto
	if c, err = compare([]engine.Tensor{out}, []engine.Tensor{ref}, nil, 4, o); err != nil || c.Measure != DeviationRelL2 {
		t.Errorf("too few samples for agreement: %+v %v", c, err)
	}
	for name, labels := range map[string][]int64{"too few": {0}, "out of range": {0, 1, 2, 3}, "negative": {0, 1, 2, -1}} {
		if _, err := compare([]engine.Tensor{out}, []engine.Tensor{ref}, labels, 4, o); engine.AsError(err).Kind != engine.KindInvalidInput {
			t.Errorf("labels %s: %v", name, err)
		}
	}
	// Not-a-number where the reference has it too is counted, not condemned.
	both := floats("y", []int64{4}, 1, nan, inf, 4)
	if c, err = compare([]engine.Tensor{both}, []engine.Tensor{both}, nil, 4, o); err != nil || c.NaNs != 1 || c.Infs != 1 || c.Deviation != 0 || c.MaxAbs != 0 {
		t.Errorf("%+v %v", c, err)
	}
	if _, err = json.Marshal(c.Accuracy); err != nil {
		t.Error(err)
	}
	zero := floats("y", []int64{2}, 0, 0)
	if c, err = compare([]engine.Tensor{zero}, []engine.Tensor{zero}, nil, 2, o); err != nil || c.RelL2 != 0 || c.Cosine != 1 {
		t.Errorf("zero against zero: %+v %v", c, err)
	}
	if c, err = compare([]engine.Tensor{floats("y", []int64{2}, 1, 0)}, []engine.Tensor{zero}, nil, 2, o); err != nil || c.RelL2 != 1 || c.Cosine != 0 {
		t.Errorf("something against zero: %+v %v", c, err)
	}
	if _, err = compare([]engine.Tensor{out}, []engine.Tensor{zero}, nil, 4, o); engine.AsError(err).Kind != engine.KindInvalidInput {
		t.Errorf("another shape: %v", err)
	}
	two := []engine.Tensor{floats("a", []int64{1}, 1), floats("b", []int64{1}, 1)}
	if c, err = compare(two, two[:1], nil, 1, o); err != nil || len(c.warnings) != 1 {
		t.Errorf("an output more: %q %v", c.warnings, err)
	}
	if _, err = compare(two, []engine.Tensor{zero}, nil, 1, o); engine.AsError(err).Kind != engine.KindInvalidInput {
		t.Errorf("no output in common: %v", err)
	}
}

// An output of the same number of values in another shape is another output;
// dimensions of one are no difference.
func TestOutputsOfAnotherShapeAreNotCompared(t *testing.T) {
	ref := floats("y", []int64{2, 3}, 1, 2, 3, 4, 5, 6)
	for name, c := range map[string]struct {
		shape    []int64
		compared bool
	}{
		"the same":             {[]int64{2, 3}, true},
		"with dimensions of 1": {[]int64{2, 3, 1, 1}, true},
		"transposed":           {[]int64{3, 2}, false},
		"flat":                 {[]int64{6}, false},
	} {
		out := ref
		out.Shape = c.shape
		_, err := compare([]engine.Tensor{out}, []engine.Tensor{ref}, nil, 2, DefaultOptions())
		if c.compared && err != nil || !c.compared && (err == nil || engine.AsError(err).Kind != engine.KindInvalidInput) {
			t.Errorf("%s: %v; compared should be %t", name, err, c.compared)
		}
	}
	short := ref
	short.Data = ref.Data[:len(ref.Data)-4]
	if _, err := compare([]engine.Tensor{short}, []engine.Tensor{ref}, nil, 2, DefaultOptions()); err == nil || engine.AsError(err).Kind != engine.KindInvalidInput {
		t.Errorf("a value less than its shape says: %v", err)
	}
}

// The top-1 agreement is chosen for a model of one output, of class scores, with
// as many samples as a flipped one moves by 1 % at most.
func TestTheAgreementIsChosenFromAHundredSamples(t *testing.T) {
	scores := func(name string, samples int) engine.Tensor {
		return floats(name, []int64{int64(samples), 2}, slices.Repeat([]float32{1, 0}, samples)...)
	}
	for _, c := range []struct {
		samples, outputs int
		want             string
	}{
		{fewSamples - 1, 1, DeviationRelL2},
		{fewSamples, 1, DeviationAgreement},
		{fewSamples, 2, DeviationRelL2},
	} {
		outputs := []engine.Tensor{scores("logits", c.samples), scores("other", c.samples)}[:c.outputs]
		got, err := compare(outputs, outputs, nil, c.samples, DefaultOptions())
		if err != nil || got.Measure != c.want || got.Top1Agreement == nil {
			t.Errorf("%d samples of %d outputs: %s, %v; want %s", c.samples, c.outputs, got.Measure, err, c.want)
		}
	}
}

func TestAModelWithoutClassScoresIsJudgedByItsValues(t *testing.T) {
	one := []engine.Tensor{floats("y", []int64{fewSamples, 1}, make([]float32, fewSamples)...)}
	if c, err := compare(one, one, nil, fewSamples, DefaultOptions()); err != nil || c.Measure != DeviationRelL2 {
		t.Errorf("%s, %v", c.Measure, err)
	}
}

// Being right more often than the reference is no deviation.
func TestTheDeviationOfTop1IsWhatWasLost(t *testing.T) {
	ref := floats("y", []int64{2, 2}, 1, 0, 1, 0)
	for name, c := range map[string]struct {
		scores []float32
		labels []int64
		want   float64
	}{
		"one of two lost":   {[]float32{1, 0, 0, 1}, []int64{0, 0}, 0.5},
		"one of two gained": {[]float32{1, 0, 0, 1}, []int64{0, 1}, 0},
	} {
		got, err := compare([]engine.Tensor{floats("y", []int64{2, 2}, c.scores...)}, []engine.Tensor{ref}, c.labels, 2, DefaultOptions())
		if err != nil || got.Measure != DeviationTop1 || got.Deviation != c.want {
			t.Errorf("%s: %s of %g, %v; want %g", name, got.Measure, got.Deviation, err, c.want)
		}
	}
}

func TestWhatTheReferenceDoesNotKnowIsNotCompared(t *testing.T) {
	ref := floats("y", []int64{4}, 1, float32(math.NaN()), float32(math.Inf(1)), 2)
	c, err := compare([]engine.Tensor{floats("y", []int64{4}, 1, 9, 9, 2)}, []engine.Tensor{ref}, nil, 4, DefaultOptions())
	if err != nil || c.Deviation != 0 || c.MaxAbs != 0 || c.Cosine != 1 {
		t.Errorf("%+v, %v", c.Accuracy, err)
	}
}

// Of several outputs the worst counts, whichever it is.
func TestTheWorstOutputCounts(t *testing.T) {
	ref := []engine.Tensor{floats("a", []int64{2}, 4, 0), floats("b", []int64{2}, 4, 0)}
	same, off := []float32{4, 0}, []float32{4, 3}
	for name, values := range map[string][2][]float32{"the first": {off, same}, "the last": {same, off}} {
		out := []engine.Tensor{floats("a", []int64{2}, values[0]...), floats("b", []int64{2}, values[1]...)}
		c, err := compare(out, ref, nil, 2, DefaultOptions())
		if err != nil || c.MaxAbs != 3 || c.RelL2 != 0.75 || math.Abs(c.Cosine-0.8) > 1e-15 || c.MeanAbs != 0.75 {
			t.Errorf("%s is off: %+v, %v", name, c.Accuracy, err)
		}
	}
}

func TestNothingAgainstSomethingPointsNowhere(t *testing.T) {
	zero, some := floats("y", []int64{2}, 0, 0), floats("y", []int64{2}, 1, 0)
	c, err := compare([]engine.Tensor{zero}, []engine.Tensor{some}, nil, 2, DefaultOptions())
	if err != nil || c.RelL2 != 1 || c.Cosine != 0 {
		t.Errorf("%+v, %v", c.Accuracy, err)
	}
}

func TestWhatIsARowOfClassScores(t *testing.T) {
	for _, c := range []struct {
		shape []int64
		typ   engine.DType
		want  int
	}{
		{[]int64{2, 3}, engine.Float32, 3},
		{[]int64{2, 3, 1, 1}, engine.Float32, 3},
		{[]int64{2, 3, 4}, engine.Float32, 0}, // a map, not a row
		{[]int64{2, 1}, engine.Float32, 0},
		{[]int64{6}, engine.Float32, 0},
		{[]int64{3, 2}, engine.Float32, 0}, // of three samples
		{[]int64{2, 3}, engine.Int32, 0},
	} {
		n := 1
		for _, d := range c.shape {
			n *= int(d)
		}
		if got := classCount(engine.Tensor{DType: c.typ, Shape: c.shape, Data: make([]byte, 4*n)}, 2); got != c.want {
			t.Errorf("%s%v of 2 samples: %d classes; want %d", c.typ, c.shape, got, c.want)
		}
	}
}

func TestTheClassOfARowIsTheFirstOfTheLargestScores(t *testing.T) {
	nan, low := float32(math.NaN()), float32(math.Inf(-1))
	for _, c := range []struct {
		row  []float32
		want int
	}{
		{[]float32{1, 3, 2}, 1},
		{[]float32{1, 3, 3}, 1},
		{[]float32{nan, 3, 4}, 2},
		{[]float32{nan, low, low}, 1},
		{[]float32{nan, nan, nan}, -1},
	} {
		if got := argmax(floats("y", []int64{1, 3}, c.row...), 0, 3); got != c.want {
			t.Errorf("%v: class %d; want %d", c.row, got, c.want)
		}
	}
}

func TestStepsOfAFewSamplesAreSaid(t *testing.T) {
	for samples, want := range map[int]string{
		fewSamples - 1: "top1_agreement on 99 samples moves in steps of 1 %",
		fewSamples / 2: "top1_agreement on 50 samples moves in steps of 2 %",
		fewSamples:     "",
	} {
		out := floats("y", []int64{int64(samples), 2}, slices.Repeat([]float32{1, 0}, samples)...)
		o := DefaultOptions()
		o.Deviation = DeviationAgreement
		c, err := compare([]engine.Tensor{out}, []engine.Tensor{out}, nil, samples, o)
		if got := strings.Join(c.warnings, "\n"); err != nil || got != want {
			t.Errorf("%d samples: %q, %v; want %q", samples, got, err, want)
		}
	}
}

// What is allowed is allowed to the last: only more than that is a failure.
func TestADeviationAboveTheGateIsAFailure(t *testing.T) {
	ref, out := floats("y", []int64{2}, 4, 0), floats("y", []int64{2}, 3, 0) // a quarter off
	for allowed, fails := range map[float64]bool{0: false, 0.24: true, 0.25: false} {
		o := DefaultOptions()
		o.MaxDeviation = allowed
		c, err := compare([]engine.Tensor{out}, []engine.Tensor{ref}, nil, 2, o)
		if c.Deviation != 0.25 || (err != nil) != fails || err != nil && engine.AsError(err).Kind != engine.KindAccuracy {
			t.Errorf("%g allowed: deviation %g, %v", allowed, c.Deviation, err)
		}
	}
}
