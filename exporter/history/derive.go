package history

import (
	"context"
	"database/sql"
	"errors"
	"math"
)

// derive fills the entries from the records: all of them when the file had
// none, or just their quantities when this plancast knows others.
func derive(ctx context.Context, tx *sql.Tx, fresh bool, o Options) error {
	var total, done, next int64 = 0, 0, 1
	if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM records").Scan(&total); err != nil {
		return err
	}
	gap := func(until int64) error {
		if !fresh || next >= until {
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
			if err := deriveEntry(ctx, tx, fresh, &rows[i]); err != nil {
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
	if err := gap(last + 1); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO properties (name, value) VALUES (?,?)", propertyQuantities, quantityNames())
	return err
}

func deriveEntry(ctx context.Context, tx *sql.Tx, fresh bool, st *stored) error {
	r, unreadable := st.record()
	e := newEntryRow(r, st.sum(), st.layersSum())
	if !fresh {
		err := editEntry(ctx, tx, st.id, func(old *entryRow) {
			old.quantities = e.quantities
			if e.sums.record != old.sums.record { // damaged since
				old.quantities = Entry{Values: unknown()}.encode()
			}
		})
		if errors.Is(err, ErrDamaged) { // reading will say so
			return nil
		}
		return err
	}
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

func unknown() (v Values) {
	for i := range v {
		v[i] = math.NaN()
	}
	return v
}
