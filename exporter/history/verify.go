package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Verification is what Verify found.
type Verification struct {
	Records int     // that are whole
	Damaged []error // RecordErrors, one for each record that is not
	Other   []error // damage of the file, its indexes or its audit trail
}

// OK reports whether nothing was found.
func (v Verification) OK() bool { return len(v.Damaged) == 0 && len(v.Other) == 0 }

// Verify reads the whole history at path: SQLite's structure and indexes, the
// checksum of every record, of its layers, of its entry, of every change and of
// every line of the audit trail, and whether each entry says what its record says. It writes
// nothing. Its error says that the file cannot be read as a history at all.
func Verify(ctx context.Context, path string) (v Verification, err error) {
	s, err := openUnchecked(path)
	if err != nil {
		return v, fmt.Errorf("verify history %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	found, err := structure(s.db, "integrity_check")
	if err != nil {
		found = append(found, err.Error())
	}
	for _, line := range found {
		v.Other = append(v.Other, errors.New(line))
	}
	results := map[int64]uint32{}
	for r, err := range Skip(s.Records(ctx, Filter{Whole: true, Layers: true}), func(err error) { v.Damaged = append(v.Damaged, err) }) {
		if err != nil {
			v.Other = append(v.Other, err)
			continue
		}
		v.Records++
		results[r.ID] = resultSum(EntryOf(r))
	}
	for e, err := range Skip(s.walk(ctx, s.db, Filter{Whole: true}), func(error) {}) { // reported above
		if err != nil {
			v.Other = append(v.Other, err)
		} else if sum, ok := results[e.ID]; ok && e.whole && sum != resultSum(e.Entry) {
			v.Damaged = append(v.Damaged, &RecordError{e.ID, errors.New("its entry differs from the record")})
		}
	}
	wrong, err := s.wrongPacks(ctx)
	if err != nil {
		v.Other = append(v.Other, err)
	}
	for _, of := range wrong {
		v.Other = append(v.Other, fmt.Errorf("the pack of the entries %d to %d differs from them: start plancast serve, which reads the entries and packs them again", of.first, of.last))
	}
	if _, err := s.Audit(ctx, 0); err != nil {
		v.Other = append(v.Other, err)
	}
	for _, err := range s.rawChanges(ctx) {
		if err != nil {
			v.Other = append(v.Other, err)
		}
	}
	return v, ctx.Err()
}

// resultSum is a checksum of what an entry takes from its record.
func resultSum(e Entry) uint32 {
	e.Superseded, e.Excluded = false, false
	row := entryRow{Entry: e, quantities: e.encode()}
	return row.sum(nil)
}

// openUnchecked opens a history for reading that may be damaged.
func openUnchecked(path string) (*Store, error) {
	exists, err := inspect(path)
	if err != nil {
		return nil, err
	}
	if !exists {
		return nil, fmt.Errorf("there is no history in %s", path)
	}
	// With this SQLite reads a file that is shorter than its header says.
	name := dsn(path, "ro", "") + "&_pragma=writable_schema(1)"
	if !hasWAL(path) {
		name += "&immutable=1" // leaves no side files
	}
	s := &Store{path: path, packSize: packSize}
	if s.db, err = sql.Open("sqlite", name); err != nil {
		return nil, err
	}
	if s.version, err = userVersion(context.Background(), s.db); err != nil {
		return nil, errors.Join(asDamage(err), s.db.Close())
	}
	return s, nil
}
