package history

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
)

var t0 = time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)

// rec makes a record; p99 0 makes it a failure.
func rec(id int64, model, version string, p engine.Precision, env string, iteration int, p99 float64) Record {
	r := Record{
		ID: id, Model: model, Version: version, Digest: "d" + version, Precision: p, Fingerprint: env, Iteration: iteration,
		Finished: t0.Add(time.Duration(id) * time.Hour),
	}
	if p99 == 0 {
		r.Failure = &Failure{Error: engine.Error{Kind: engine.KindCrashed, Op: "run", Message: "gone"}}
		return r
	}
	r.Measurement = &bench.Measurement{Latency: bench.Latency{Queries: 700, Quantiles: []bench.Quantile{{Q: 0.99, Value: p99}}}}
	return r
}

func TestByModelKeepsEnvironmentsApart(t *testing.T) {
	models := ByModel(Entries([]Record{
		rec(1, "b", "1", engine.FP32, "old", 1, 9),
		rec(2, "a", "1", engine.INT8, "old", 1, 5),
		rec(3, "a", "1", engine.FP32, "old", 1, 8),
		rec(4, "a", "2", engine.FP32, "new", 1, 7),
		rec(5, "b", "2", engine.FP32, "new", 1, 6),
		rec(6, "b", "3", engine.FP32, "old", 2, 4), // the environment was changed back
	}))
	if len(models) != 2 || models[0].Name != "a" || models[1].Name != "b" {
		t.Fatalf("models %+v", models)
	}
	if got := newest(models[0]); got.Fingerprint != "new" || len(got.Trials) != 1 {
		t.Errorf("a's newest environment is %+v", got)
	}
	if got := newest(models[1]); got.Fingerprint != "old" || len(got.Trials) != 2 {
		t.Errorf("b's newest environment is %+v", got)
	}
	if s, ok := models[0].In("old"); !ok || slices.Collect(s.Trials[0].Entries())[0].Precision != engine.FP32 {
		t.Errorf("precisions are not ordered most exact first: %+v", s)
	}
	if _, ok := models[0].In("nowhere"); ok {
		t.Error("an environment that never was is found")
	}
}

func TestSeriesAnswersWhatIsCurrent(t *testing.T) {
	s := ByModel(Entries([]Record{
		rec(1, "m", "1", engine.FP32, "e", 1, 9),
		rec(2, "m", "1", engine.INT8, "e", 1, 5),
		rec(3, "m", "2", engine.FP32, "e", 2, 8),
		rec(4, "m", "2", engine.INT8, "e", 2, 0),
		rec(5, "m", "0", engine.FP32, "e", 0, 1), // an older version after a newer one
		rec(6, "m", "3", engine.FP32, "e", 3, 0),
		rec(7, "m", "3", engine.INT8, "e", 3, 0),
		rec(8, "m", "3", engine.INT8, "e", 3, 0), // tried again
	}))[0].Series[0]

	current, ok := s.Current()
	if !ok || current.Iteration != 3 || current.Measured() {
		t.Errorf("current is %+v, %v; want the failed iteration 3", current, ok)
	}
	if r, _ := current.Entry(engine.INT8); r.ID != 8 {
		t.Errorf("the newest attempt counts, got record %d", r.ID)
	}
	if len(s.OutOfOrder) != 1 || s.OutOfOrder[0].Version != "0" {
		t.Errorf("out of order: %+v", s.OutOfOrder)
	}
	if r, ok := s.LastGood(engine.FP32); !ok || r.ID != 3 {
		t.Errorf("last good fp32 is %d", r.ID)
	}
	if r, ok := s.LastGood(engine.INT8); !ok || r.ID != 2 {
		t.Errorf("last good int8 is %d", r.ID)
	}
	if _, ok := s.LastGood(engine.FP16); ok {
		t.Error("fp16 was never measured")
	}
	if r, ok := s.Before(engine.FP32, 2); !ok || r.ID != 1 {
		t.Errorf("before iteration 2 came record %d", r.ID)
	}
	if _, ok := s.Before(engine.FP32, 1); ok {
		t.Error("nothing comes before iteration 1")
	}
	if c, ok := s.TrialBefore(3); !ok || c.Iteration != 2 {
		t.Errorf("before iteration 3 came %+v", c)
	}
	if got := fmt.Sprint(s.Precisions()); got != "[fp32 int8]" {
		t.Errorf("precisions %s", got)
	}
}

func TestOnlyOutOfOrderTrialsHaveNoCurrent(t *testing.T) {
	s := ByModel(Entries([]Record{rec(1, "m", "1", engine.FP32, "e", 0, 9)}))[0].Series[0]
	if _, ok := s.Current(); ok {
		t.Error("an out-of-order candidate is no current one")
	}
}

func newest(m Model) Series { return m.Series[len(m.Series)-1] }

// text is all that a model says.
func text(m Model) string {
	var b strings.Builder
	for _, s := range m.Series {
		fmt.Fprintf(&b, "%s in %s from %s to %s, the newest %+v\n", s.Model, s.Fingerprint, s.First, s.Last, s.Newest)
		for _, t := range slices.Concat(s.Trials, s.OutOfOrder) {
			fmt.Fprintf(&b, "  %s %s %d: %+v\n", t.Version, t.Digest, t.Iteration, slices.Collect(t.Entries()))
		}
	}
	return b.String()
}

func TestATrialGivesItsEntriesBack(t *testing.T) {
	entries := Entries([]Record{rec(1, "m", "1", engine.FP32, "e", 1, 5), rec(2, "m", "1", engine.INT8, "e", 1, 0)})
	entries[0].Stable, entries[0].NoEffect = true, true
	entries[1].Failure, entries[1].Disturbed, entries[1].Unquantized = "a kind that is not known", true, 12
	got := slices.Collect(TrialOf(entries...).Entries())
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", entries); g != w {
		t.Errorf("entries\n %s\nwant\n %s", g, w)
	}
}

func TestNoHistoryFillsTheVocabulary(t *testing.T) {
	v := &vocabulary{codes: map[string]word{}}
	v.texts.Store(&[]string{})
	for i := range 3 * mostWords {
		v.code(fmt.Sprint(i))
	}
	if n := len(*v.texts.Load()); n > mostWords+1 {
		t.Errorf("%d texts are remembered; want %d at most", n, mostWords+1)
	}
}

func TestAModelGrowsEntryByEntryToWhatItIsAltogether(t *testing.T) {
	entries := Entries([]Record{
		rec(1, "m", "1", engine.INT8, "old", 1, 5),
		rec(2, "m", "1", engine.FP32, "old", 1, 0),
		rec(3, "m", "2", engine.FP32, "new", 1, 7),
		rec(4, "m", "1", engine.FP32, "old", 1, 6), // tried again
		rec(5, "m", "0", engine.FP32, "new", 0, 8),
		rec(6, "m", "3", engine.FP32, "new", 2, 4),
	})
	var grown Model
	for i, e := range entries {
		before := grown
		copied := text(before)
		if i == 0 {
			grown = Model{Name: "m"}
		}
		grown = grown.With(e)
		if got := text(before); got != copied {
			t.Fatalf("entry %d changed the model that it was added to:\n%s\n%s", e.ID, copied, got)
		}
		if got, want := text(grown), text(ByModel(entries[:i+1])[0]); got != want {
			t.Errorf("after entry %d\n got %s\nwant %s", e.ID, got, want)
		}
	}
}

func TestAReaderRemembersNoMoreStringsInALongHistory(t *testing.T) {
	r := newEntryReader(nil)
	for i := range 3 * sharedAtMost {
		r.share(fmt.Append(nil, i))
	}
	if len(r.shared) > sharedAtMost {
		t.Errorf("%d strings are remembered, want %d at most", len(r.shared), sharedAtMost)
	}
}
