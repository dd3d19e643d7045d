package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
)

// Salvaged is what Salvage could save.
type Salvaged struct {
	Kept int
	// Unproven are the IDs among Kept whose checksum is lost: they can be read,
	// and nothing says whether they are what was written.
	Unproven []int64
	Lost     []int64
	Other    []error // what else could not be carried over, such as lines of the audit trail
}

// Salvage makes a new history at to of every record in the damaged one at from
// that can be read, with its ID, exclusions, audit trail, changes and outbox. from is not
// touched, and to must not exist.
func Salvage(ctx context.Context, from, to string, by Author) (out Salvaged, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("salvage history %s: %w", from, err)
		}
	}()
	if err := by.check(); err != nil {
		return out, err
	}
	if _, err := os.Lstat(to); !errors.Is(err, os.ErrNotExist) {
		return out, fmt.Errorf("%s already exists: name a new file", to)
	}
	old, err := openUnchecked(from)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	s, err := Open(to)
	if err != nil {
		return out, err
	}
	defer func() {
		if err = errors.Join(err, s.Close()); err != nil {
			_ = os.Remove(to)
		}
	}()
	err = s.write(ctx, func(tx *sql.Tx) error {
		g := salvager{old: old, tx: tx, layout: s.layout, out: &out}
		g.layouts, _ = readLayouts(ctx, old.db)
		if err := g.records(ctx); err != nil {
			return err
		}
		if err := g.rest(ctx); err != nil {
			return err
		}
		_, err := addAudit(ctx, tx, by, ActionSalvage, 0)
		return err
	})
	return out, err
}

type salvager struct {
	old     *Store
	tx      *sql.Tx
	layout  int64 // of the new entries
	out     *Salvaged
	layouts []layout // of the old entries; nil when they cannot be read
}

// highest is the highest ID that any part of the old file knows of.
func (g *salvager) highest(ctx context.Context) (highest int64) {
	for _, q := range []string{
		"SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence WHERE name='records'", "SELECT COALESCE(MAX(id), 0) FROM records", "SELECT COALESCE(MAX(id), 0) FROM entries",
	} {
		var n int64
		if g.old.db.QueryRowContext(ctx, q).Scan(&n) == nil && n < 1<<40 {
			highest = max(highest, n)
		}
	}
	return highest
}

func (g *salvager) records(ctx context.Context) error {
	gaps := g.gaps(ctx)
	lost := func(id int64) error {
		if gaps[id] != "" {
			_, err := g.tx.ExecContext(ctx, "INSERT INTO gaps (first, last, reason) VALUES (?,?,?)", id, id, gaps[id])
			return err
		}
		g.out.Lost = append(g.out.Lost, id)
		_, err := g.tx.ExecContext(ctx, "INSERT INTO gaps (first, last, reason) VALUES (?,?,'lost to damage')", id, id)
		return err
	}
	highest := g.highest(ctx)
	for id := int64(1); id <= highest; id++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		st, e := g.stored(ctx, id), g.entry(ctx, id)
		if st == nil {
			if err := lost(id); err != nil {
				return err
			}
			continue
		}
		r, err := st.record()
		proven := e != nil && e.sums.record == st.sum() && e.sums.layers == st.layersSum()
		switch {
		case err != nil, e != nil && !proven:
			if err := lost(id); err != nil {
				return err
			}
			continue
		}
		row := newEntryRow(r, st.sum(), st.layersSum(), g.layout)
		if e != nil {
			row.superseded, row.excluded = e.superseded, e.excluded
		} else {
			g.out.Unproven = append(g.out.Unproven, id)
			g.mark(ctx, &row)
		}
		row.sums.entry = row.sum(nil)
		if err := insertStored(ctx, g.tx, *st); err != nil {
			return err
		}
		if err := insertEntry(ctx, g.tx, row); err != nil {
			return err
		}
		if err := addTotals(ctx, g.tx, r); err != nil {
			return err
		}
		g.out.Kept++
	}
	if g.out.Kept == 0 {
		return errors.New("not one record can be read")
	}
	// IDs that were given away are not given again, and what was recorded is no news.
	if _, err := g.tx.ExecContext(ctx, "UPDATE sqlite_sequence SET seq=? WHERE name='records'", highest); err != nil {
		return err
	}
	return (&OutboxTx{ctx, g.tx}).SetObserved(highest)
}

// stored reads a row of records by its ID; nil when it cannot be read.
func (g *salvager) stored(ctx context.Context, id int64) *stored {
	for st, err := range readStored(ctx, g.old.db, true, "id=?", id) {
		if err != nil {
			return nil
		}
		return st
	}
	return nil
}

// entry reads the row of an entry; nil when it cannot be read.
func (g *salvager) entry(ctx context.Context, id int64) *entryRow {
	rows, err := newEntryReader(g.layouts).byID(ctx, g.old.db, []int64{id})
	if err != nil || len(rows) == 0 {
		return nil
	}
	return &rows[0]
}

// mark marks an entry that was made again as the audit trail says. Of two measurements of
// one job the newer counts.
func (g *salvager) mark(ctx context.Context, e *entryRow) {
	if a, err := scanAudit(g.old.db.QueryRowContext(ctx, selectAudit+" WHERE record=? AND action IN ('exclude', 'restore') ORDER BY id DESC LIMIT 1", e.ID)); err == nil && a.Action == ActionExclude {
		e.excluded = a.ID
	}
	var newer sql.NullInt64
	if e.OK() {
		err := g.old.db.QueryRowContext(ctx, "SELECT MIN(id) FROM entries WHERE id>? AND model=? AND digest=? AND precision=? AND fingerprint=? AND failure=''",
			e.ID, e.Model, e.Digest, string(e.Precision), e.Fingerprint).Scan(&newer)
		if err == nil && newer.Valid {
			e.superseded = newer.Int64
		}
	}
}

// gaps are the IDs without a record that the old file explains.
func (g *salvager) gaps(ctx context.Context) map[int64]string {
	out := map[int64]string{}
	rows, err := g.old.db.QueryContext(ctx, "SELECT first, last, reason FROM gaps")
	if err != nil {
		return out
	}
	defer rows.Close()
	for rows.Next() {
		var first, last int64
		var reason string
		if rows.Scan(&first, &last, &reason) == nil && last-first < 1<<32 {
			for id := first; id <= last; id++ {
				out[id] = reason
			}
		}
	}
	return out
}

// rest carries over what is not a record.
func (g *salvager) rest(ctx context.Context) error {
	rows, err := g.old.db.QueryContext(ctx, selectAudit+" ORDER BY id")
	if err != nil {
		g.out.Other = append(g.out.Other, fmt.Errorf("audit trail: %w", err))
	} else {
		for rows.Next() {
			a, err := scanAudit(rows)
			if err == nil {
				err = insertAudit(ctx, g.tx, a)
			}
			if err != nil {
				g.out.Other = append(g.out.Other, err)
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			g.out.Other = append(g.out.Other, fmt.Errorf("audit trail: %w", err))
		}
	}
	for row, err := range g.old.rawChanges(ctx) {
		if err == nil {
			err = insertChange(ctx, g.tx, row.Traced, row.at)
		}
		if err != nil {
			g.out.Other = append(g.out.Other, err)
		}
	}
	for _, t := range []struct{ table, columns string }{
		{"files", "path, size, modified, tag, facts"},
		{"outbox", "id, receiver, key, topic, created, due, settled, state, attempts, repeats, body"},
		{"outbox_notes", "subject, value"},
	} {
		if err := g.copy(ctx, t.table, t.columns); err != nil {
			g.out.Other = append(g.out.Other, fmt.Errorf("table %s: %w", t.table, err))
		}
	}
	return ctx.Err()
}

func (g *salvager) copy(ctx context.Context, table, columns string) error {
	rows, err := g.old.db.QueryContext(ctx, "SELECT "+columns+" FROM "+table)
	if err != nil {
		return err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	values, places := make([]any, len(names)), ""
	for i := range values {
		values[i] = new(any)
		places += ",?"
	}
	for rows.Next() {
		if err := rows.Scan(values...); err != nil {
			return err
		}
		row := make([]any, len(values))
		for i, v := range values {
			row[i] = *v.(*any)
		}
		if _, err := g.tx.ExecContext(ctx, "INSERT OR REPLACE INTO "+table+" ("+columns+") VALUES ("+places[1:]+")", row...); err != nil {
			return err
		}
	}
	return rows.Err()
}
