package engine

import (
	"fmt"
	"slices"
	"strings"
)

// ChangeKind is what happened to layers between two plans.
type ChangeKind string

// The kinds of change.
const (
	Added            ChangeKind = "added"     // in the second plan only
	Removed          ChangeKind = "removed"   // in the first plan only
	FusionChanged    ChangeKind = "fusion"    // the same ONNX nodes, grouped otherwise
	PrecisionChanged ChangeKind = "precision" // the same group in another precision
	TacticChanged    ChangeKind = "tactic"    // the same group and precision, another kernel
)

// ChangeKinds lists every kind, those that matter most for speed and accuracy first.
var ChangeKinds = []ChangeKind{PrecisionChanged, FusionChanged, Added, Removed, TacticChanged}

// Change is one difference between two plans.
type Change struct {
	Kind          ChangeKind
	Before, After []Layer // one each, except when fusion changed
}

func (c Change) String() string {
	names := func(ls []Layer) string {
		parts := make([]string, len(ls))
		for i, l := range ls {
			parts[i] = "[" + l.Label() + "]"
		}
		return strings.Join(parts, " ")
	}
	switch c.Kind {
	case Added:
		return "added " + names(c.After)
	case Removed:
		return "removed " + names(c.Before)
	case PrecisionChanged:
		return fmt.Sprintf("%s: %s -> %s", names(c.After), orUnknown(string(c.Before[0].Precision)), orUnknown(string(c.After[0].Precision)))
	case TacticChanged:
		return fmt.Sprintf("%s: tactic %s -> %s", names(c.After), orUnknown(c.Before[0].Tactic), orUnknown(c.After[0].Tactic))
	}
	return fmt.Sprintf("fusion %s -> %s", names(c.Before), names(c.After))
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// Diff names what changed from plan a to plan b. Layers are the same when they do
// the work of the same ONNX nodes, or, without such, have the same name. Changes
// come in the order of b's layers, removed ones last in a's order; a group that
// changed fusion comes once.
func Diff(a, b []Layer) []Change {
	var changes []Change
	left := map[string][]int{} // layers of a not yet matched, by key
	for i, l := range a {
		left[l.key()] = append(left[l.key()], i)
	}
	matched := make([]int, len(b)) // index into a, or -1
	for i, l := range b {
		matched[i] = -1
		if same := left[l.key()]; len(same) > 0 {
			matched[i] = same[0]
			left[l.key()] = same[1:]
		}
	}
	rest := map[int]bool{}
	for _, is := range left {
		for _, i := range is {
			rest[i] = true
		}
	}
	// Unmatched layers that share ONNX nodes belong together, through any number of
	// steps: the nodes were regrouped.
	groupOf := regroup(a, b, rest, matched)
	done := map[int]bool{}
	for i, l := range b {
		if m := matched[i]; m >= 0 {
			old := a[m]
			switch {
			case old.Precision != l.Precision:
				changes = append(changes, Change{PrecisionChanged, []Layer{old}, []Layer{l}})
			case old.Tactic != l.Tactic:
				changes = append(changes, Change{TacticChanged, []Layer{old}, []Layer{l}})
			}
			continue
		}
		g := groupOf.find(len(a) + i)
		if done[g] {
			continue
		}
		done[g] = true
		var c Change
		for k := range a {
			if rest[k] && groupOf.find(k) == g {
				c.Before = append(c.Before, a[k])
			}
		}
		for k := range b {
			if matched[k] < 0 && groupOf.find(len(a)+k) == g {
				c.After = append(c.After, b[k])
			}
		}
		if len(c.Before) > 0 {
			c.Kind = FusionChanged
			changes = append(changes, c)
			continue
		}
		for _, l := range c.After {
			changes = append(changes, Change{Kind: Added, After: []Layer{l}})
		}
	}
	for i, l := range a {
		if rest[i] && !done[groupOf.find(i)] {
			changes = append(changes, Change{Kind: Removed, Before: []Layer{l}})
		}
	}
	return changes
}

func (l Layer) key() string {
	if len(l.Origins) == 0 {
		return "name:" + l.Name
	}
	nodes := slices.Sorted(slices.Values(l.Origins))
	kind := "work:"
	if l.reformat() {
		kind = "reformat:" + l.Name + ":"
	}
	return kind + strings.Join(nodes, "\x00")
}

// groups is a union-find over the layers of a, then those of b.
type groups []int

func (g groups) find(i int) int {
	for g[i] != i {
		g[i] = g[g[i]]
		i = g[i]
	}
	return i
}

func regroup(a, b []Layer, restA map[int]bool, matchedB []int) groups {
	g := make(groups, len(a)+len(b))
	owner := map[string]int{}
	for i := range g {
		g[i] = i
	}
	join := func(i int, l Layer) {
		if l.reformat() {
			return
		}
		for _, n := range l.Origins {
			if o, ok := owner[n]; ok {
				g[g.find(i)] = g.find(o)
			} else {
				owner[n] = i
			}
		}
	}
	for i, l := range a {
		if restA[i] {
			join(i, l)
		}
	}
	for i, l := range b {
		if matchedB[i] < 0 {
			join(len(a)+i, l)
		}
	}
	return g
}

// reformat reports whether the layer only converts types or memory layouts.
func (l Layer) reformat() bool {
	return strings.EqualFold(l.Type, "Reformat") || strings.Contains(l.Type, "NoOp") || strings.HasPrefix(l.Name, "Reformatting CopyNode")
}

// Label names the layer by the ONNX nodes it does the work of, else by its own name.
func (l Layer) Label() string {
	if len(l.Origins) > 0 {
		return strings.Join(l.Origins, " + ")
	}
	return l.Name
}
