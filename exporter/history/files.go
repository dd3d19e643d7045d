package history

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// File is what identifies a file that has not changed: its path, size,
// modification time and, in a bucket, its entity tag.
type File struct {
	Path     string
	Size     int64
	Modified time.Time
	Tag      string
}

// Files returns the remembered facts of every file, by path.
func (s *Store) Files(ctx context.Context) (map[string]Remembered, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT path, size, modified, tag, facts FROM files")
	if err != nil {
		return nil, fmt.Errorf("read history %s: %w", s.path, err)
	}
	defer rows.Close()
	out := map[string]Remembered{}
	for rows.Next() {
		var m Remembered
		var modified int64
		if err := rows.Scan(&m.Path, &m.Size, &modified, &m.Tag, &m.Facts); err != nil {
			return nil, fmt.Errorf("read history %s: %w", s.path, err)
		}
		m.Modified = time.Unix(0, modified).UTC()
		out[m.Path] = m
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read history %s: %w", s.path, err)
	}
	return out, nil
}

// Remembered is a file with the facts that were read of it, as JSON.
type Remembered struct {
	File
	Facts string
}

// Remember stores facts and forgets the files named in gone, in one transaction.
func (s *Store) Remember(ctx context.Context, facts []Remembered, gone []string) error {
	if len(facts) == 0 && len(gone) == 0 {
		return nil
	}
	err := s.write(ctx, func(tx *sql.Tx) error {
		for _, m := range facts {
			if _, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO files (path, size, modified, tag, facts) VALUES (?,?,?,?,?)",
				m.Path, m.Size, m.Modified.UnixNano(), m.Tag, m.Facts); err != nil {
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
