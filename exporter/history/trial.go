package history

import (
	"cmp"
	"iter"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plancast/plancast/exporter/engine"
)

// Trial is one candidate in one environment: its outcome at each precision.
type Trial struct {
	Version   string
	Digest    string
	Iteration int // 0: out of order

	of      *origin
	kept    []kept   // the newest of each precision, most exact first
	figures *figured // of those that have any, the newest first
}

// figured are the figures of an entry's workloads. They stand apart, since they hold
// a pointer and most entries have none.
type figured struct {
	id      int64
	figures Figures
	next    *figured
}

// origin is what the entries of a series have in common.
type origin struct{ model, fingerprint string }

// kept is what an entry has beside its trial: 112 bytes. It holds no pointer, so that a
// long history costs the garbage collector nothing.
type kept struct {
	id                 int64
	finished           Moment
	values             Values
	unquantized        uint16 // or as many, and more
	precision, failure word
	flags              uint8
}

// TrialOf is a trial of entries of one candidate in one environment, ascending by ID.
func TrialOf(entries ...Entry) Trial {
	var t Trial
	for _, e := range entries {
		if t.of == nil {
			t.of, t.Iteration = &origin{e.Model, e.Fingerprint}, max(e.Iteration, 0)
		}
		t.add(e)
	}
	return t
}

// add takes an entry; it replaces one of the same precision, such as a failure
// that was tried again. What is kept is the trial's own.
func (t *Trial) add(e Entry) {
	t.Version, t.Digest = e.Version, e.Digest
	k := kept{
		id: e.ID, finished: e.Finished, values: e.Values,
		unquantized: uint16(min(max(e.Unquantized, 0), math.MaxUint16)),
		precision:   wordOf(string(e.Precision)), failure: wordOf(string(e.Failure)), flags: uint8(e.flags()),
	}
	if e.Figures != "" {
		t.figures = &figured{e.ID, e.Figures, t.figures}
	}
	if i := slices.IndexFunc(t.kept, func(x kept) bool { return x.precision == k.precision }); i >= 0 {
		t.kept[i] = k
		return
	}
	if len(t.kept) == cap(t.kept) { // exactly as long as it is: a long history holds many
		t.own(len(t.kept) + 1)
	}
	t.kept = append(t.kept, k)
	slices.SortStableFunc(t.kept, func(a, b kept) int { return cmp.Compare(rank(a.precision.precision()), rank(b.precision.precision())) })
}

// own copies what is kept, with room for n.
func (t *Trial) own(n int) { t.kept = append(make([]kept, 0, max(n, len(t.kept))), t.kept...) }

// At is the i-th entry, the most exact first.
func (t Trial) At(i int) Entry {
	k := &t.kept[i]
	e := Entry{
		ID: k.id, Model: t.of.model, Version: t.Version, Digest: t.Digest, Precision: k.precision.precision(), Fingerprint: t.of.fingerprint, Iteration: t.Iteration,
		Finished: k.finished, Failure: engine.Kind(k.failure.String()), Values: k.values, Unquantized: int32(k.unquantized),
	}
	e.setFlags(int64(k.flags))
	for f := t.figures; f != nil; f = f.next { // mostly there are none
		if f.id == k.id {
			e.Figures = f.figures
		}
	}
	return e
}

// Entries are the newest entry of each precision, most exact first.
func (t Trial) Entries() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for i := range t.kept {
			if !yield(t.At(i)) {
				return
			}
		}
	}
}

// Len is the number of entries.
func (t Trial) Len() int { return len(t.kept) }

// Entry returns the trial's entry of precision p.
func (t Trial) Entry(p engine.Precision) (Entry, bool) {
	for i := range t.kept {
		if t.kept[i].precision.precision() == p {
			return t.At(i), true
		}
	}
	return Entry{}, false
}

// Until is the trial as it was known at a moment.
func (t Trial) Until(known time.Time) Trial {
	later := func(k kept) bool { return k.finished > MomentOf(known) }
	if slices.ContainsFunc(t.kept, later) {
		t.kept = slices.DeleteFunc(slices.Clone(t.kept), later)
	}
	return t
}

// Measured reports whether at least one engine of the candidate was measured.
func (t Trial) Measured() bool {
	return slices.ContainsFunc(t.kept, func(k kept) bool { return k.failure == 0 })
}

// Expected are the precisions that the candidate is measured at: those of the
// configuration, or as it was built.
func (t Trial) Expected(configured []engine.Precision) []engine.Precision {
	if _, plan := t.Entry(engine.AsBuilt); plan {
		return []engine.Precision{engine.AsBuilt}
	}
	return configured
}

// Complete reports whether the trial has an entry, of whatever outcome, for each
// precision that is expected of it.
func (t Trial) Complete(configured []engine.Precision) bool {
	for _, p := range t.Expected(configured) {
		if !slices.ContainsFunc(t.kept, func(k kept) bool { return k.precision.precision() == p }) {
			return false
		}
	}
	return true
}

// Finished is when the trial's newest entry finished.
func (t Trial) Finished() time.Time {
	var last Moment = math.MinInt64
	for i := range t.kept {
		last = max(last, t.kept[i].finished)
	}
	if len(t.kept) == 0 {
		return time.Time{}
	}
	return last.Time()
}

// word stands for a text of which a history has few: a precision or the kind of a
// failure. 0 is the empty text.
type word uint16

func (w word) String() string              { return (*words.texts.Load())[w] }
func (w word) precision() engine.Precision { return engine.Precision(w.String()) }

// words are the texts that words stand for.
var words = func() *vocabulary {
	v := &vocabulary{codes: map[string]word{}}
	v.texts.Store(&[]string{})
	v.code("")
	return v
}()

type vocabulary struct {
	mu    sync.Mutex
	codes map[string]word
	texts atomic.Pointer[[]string]
}

// Beyond mostWords texts, which only a damaged or hostile history has, one takes the
// place of all others.
const (
	mostWords = 1 << 10
	otherWord = "other"
)

func wordOf(s string) word { return words.code(s) }

func (v *vocabulary) code(s string) word {
	if texts := *v.texts.Load(); len(texts) > 0 && s == texts[0] {
		return 0 // measured: most of them
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if w, ok := v.codes[s]; ok {
		return w
	}
	texts := *v.texts.Load()
	if len(texts) >= mostWords {
		s = otherWord
		if w, ok := v.codes[s]; ok {
			return w
		}
	}
	w := word(len(texts))
	texts = append(slices.Clone(texts), s) // readers hold the earlier ones
	v.codes[s] = w
	v.texts.Store(&texts)
	return w
}
