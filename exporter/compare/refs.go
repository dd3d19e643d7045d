package compare

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
)

// Ref names results of a model: one by its ID, or those of a version at every
// precision.
type Ref struct {
	ID      int64
	Version string
	Which   Which
}

// Which names a version by its place.
type Which string

// The names of versions.
const (
	Newest Which = "newest" // the newest that was measured
	Base   Which = "base"   // the one measured before it
	Best   Which = "best"   // of each precision the one with the lowest P99
)

// Whiches lists them.
var Whiches = []Which{Newest, Base, Best}

// ParseRef reads an ID such as "17", "version:3", "newest", "base" or "best".
func ParseRef(text string) (Ref, error) {
	if v, ok := strings.CutPrefix(text, "version:"); ok && v != "" {
		return Ref{Version: v}, nil
	}
	if w := Which(text); slices.Contains(Whiches, w) {
		return Ref{Which: w}, nil
	}
	if id, err := strconv.ParseInt(text, 10, 64); err == nil && id > 0 {
		return Ref{ID: id}, nil
	}
	return Ref{}, fmt.Errorf("%q does not name a result: write an ID as plancast history list prints it, version:N, newest, base or best", text)
}

// String is the text that ParseRef reads.
func (r Ref) String() string {
	switch {
	case r.ID != 0:
		return strconv.FormatInt(r.ID, 10)
	case r.Version != "":
		return "version:" + r.Version
	}
	return string(r.Which)
}

// In finds the results that r, which is no ID, names in the history of a model:
// at most one of each precision, the most exact first. It looks in the newest
// environment, and for a version in the earlier ones as well. The error says what
// is missing.
func (r Ref) In(m history.Model) ([]history.Entry, error) {
	var s history.Series
	if n := len(m.Series); n > 0 {
		s = m.Series[n-1]
	}
	var entries []history.Entry
	switch newest, ok := s.NewestWhere(history.Trial.Measured); {
	case r.Version != "":
		entries = versionIn(m, r.Version)
	case !ok:
	case r.Which == Newest:
		entries = slices.Collect(newest.Entries())
	case r.Which == Base:
		before, _ := s.TrialBefore(newest.Iteration)
		entries = slices.Collect(before.Entries())
	case r.Which == Best:
		entries = best(s)
	}
	entries = slices.DeleteFunc(entries, history.Entry.Unsupported)
	if len(entries) == 0 && r.Which == Best {
		return nil, fmt.Errorf("model %s has no result that best names: of those with a P99 all are disturbed; measure again when the machine is quiet, or name an ID", m.Name)
	}
	if len(entries) == 0 {
		return nil, fmt.Errorf("model %s has no result that %s names: plancast history list --model %s prints what it has", m.Name, r, m.Name)
	}
	return entries, nil
}

// versionIn are the results of a version in the newest environment that has any.
func versionIn(m history.Model, version string) []history.Entry {
	for _, s := range slices.Backward(m.Series) {
		for _, t := range slices.Backward(slices.Concat(s.OutOfOrder, s.Trials)) {
			if t.Version == version {
				return slices.Collect(t.Entries())
			}
		}
	}
	return nil
}

// best are the measured entries with the lowest P99, one of each precision.
func best(s history.Series) []history.Entry {
	by := map[engine.Precision]history.Entry{}
	for _, t := range s.Trials {
		for e := range t.Entries() {
			v, ok := e.Value("p99")
			if !ok || e.Disturbed {
				continue
			}
			if old, has := by[e.Precision]; has {
				if was, _ := old.Value("p99"); was <= v {
					continue
				}
			}
			by[e.Precision] = e
		}
	}
	var out []history.Entry
	for _, p := range engine.AllPrecisions {
		if e, ok := by[p]; ok {
			out = append(out, e)
		}
	}
	return out
}

// Pairs are the results to compare with each other: those of the same precision,
// or the two when there is one on each side. precision, when it is not "", keeps
// that one alone.
func Pairs(a, b []history.Entry, precision engine.Precision) [][2]history.Entry {
	if precision == "" && len(a) == 1 && len(b) == 1 {
		return [][2]history.Entry{{a[0], b[0]}}
	}
	var out [][2]history.Entry
	for _, x := range a {
		for _, y := range b {
			if x.Precision == y.Precision && cmp.Or(precision, x.Precision) == x.Precision {
				out = append(out, [2]history.Entry{x, y})
			}
		}
	}
	return out
}
