package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// errSelectsAll keeps an empty filter from excluding a whole history.
var errSelectsAll = errors.New("name an ID, or a model with or without a version")

// Exclude takes the selected results out: they are no evidence and have no
// verdict, and stay in the history with the reason. It returns how many it took
// out, those that were out already not counted.
func (s *Store) Exclude(ctx context.Context, f Filter, by Author) (int, error) {
	n, err := s.mark(ctx, f, by, ActionExclude)
	if err != nil {
		return 0, fmt.Errorf("exclude results from history %s: %w", s.path, err)
	}
	return n, nil
}

// Restore lets results that were excluded count again. It returns how many.
func (s *Store) Restore(ctx context.Context, f Filter, by Author) (int, error) {
	n, err := s.mark(ctx, f, by, ActionRestore)
	if err != nil {
		return 0, fmt.Errorf("restore results of history %s: %w", s.path, err)
	}
	return n, nil
}

// missing says what a filter names and the history lacks.
func (f Filter) missing() error {
	switch {
	case f.ID != 0:
		return fmt.Errorf("record %d: %w", f.ID, ErrNoRecord)
	case f.Version != "":
		return fmt.Errorf("version %s of model %s: %w", f.Version, f.Model, ErrNoRecord)
	}
	return fmt.Errorf("model %s: %w", f.Model, ErrNoRecord)
}

// mark excludes or restores in one transaction, with a line in the audit trail
// for each record.
func (s *Store) mark(ctx context.Context, f Filter, by Author, action Action) (n int, err error) {
	if f.ID == 0 && f.Model == "" {
		return 0, errSelectsAll
	}
	err = s.write(ctx, func(tx *sql.Tx) error {
		var ids []int64
		any := false
		for e, err := range s.walk(ctx, tx, f) {
			if err != nil && !(f.ID == 0 && errors.Is(err, ErrDamaged)) {
				return err
			}
			any = true
			if err == nil && e.Excluded != (action == ActionExclude) {
				ids = append(ids, e.ID)
			}
		}
		if !any {
			return f.missing()
		}
		for _, id := range ids {
			line, err := addAudit(ctx, tx, by, action, id)
			if err != nil {
				return err
			}
			if action == ActionRestore {
				line = 0
			}
			if err := editEntry(ctx, tx, id, func(e *entryRow) { e.excluded = line }); err != nil {
				return err
			}
		}
		n = len(ids)
		return nil
	})
	return n, err
}
