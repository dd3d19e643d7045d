package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// migrations lead from an empty file to schemaVersion: the first makes version
// 1, the second makes 2 of it. What has been released is never edited.
var migrations = []string{
	`
CREATE TABLE records (
	id             INTEGER PRIMARY KEY AUTOINCREMENT,
	model          TEXT    NOT NULL,
	version        TEXT    NOT NULL,
	digest         TEXT    NOT NULL,
	precision      TEXT    NOT NULL,
	fingerprint    TEXT    NOT NULL,
	iteration      INTEGER NOT NULL,
	backend        TEXT    NOT NULL,
	device         TEXT    NOT NULL,
	candidate_time INTEGER NOT NULL, -- Unix nanoseconds, as the two below
	started        INTEGER NOT NULL,
	finished       INTEGER NOT NULL,
	outcome        TEXT    NOT NULL, -- 'success' or the failure kind
	body           TEXT    NOT NULL, -- JSON: environment, settings, measurement or failure
	layers         TEXT              -- JSON: the layers of the measurement, kept apart for their size
) STRICT;
-- Nothing is measured twice that has a measurement.
CREATE UNIQUE INDEX one_success ON records (model, digest, precision, fingerprint) WHERE outcome = 'success';
CREATE INDEX by_series ON records (model, fingerprint, precision, iteration);
-- What was once read of a file that has not changed since.
CREATE TABLE files (
	path     TEXT    PRIMARY KEY,
	size     INTEGER NOT NULL,
	modified INTEGER NOT NULL,
	tag      TEXT    NOT NULL,
	facts    TEXT    NOT NULL  -- JSON, the caller's
) STRICT, WITHOUT ROWID;
`, `
-- Messages on their way, one row for each receiver.
CREATE TABLE outbox (
	id       INTEGER PRIMARY KEY AUTOINCREMENT,
	receiver TEXT    NOT NULL, -- its name in the configuration; addresses are secrets and never here
	key      TEXT    NOT NULL, -- the same news has the same key
	topic    TEXT    NOT NULL, -- what it is about, to recognize repeats
	created  INTEGER NOT NULL, -- Unix nanoseconds, as the two below
	due      INTEGER NOT NULL, -- not to be sent before
	settled  INTEGER,          -- when it was sent or given up
	state    TEXT    NOT NULL CHECK (state IN ('waiting', 'sent', 'dropped')),
	attempts INTEGER NOT NULL, -- that failed
	repeats  INTEGER NOT NULL,
	body     TEXT    NOT NULL  -- JSON, the caller's
) STRICT;
CREATE UNIQUE INDEX one_of_each ON outbox (receiver, key);
CREATE INDEX by_topic ON outbox (receiver, topic, id);
CREATE INDEX by_state ON outbox (state, id);
-- What the sender of notifications remembers from one to the next.
CREATE TABLE outbox_notes (
	subject TEXT PRIMARY KEY,
	value   TEXT NOT NULL
) STRICT, WITHOUT ROWID;
-- What was recorded before there were notifications is no news.
INSERT INTO outbox_notes SELECT 'told', CAST(COALESCE(MAX(id), 0) AS TEXT) FROM records;
`,
}

// upgrade brings the schema of an older plancast to the present one, in one
// transaction: after a crash the file is as it was, or as it is to be.
func upgrade(ctx context.Context, db *sql.DB) error {
	version, err := userVersion(ctx, db)
	switch {
	case err != nil:
		return err
	case version == schemaVersion:
		return nil
	case version > schemaVersion: // the header did not tell yet: the change is in the write-ahead log
		return newer(version)
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("upgrade its schema: %w", err)
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it has nothing to do
	// Asked again, for another process may have been first.
	if version, err = userVersion(ctx, tx); err != nil {
		return err
	}
	if version == schemaVersion {
		return nil
	}
	for i := version; i < schemaVersion; i++ {
		if _, err := tx.ExecContext(ctx, migrations[i]); err != nil {
			return fmt.Errorf("upgrade its schema from version %d to %d: %w: it stays at version %d; copy the file away and tell the authors", i, i+1, err, version)
		}
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version=%d", schemaVersion)); err != nil {
		return fmt.Errorf("upgrade its schema: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("upgrade its schema: %w", err)
	}
	// An older plancast looks at the file's header to refuse it: bring the
	// version there. A reader may be in the way; then it comes with the next
	// checkpoint.
	_, err = db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)")
	return err
}

// creation makes an empty history of the present version.
func creation() string {
	return fmt.Sprintf("BEGIN; %s PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT;", strings.Join(migrations, ""), applicationID, schemaVersion)
}

func userVersion(ctx context.Context, q interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}) (int, error) {
	var v int
	if err := q.QueryRowContext(ctx, "PRAGMA user_version").Scan(&v); err != nil {
		return 0, fmt.Errorf("read its schema version: %w", err)
	}
	if v < 1 {
		return 0, errors.Join(ErrDamaged, errors.New("it has no schema version: restore a copy, or move it away to start afresh"))
	}
	return v, nil
}

func newer(version int) error {
	return fmt.Errorf("%w: its schema is version %d and this plancast knows up to %d: update plancast", ErrNewer, version, schemaVersion)
}
