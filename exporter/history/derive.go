package history

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
)

// deriveFresh fills the entries of a file that had none.
func (s *Store) deriveFresh(ctx context.Context, tx *sql.Tx, o Options) error {
	var total, done, next int64 = 0, 0, 1
	if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM records").Scan(&total); err != nil {
		return err
	}
	gap := func(until int64) error {
		if next >= until {
			return nil
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO gaps (first, last, reason) VALUES (?,?,'not there when plancast began to keep count')", next, until-1)
		return err
	}
	for {
		var rows []stored
		for st, err := range readStored(ctx, tx, true, "id > ?", next-1) {
			var one *RecordError
			switch {
			case errors.As(err, &one):
				rows = append(rows, stored{id: one.ID})
			case err != nil:
				return err
			default:
				rows = append(rows, *st)
			}
			if len(rows) == batch {
				break
			}
		}
		for i := range rows {
			if err := gap(rows[i].id); err != nil {
				return err
			}
			if err := s.deriveEntry(ctx, tx, &rows[i]); err != nil {
				return err
			}
			next = rows[i].id + 1
		}
		if done += int64(len(rows)); o.Progress != nil && len(rows) > 0 {
			o.Progress(done, total)
		}
		if len(rows) < batch {
			break
		}
	}
	var last int64
	if err := tx.QueryRowContext(ctx, "SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence WHERE name='records'").Scan(&last); err != nil {
		return err
	}
	return gap(last + 1)
}

func (s *Store) deriveEntry(ctx context.Context, tx *sql.Tx, st *stored) error {
	r, unreadable := st.record()
	e := newEntryRow(r, st.sum(), st.layersSum(), s.layout)
	if unreadable != nil {
		// It may have been damaged before there were checksums. Its entry gets a
		// wrong one, so that it counts for nothing and reading says so.
		e.sums.entry++
		return insertEntry(ctx, tx, e)
	}
	if err := insertEntry(ctx, tx, e); err != nil {
		return err
	}
	return addTotals(ctx, tx, r)
}

// lacking is how far the entries that lack quantities of this plancast have got them.
type lacking struct {
	some bool // there may be such entries

	// Of a walk from the newest ID to the oldest: where it began, what is done, and what
	// an earlier one did.
	top, next, floor int64
}

// propertyDerived is up to which ID every entry has what a layout has: the number of the
// layout and the ID.
const propertyDerived = "derived"

// deriveAll gives all entries the quantities that they lack.
func (s *Store) deriveAll(ctx context.Context, o Options) error {
	var done int64
	for {
		n, err := s.deriveNext(ctx)
		if err != nil || n == 0 {
			return err
		}
		if done += int64(n); o.Progress != nil {
			o.Progress(done, done+max(0, s.lacks.next-s.lacks.floor-1))
		}
	}
}

// deriveNext gives some entries the quantities that they lack, the newest first, and
// returns how many; 0 when none is left.
func (s *Store) deriveNext(ctx context.Context) (n int, err error) {
	l := &s.lacks
	if !l.some {
		return 0, nil
	}
	err = s.write(ctx, func(tx *sql.Tx) error {
		if l.top == 0 {
			if err := s.beginDeriving(ctx, tx); err != nil {
				return err
			}
		}
		layouts, err := readLayouts(ctx, tx)
		if err != nil {
			return err
		}
		ids, err := lackingBelow(ctx, tx, layouts, l)
		if err != nil {
			return err
		}
		if n = len(ids); n == 0 {
			return setProperty(ctx, tx, propertyDerived, fmt.Sprint(s.layout, l.top))
		}
		l.next = ids[n-1]
		return s.deriveQuantities(ctx, prepared{tx, map[string]*sql.Stmt{}}, layouts, ids)
	})
	if err != nil {
		return 0, fmt.Errorf("derive entries of history %s: %w", s.path, err)
	}
	l.some = n > 0
	return n, nil
}

// beginDeriving finds where to begin.
func (s *Store) beginDeriving(ctx context.Context, tx execer) error {
	text, err := property(ctx, tx, propertyDerived)
	if err != nil {
		return err
	}
	var layout, floor int64
	if n, _ := fmt.Sscan(text, &layout, &floor); n == 2 && layout == s.layout {
		s.lacks.floor = floor
	}
	if err := tx.QueryRowContext(ctx, "SELECT COALESCE(MAX(id), 0) FROM entries").Scan(&s.lacks.top); err != nil {
		return err
	}
	s.lacks.next = s.lacks.top + 1
	return nil
}

// lackingBelow are IDs of entries that lack something, the highest first.
func lackingBelow(ctx context.Context, q querier, layouts []layout, l *lacking) ([]int64, error) {
	var poor []string
	for i := range layouts {
		if !layouts[i].whole {
			poor = append(poor, fmt.Sprint(i))
		}
	}
	return selectIDs(ctx, q, fmt.Sprintf("SELECT id FROM entries WHERE id > ? AND id < ? AND flags >> %d IN (%s) ORDER BY id DESC LIMIT %d",
		layoutShift, strings.Join(poor, ","), batch), l.floor, l.next)
}

// deriveQuantities derives the quantities of entries from their records. What was decided
// of them later stays; an entry that is damaged is left as it is, for reading says so.
func (s *Store) deriveQuantities(ctx context.Context, tx execer, layouts []layout, ids []int64) error {
	entries := map[int64]entryRow{}
	for e, err := range newEntryReader(layouts).read(ctx, tx, Filter{IDs: ids}) {
		switch {
		case isRecordError(err):
		case err != nil:
			return err
		default:
			entries[e.ID] = *e
		}
	}
	records, err := storedByID(ctx, tx, ids)
	if err != nil {
		return err
	}
	quantities := make([][]byte, len(ids))
	spread(len(ids), func(i int) {
		quantities[i] = Entry{Values: unknown()}.encode()
		if st, ok := records[ids[i]]; ok && st.sum() == entries[ids[i]].sums.record { // else it is damaged
			if r, err := st.record(); err == nil {
				quantities[i] = EntryOf(r).encode()
			}
		}
	})
	for i, id := range ids {
		e, ok := entries[id]
		if !ok {
			continue
		}
		e.layout, e.quantities = s.layout, quantities[i]
		if err := updateEntry(ctx, tx, &e); err != nil {
			return err
		}
	}
	return nil
}

// storedByID reads rows of records without their layers; those that cannot be read are
// left out.
func storedByID(ctx context.Context, q querier, ids []int64) (map[int64]stored, error) {
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	out := map[int64]stored{}
	for st, err := range readStored(ctx, q, false, "id IN (SELECT value FROM json_each(?))", string(list)) {
		if err != nil && !isRecordError(err) {
			return nil, err
		}
		if err == nil {
			out[st.id] = *st
		}
	}
	return out, nil
}

func unknown() (v Values) {
	for i := range v {
		v[i] = math.NaN()
	}
	return v
}
