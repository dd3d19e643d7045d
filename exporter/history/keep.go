package history

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Backup copies the history, as it is at this moment, into a new file, while
// other processes go on writing. The file is whole or not there.
func (s *Store) Backup(ctx context.Context, to string) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("back up history %s: %w", s.path, err)
		}
	}()
	if _, err := os.Lstat(to); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s already exists: name a new file", to)
	}
	// SQLite's own error does not say what is wrong with the folder.
	if _, err := os.Stat(filepath.Dir(to)); err != nil {
		return err
	}
	part := to + ".part"
	if err := os.Remove(part); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	defer os.Remove(part) // after Link it is the second name
	if _, err := s.db.ExecContext(ctx, "VACUUM INTO ?", part); err != nil {
		return asDamage(err)
	}
	f, err := os.OpenFile(part, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	// Link, unlike rename, fails when somebody made the file meanwhile.
	if err := os.Link(part, to); err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}

// PruneOptions say which records may go.
type PruneOptions struct {
	Before time.Time // only what finished earlier
	// Keep is how many of the newest candidates of each model in each
	// environment stay, however old. At least one stays, and so does all that
	// Filter.Standing keeps.
	Keep int
}

// pruned is how many records are removed in one transaction, so that whoever
// measures meanwhile never waits for long.
const pruned = 500

// Prune permanently removes old records, notes that in the audit trail, and returns
// how many. After a crash some of them are gone, each of them whole.
func (s *Store) Prune(ctx context.Context, o PruneOptions, by Author) (n int, err error) {
	ids, err := s.prunable(ctx, o)
	for len(ids) > 0 && err == nil {
		part := ids[:min(pruned, len(ids))]
		err = s.write(ctx, func(tx *sql.Tx) error {
			if n == 0 {
				if _, err := addAudit(ctx, tx, by, ActionPrune, 0); err != nil {
					return err
				}
			}
			return prune(ctx, tx, part)
		})
		if err == nil {
			n += len(part)
			ids = ids[len(part):]
		}
	}
	if err != nil {
		return n, fmt.Errorf("prune history %s: %w", s.path, err)
	}
	return n, nil
}

// prunable are the IDs that may go, ascending.
func (s *Store) prunable(ctx context.Context, o PruneOptions) ([]int64, error) {
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer tx.Rollback() //nolint:errcheck // it has only read
	stay, err := standing(ctx, tx, Filter{Since: o.Before})
	if err != nil {
		return nil, err
	}
	old, err := selectIDs(ctx, tx, `SELECT id FROM (
			SELECT id, iteration, DENSE_RANK() OVER (PARTITION BY model, fingerprint ORDER BY iteration DESC) AS place, finished FROM entries)
		WHERE finished < ? AND (place > ? OR iteration = 0) ORDER BY id`, o.Before.UnixNano(), max(1, o.Keep))
	if err != nil {
		return nil, err
	}
	kept := map[int64]bool{}
	for _, id := range stay {
		kept[id] = true
	}
	return slices.DeleteFunc(old, func(id int64) bool { return kept[id] }), nil
}

// prune removes records and notes the gaps that they leave.
func prune(ctx context.Context, tx *sql.Tx, ids []int64) error {
	list, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	// What is known of the change of a candidate goes with its last record.
	if _, err := tx.ExecContext(ctx, `DELETE FROM changes
		WHERE (model, version, digest) IN (SELECT model, version, digest FROM entries WHERE id IN (SELECT value FROM json_each(?1)))
		AND NOT EXISTS (SELECT 1 FROM entries e WHERE e.model=changes.model AND e.version=changes.version AND e.digest=changes.digest
			AND e.id NOT IN (SELECT value FROM json_each(?1)))`, string(list)); err != nil {
		return err
	}
	for _, table := range []string{"records", "entries"} {
		if _, err := tx.ExecContext(ctx, "DELETE FROM "+table+" WHERE id IN (SELECT value FROM json_each(?))", string(list)); err != nil {
			return err
		}
	}
	for i := 0; i < len(ids); {
		j := i + 1
		for j < len(ids) && ids[j] == ids[j-1]+1 {
			j++
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO gaps (first, last, reason) VALUES (?,?,'pruned')", ids[i], ids[j-1]); err != nil {
			return err
		}
		i = j
	}
	return nil
}

// Vacuum gives the space of what was pruned back to the file system. It writes
// the file again: whoever wants to write meanwhile waits.
func (s *Store) Vacuum(ctx context.Context) error {
	if err := s.unchanged(); err != nil {
		return fmt.Errorf("vacuum history %s: %w", s.path, err)
	}
	_, err := s.db.ExecContext(ctx, "VACUUM")
	if err == nil {
		_, err = s.db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	}
	if err != nil {
		return fmt.Errorf("vacuum history %s: %w", s.path, asDamage(err))
	}
	return nil
}

// Size is what the history takes on disk, in bytes, its write-ahead log included.
func (s *Store) Size() (int64, error) {
	var n int64
	for _, suffix := range []string{"", "-wal"} {
		info, err := os.Stat(s.path + suffix)
		if errors.Is(err, os.ErrNotExist) && suffix != "" {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("size of history: %w", err)
		}
		n += info.Size()
	}
	return n, nil
}
