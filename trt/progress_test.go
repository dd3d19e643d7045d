package trt

import (
	"testing"
)

func TestProgressNeverFallsAndEndsWhole(t *testing.T) {
	tree := newProgressTree()
	last := -1.0
	check := func(p Progress) Progress {
		t.Helper()
		if p.Fraction < last || p.Fraction < 0 || p.Fraction > 1 {
			t.Errorf("%+v after %g", p, last)
		}
		last = p.Fraction
		return p
	}
	check(tree.start("Building Engine", "", 2))
	check(tree.start("Tactics", "Building Engine", 4))
	for i := range 4 {
		check(tree.step("Tactics", i))
	}
	check(tree.finish("Tactics"))
	if last != 0.5 {
		t.Errorf("a whole child of two steps: %g", last)
	}
	check(tree.step("Building Engine", 0))
	check(tree.start("A", "Building Engine", 10))
	check(tree.start("B", "Building Engine", 10))
	if p := check(tree.step("A", 4)); p.Parent != "Building Engine" || p.Step != 5 || p.Steps != 10 || p.Fraction > 0.5+0.25 {
		t.Errorf("one of two siblings half done: %+v", p)
	}
	check(tree.finish("A"))
	check(tree.finish("B"))
	check(tree.step("unknown", 1))
	if p := check(tree.finish("Building Engine")); p.Fraction != 1 || !p.Done {
		t.Errorf("the end: %+v", p)
	}
	if len(tree.phases) != 0 {
		t.Errorf("%d phases left", len(tree.phases))
	}
}
