package history

import (
	"context"
	"database/sql"
	"fmt"
)

// Files returns what is remembered of every file, by path: the caller's text.
func (s *Store) Files(ctx context.Context) (map[string]string, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT path, facts FROM files")
	if err != nil {
		return nil, fmt.Errorf("read history %s: %w", s.path, err)
	}
	defer rows.Close()
	out := map[string]string{}
	for rows.Next() {
		var path, facts string
		if err := rows.Scan(&path, &facts); err != nil {
			return nil, fmt.Errorf("read history %s: %w", s.path, err)
		}
		out[path] = facts
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read history %s: %w", s.path, err)
	}
	return out, nil
}

// Remember stores facts, by path, and forgets the files named in gone, in one
// transaction.
func (s *Store) Remember(ctx context.Context, facts map[string]string, gone []string) error {
	if len(facts) == 0 && len(gone) == 0 {
		return nil
	}
	err := s.write(ctx, func(tx *sql.Tx) error {
		for path, text := range facts {
			// Size, time and tag are part of the facts.
			if _, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO files (path, size, modified, tag, facts) VALUES (?,0,0,'',?)", path, text); err != nil {
				return err
			}
		}
		for _, p := range gone {
			if _, err := tx.ExecContext(ctx, "DELETE FROM files WHERE path=?", p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write history %s: %w", s.path, err)
	}
	return nil
}
