package history

import (
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
)

// packing is a history with small packs.
type packing struct {
	*testing.T
	*Store
}

// newPacking makes one with packs of 8 and records of every kind.
func newPacking(t *testing.T, records int) *packing {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "h.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	s.packSize = 8
	p := &packing{t, s}
	p.append(0, records)
	return p
}

func (p *packing) append(from, to int) {
	p.Helper()
	for i := from; i < to; i++ {
		r := rec(0, fmt.Sprint("model-", i%3), fmt.Sprint(1+i/3), engine.AllPrecisions[i%2], "env", 0, float64(i%7))
		r.Started, r.Finished = t0.Add(time.Duration(i)*time.Hour), t0.Add(time.Duration(i+1)*time.Hour)
		if r.OK() && i%5 == 0 {
			r.Measurement.Stable, r.Measurement.Layers = true, &bench.LayerSummary{Unquantized: []string{"a", "b"}, NoEffect: "nothing"}
		}
		if _, err := p.Append(p.Context(), r); err != nil {
			p.Fatal(err)
		}
	}
}

// read is what a daemon reads at its start.
func (p *packing) read(since time.Time) (out []string) {
	p.Helper()
	for e, err := range p.Entries(p.Context(), Filter{Since: since, Standing: true}) {
		if err != nil && !isRecordError(err) {
			p.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%+v %v", e, err))
	}
	return out
}

// fromRows is what read gives without packs.
func (p *packing) fromRows(since time.Time) []string {
	p.Helper()
	is := p.version
	p.version = packsSince - 1
	defer func() { p.version = is }()
	return p.read(since)
}

func (p *packing) exec(query string, args ...any) {
	p.Helper()
	if _, err := p.db.ExecContext(p.Context(), query, args...); err != nil {
		p.Fatal(err)
	}
}

// packed are the first IDs of the packs that hold entries.
func (p *packing) packed() (firsts []int64) {
	p.Helper()
	packs, err := p.packs(p.Context(), p.db)
	if err != nil {
		p.Fatal(err)
	}
	for first, of := range packs {
		if of.packed {
			firsts = append(firsts, first)
		}
	}
	slices.Sort(firsts)
	return firsts
}

func (p *packing) tidy() (packed int) {
	p.Helper()
	for {
		t, err := p.Tidy(p.Context())
		if err != nil {
			p.Fatal(err)
		}
		if t.Done {
			return packed
		}
		packed++
	}
}

// sabotage changes a row behind the back of its pack.
func (p *packing) sabotage(id int64) {
	p.Helper()
	p.exec("DROP TRIGGER unpack_changed")
	p.exec("UPDATE entries SET iteration = iteration + 1 WHERE id = ?", id)
}

func TestPacksHoldWhatTheirRowsHold(t *testing.T) {
	p := newPacking(t, 61)
	by := Author{Who: "ann", Because: "noise", At: t0}
	if _, err := p.Exclude(t.Context(), Filter{Model: "model-1", Version: "3"}, by); err != nil {
		t.Fatal(err)
	}
	if n := p.tidy(); n != 1 {
		t.Errorf("%d packs were made again, want the one of the entry that was excluded", n)
	}
	if got := p.packed(); !slices.Equal(got, []int64{1, 9, 17, 25, 33, 41, 49}) {
		t.Errorf("packs from %d; the last five IDs wait for more", got)
	}
	for _, since := range []time.Time{t0, t0.Add(20 * time.Hour), t0.Add(24 * time.Hour), t0.Add(59 * time.Hour), t0.AddDate(1, 0, 0)} {
		if got, want := p.read(since), p.fromRows(since); !slices.Equal(got, want) {
			t.Errorf("since %s packs give\n%s\nand rows\n%s", since, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	if v, err := Verify(t.Context(), p.Path()); err != nil || !v.OK() {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestAPackIsReadInPlaceOfItsRows(t *testing.T) {
	p := newPacking(t, 24)
	want := p.read(t0)
	p.sabotage(10)
	if got := p.read(t0); !slices.Equal(got, want) {
		t.Error("the rows were read")
	}
	if v, err := Verify(t.Context(), p.Path()); err != nil || v.OK() {
		t.Errorf("a row that differs from its pack: %+v, %v", v, err)
	}
}

func TestWhateverChangesAnEntryRemovesItsPack(t *testing.T) {
	by := Author{Who: "ann", Because: "noise", At: t0}
	for _, c := range []struct {
		name   string
		change func(p *packing) error
		left   []int64
	}{
		{"excluded", func(p *packing) error { _, err := p.Exclude(p.Context(), Filter{ID: 10}, by); return err }, []int64{1, 17}},
		{"measured again", func(p *packing) error {
			r, err := p.Record(p.Context(), 2)
			if err == nil {
				_, err = p.Supersede(p.Context(), r, by)
			}
			return err
		}, []int64{9, 17}},
		{"pruned", func(p *packing) error {
			_, err := p.Prune(p.Context(), PruneOptions{Before: t0.Add(12 * time.Hour), Keep: 1}, by)
			return err
		}, []int64{17}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPacking(t, 24)
			if err := c.change(p); err != nil {
				t.Fatal(err)
			}
			if got := p.packed(); !slices.Equal(got, c.left) {
				t.Errorf("packs from %d, want %d", got, c.left)
			}
			want := p.read(t0)
			p.tidy()
			if got := p.packed(); !slices.Equal(got, []int64{1, 9, 17}) {
				t.Errorf("then packs from %d, want all", got)
			}
			if got := p.read(t0); !slices.Equal(got, want) {
				t.Errorf("packed\n%s\nand before\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

// A pack adds nothing that the history depends on.
func TestADamagedPackCostsNothing(t *testing.T) {
	p := newPacking(t, 24)
	want := p.read(t0)
	var body []byte
	if err := withPack(t.Context(), p.db, p.spanOf(9), func(b []byte) { body = slices.Clone(b) }); err != nil || len(body) == 0 {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{"a flipped bit": append(slices.Clone(body[:len(body)-9]), append([]byte{body[len(body)-9] ^ 4}, body[len(body)-8:]...)...), "half": body[:len(body)/2], "nothing": {}} {
		p.exec("UPDATE packs SET body = ? WHERE first = 9", bad)
		if got := p.read(t0); !slices.Equal(got, want) {
			t.Errorf("%s: %d entries, want %d as they were", name, len(got), len(want))
		}
		if n := p.tidy(); n != 1 {
			t.Errorf("%s: %d packs were made again", name, n)
		}
		if v, err := Verify(t.Context(), p.Path()); err != nil || !v.OK() {
			t.Errorf("%s, repaired: %+v, %v", name, v, err)
		}
	}
}

func TestADamagedEntryIsNamedAtEveryStart(t *testing.T) {
	p := newPacking(t, 24)
	p.exec("UPDATE entries SET iteration = iteration + 1 WHERE id = 10")
	for range 2 {
		if got := strings.Join(p.read(t0), "\n"); strings.Count(got, "record 10: ") != 1 || strings.Count(got, "\n") != 23 {
			t.Errorf("read\n%s", got)
		}
		p.tidy()
	}
}

// A daemon reads 330,000 entries before it is ready. Only counts are looked at: they are
// the same on a busy machine.
func TestReadingPackedEntriesAllocatesAlmostNothing(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "h.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const records = packSize
	var all iter.Seq2[Record, error] = func(yield func(Record, error) bool) {
		for i := range records {
			r := rec(0, fmt.Sprint("model-", i/3%300), fmt.Sprint(i/900), engine.Precisions[i%3], "env", 0, 0.01)
			r.Digest = fmt.Sprint(i / 3)
			if !yield(r, nil) {
				return
			}
		}
	}
	if _, err := s.AppendAll(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	n := 0
	allocations := testing.AllocsPerRun(2, func() {
		n = 0
		for _, err := range s.Entries(t.Context(), Filter{Since: t0.AddDate(-1, 0, 0), Standing: true}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
	})
	if each := allocations / records; n != records || each > 0.6 {
		t.Errorf("%d entries with %.2f allocations each, want %d with 0.6 at most: a text for each candidate", n, each, records)
	}
}
