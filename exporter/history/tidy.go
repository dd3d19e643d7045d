package history

import (
	"context"
	"database/sql"
	"fmt"
)

// Tidied is what Tidy did.
type Tidied struct {
	Derived int  // entries that got the quantities which this plancast knows and they lacked
	Packed  bool // entries can be read at once
	Done    bool // nothing is left to do
}

// Tidy does one step of what makes a history whole and quick to read and need not be done
// at once: it derives entries of an older plancast again, the newest first, and then packs
// entries that changed or came without a pack. A step takes a fraction of a second.
func (s *Store) Tidy(ctx context.Context) (t Tidied, err error) {
	s.tidying.Lock()
	defer s.tidying.Unlock()
	if t.Derived, err = s.deriveNext(ctx); err != nil || t.Derived > 0 {
		return t, err
	}
	t.Packed, err = s.packNext(ctx)
	t.Done = !t.Packed
	return t, err
}

// packNext makes the newest pack that is missing; false when none is.
func (s *Store) packNext(ctx context.Context) (bool, error) {
	var last int64
	if err := s.db.QueryRowContext(ctx, "SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence WHERE name='records'").Scan(&last); err != nil {
		return false, fmt.Errorf("read history %s: %w", s.path, asDamage(err))
	}
	packs, err := s.packs(ctx, s.db)
	if err != nil {
		return false, fmt.Errorf("read history %s: %w", s.path, asDamage(err))
	}
	for end := last - last%s.packSize; end > 0; end -= s.packSize {
		of := s.spanOf(end)
		_, torn := s.torn.LoadAndDelete(of.first)
		if _, ok := packs[of.first]; ok && !torn {
			continue
		}
		if err := s.write(ctx, func(tx *sql.Tx) error { return s.pack(ctx, tx, of) }); err != nil {
			return false, fmt.Errorf("pack entries of history %s: %w", s.path, asDamage(err))
		}
		return true, nil
	}
	return false, nil
}
