package bench

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/plancast/plancast/exporter/engine"
)

// scoreName are names of outputs that say that they are class scores.
var scoreName = regexp.MustCompile(`(?i)logit|prob|score|softmax|class|pred`)

// scores picks the output that class scores are read from; -1 when there is none.
// One that the options name is taken. The only candidate is taken as well, unless
// another output has one score a sample. Of several, the one that the evidence points
// to is taken and the choice said: as many columns as the labels have classes, a name
// such as "logits", rows that sum to one. Where the evidence points to none or to
// several, the user is asked: labels are of no use then.
func (c *comparison) scores(pairs []pair, labels []int64, samples int, output string) (int, error) {
	if output != "" {
		return named(pairs, labels, samples, output)
	}
	var candidates, singles []int
	for i, p := range pairs {
		switch {
		case classCount(p.out, samples) > 0:
			candidates = append(candidates, i)
		case p.out.DType.Float() && p.out.Len() == samples && samples > 0:
			singles = append(singles, i)
		}
	}
	classes := int64(0)
	for _, l := range labels {
		classes = max(classes, l+1)
	}
	// One score a sample can stand for two classes.
	if classes > 2 {
		singles = nil
	}
	switch {
	case len(candidates) == 0 && labels == nil:
		return -1, nil
	case len(candidates) == 0 && len(singles) > 0:
		e := unusable("output %s has one score per sample, which cannot be judged against classes", describe(pairs, singles))
		e.Hint = "export a column of scores for each class, or remove labels.npy"
		return -1, e
	case len(candidates) == 0:
		e := unusable("no output is a row of class scores for each of the %d samples", samples)
		e.Hint = "remove labels.npy, or ship evaluation inputs that match it"
		return -1, e
	case len(candidates) == 1 && len(singles) == 0:
		return candidates[0], nil
	}
	qualify := slices.Concat(candidates, singles)
	slices.Sort(qualify)
	chosen, why := c.evidence(pairs, candidates, singles, samples, classes)
	if chosen >= 0 {
		c.warnings = append(c.warnings, fmt.Sprintf("top-1 is judged on output %q, because %s; %s qualify: name the right one in models[].output", pairs[chosen].out.Name, why, describe(pairs, qualify)))
		return chosen, nil
	}
	if labels == nil {
		c.warnings = append(c.warnings, fmt.Sprintf("the top-1 agreement was not computed: it is unclear which output holds the class scores (%s); name it in models[].output", describe(pairs, qualify)))
		return -1, nil
	}
	e := unusable("it is unclear which output holds the class scores: %s", describe(pairs, qualify))
	e.Hint = "name it in models[].output"
	return -1, e
}

func unusable(format string, args ...any) *engine.Error {
	return engine.Errorf(engine.KindInvalidInput, "compare with labels", "labels.npy", format, args...)
}

// named is the output that the options name.
func named(pairs []pair, labels []int64, samples int, output string) (int, error) {
	op := "find the output of models[].output"
	i := slices.IndexFunc(pairs, func(p pair) bool { return p.out.Name == output })
	if i < 0 {
		all := make([]int, len(pairs))
		for k := range all {
			all[k] = k
		}
		e := engine.Errorf(engine.KindInvalidInput, op, output, "no output of that name can be compared, only %s", describe(pairs, all))
		e.Hint = "correct models[].output"
		return -1, e
	}
	if classCount(pairs[i].out, samples) == 0 && labels != nil {
		e := engine.Errorf(engine.KindInvalidInput, op, output, "it is %s, not a row of class scores for each of the %d samples", describe(pairs, []int{i}), samples)
		e.Hint = "name another output, or remove labels.npy"
		return -1, e
	}
	if classCount(pairs[i].out, samples) == 0 {
		return -1, nil
	}
	return i, nil
}

// evidence looks for the one output that something speaks for.
func (c *comparison) evidence(pairs []pair, candidates, singles []int, samples int, classes int64) (int, string) {
	only := func(fits func(i int) bool) int {
		found := -1
		for _, i := range candidates {
			if fits(i) {
				if found >= 0 {
					return -1
				}
				found = i
			}
		}
		return found
	}
	if classes > 0 {
		if i := only(func(i int) bool { return int64(classCount(pairs[i].out, samples)) == classes }); i >= 0 {
			return i, fmt.Sprintf("its %d columns are as many as the labels' classes", classes)
		}
	}
	says := func(i int) bool { return scoreName.MatchString(pairs[i].out.Name) }
	if slices.ContainsFunc(singles, says) {
		return -1, "" // the scores are one a sample
	}
	if i := only(says); i >= 0 {
		return i, "its name says so"
	}
	if i := only(func(i int) bool { return probabilities(pairs[i].out, samples) }); i >= 0 {
		return i, "its rows sum to one"
	}
	return -1, ""
}

// probabilities reports whether each row of t holds shares that sum to one.
func probabilities(t engine.Tensor, samples int) bool {
	n := classCount(t, samples)
	for row := range samples {
		sum := 0.0
		for k := range n {
			v := t.At(row*n + k)
			if !(v >= 0) {
				return false
			}
			sum += v
		}
		if sum < 0.99 || sum > 1.01 {
			return false
		}
	}
	return n > 0
}

func describe(pairs []pair, which []int) string {
	var words []string
	for _, i := range which {
		t := pairs[i].out
		words = append(words, fmt.Sprintf("%q %s%v", t.Name, t.DType, t.Shape))
	}
	return strings.Join(words, ", ")
}
