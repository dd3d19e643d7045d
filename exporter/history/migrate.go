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
`, `
-- A row for each record, reduced to what is derived from it, small enough to be
-- read whole: see Entry. records never changes; what is decided about a result
-- later stands here.
CREATE TABLE entries (
	id             INTEGER PRIMARY KEY, -- of the record
	model          TEXT    NOT NULL,
	version        TEXT    NOT NULL,
	digest         TEXT    NOT NULL,
	precision      TEXT    NOT NULL,
	fingerprint    TEXT    NOT NULL,
	iteration      INTEGER NOT NULL,
	candidate_time INTEGER NOT NULL,
	started        INTEGER NOT NULL,
	finished       INTEGER NOT NULL,
	failure        TEXT    NOT NULL, -- '' when the job was measured
	unquantized    INTEGER NOT NULL,
	flags          INTEGER NOT NULL, -- 1: stable, 2: disturbed, 4: without effect
	superseded     INTEGER NOT NULL, -- ID of the record that counts instead, or 0
	excluded       INTEGER NOT NULL, -- ID in audit of its exclusion, or 0
	quantities     BLOB    NOT NULL, -- a 64-bit float each, little endian, NaN when not measured; 'quantities' in properties names them
	sums           BLOB    NOT NULL  -- CRC-32C of the record, its layers and this row
) STRICT;
-- Nothing is measured twice that has a measurement, unless on request.
DROP INDEX one_success;
DROP INDEX by_series;
CREATE UNIQUE INDEX one_result ON entries (model, digest, precision, fingerprint) WHERE failure = '' AND superseded = 0;
CREATE INDEX failures ON entries (model, digest) WHERE failure <> '';
CREATE INDEX by_candidate ON entries (model, fingerprint, iteration);
CREATE INDEX by_time ON entries (finished);
-- How many records of each outcome a model has had, whether or not they are still kept.
CREATE TABLE totals (
	model       TEXT    NOT NULL,
	failure     TEXT    NOT NULL, -- '' for measured
	count       INTEGER NOT NULL,
	cache_known INTEGER NOT NULL, -- of them, built by a backend with a timing cache
	cache_hits  INTEGER NOT NULL,
	newest      INTEGER NOT NULL, -- when the newest of them finished
	PRIMARY KEY (model, failure)
) STRICT, WITHOUT ROWID;
-- IDs without a record, and why: IDs have no other gaps.
CREATE TABLE gaps (
	first  INTEGER PRIMARY KEY,
	last   INTEGER NOT NULL,
	reason TEXT    NOT NULL
) STRICT;
-- Who did what to the history, when and why.
CREATE TABLE audit (
	id      INTEGER PRIMARY KEY AUTOINCREMENT,
	at      INTEGER NOT NULL, -- Unix nanoseconds
	who     TEXT    NOT NULL,
	action  TEXT    NOT NULL,
	record  INTEGER NOT NULL, -- its ID, or 0 when the action is about the whole history
	because TEXT    NOT NULL,
	sum     INTEGER NOT NULL  -- CRC-32C of this row
) STRICT;
CREATE INDEX audit_of_record ON audit (record, id);
CREATE TRIGGER audit_keeps_rows BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit trail only grows'); END;
CREATE TRIGGER audit_keeps_text BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit trail only grows'); END;
CREATE TABLE properties (
	name  TEXT PRIMARY KEY,
	value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
`, `
-- What is said of the change that led to a candidate: the newest row of each
-- origin counts.
CREATE TABLE changes (
	id      INTEGER PRIMARY KEY AUTOINCREMENT,
	model   TEXT    NOT NULL,
	version TEXT    NOT NULL,
	digest  TEXT    NOT NULL,
	origin  TEXT    NOT NULL, -- 'import', 'repository' or 'run'
	at      INTEGER NOT NULL, -- Unix nanoseconds
	body    TEXT    NOT NULL, -- JSON
	sum     INTEGER NOT NULL  -- CRC-32C of this row
) STRICT;
CREATE INDEX changes_of ON changes (model, version, digest, id);
`, `
-- The entries of successive IDs in one blob each, which takes a fraction of the time to
-- read. Whatever changes a row removes its pack.
CREATE TABLE packs (
	first INTEGER PRIMARY KEY, -- the IDs that it covers
	last  INTEGER NOT NULL,
	body  BLOB                 -- NULL: a row is damaged, and all of them are to be read
) STRICT;
CREATE TRIGGER unpack_new AFTER INSERT ON entries BEGIN
	DELETE FROM packs WHERE first = (SELECT MAX(first) FROM packs WHERE first <= NEW.id) AND last >= NEW.id;
END;
CREATE TRIGGER unpack_changed AFTER UPDATE ON entries BEGIN
	DELETE FROM packs WHERE first = (SELECT MAX(first) FROM packs WHERE first <= OLD.id) AND last >= OLD.id;
END;
CREATE TRIGGER unpack_removed AFTER DELETE ON entries BEGIN
	DELETE FROM packs WHERE first = (SELECT MAX(first) FROM packs WHERE first <= OLD.id) AND last >= OLD.id;
END;
`,
}

// upgrade brings the schema of an older plancast to the present one, in one
// transaction: after a crash the file is as it was, or as it is to be. Entries that lack
// quantities which this plancast knows are derived again, or left to Tidy.
func (s *Store) upgrade(ctx context.Context, o Options) error {
	if s.version > schemaVersion { // the header did not show it yet: the change is in the write-ahead log
		return newer(s.version)
	}
	before := s.version
	err := s.current(ctx)
	if errors.Is(err, errOutdated) {
		err = s.write(ctx, func(tx *sql.Tx) error { return s.migrate(ctx, tx, o) })
	}
	if err != nil {
		return fmt.Errorf("upgrade its schema: %w", err)
	}
	if before < schemaVersion {
		// An older plancast looks at the file's header to refuse it: bring the
		// version there. A reader may be in the way; then it comes with the next
		// checkpoint.
		if _, err := s.db.ExecContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
			return err
		}
	}
	if o.Later {
		return nil
	}
	return s.deriveAll(ctx, o)
}

// errOutdated says that there is something to write before a file can be used.
var errOutdated = errors.New("it is of another plancast")

// current finds the layout of this plancast in a file of the present version.
func (s *Store) current(ctx context.Context) error {
	if s.version < schemaVersion {
		return errOutdated
	}
	names, err := property(ctx, s.db, propertyQuantities)
	if err != nil {
		return err
	}
	var found bool
	if s.layout, s.lacks.some, found = findLayout(names); !found {
		return errOutdated
	}
	return nil
}

// migrate is the transaction of upgrade. Another process may have been first.
func (s *Store) migrate(ctx context.Context, tx *sql.Tx, o Options) error {
	version, err := userVersion(ctx, tx)
	if err != nil {
		return err
	}
	for i := version; i < schemaVersion; i++ {
		if _, err := tx.ExecContext(ctx, migrations[i]); err != nil {
			return fmt.Errorf("from version %d to %d: %w: it stays at version %d; back up the file and report this", i, i+1, err, version)
		}
	}
	names, err := property(ctx, tx, propertyQuantities)
	if err != nil {
		return err
	}
	if _, _, found := findLayout(names); !found {
		names = strings.TrimPrefix(names+"\n"+quantityNames(), "\n")
		if err := setProperty(ctx, tx, propertyQuantities, names); err != nil {
			return err
		}
	}
	s.layout, s.lacks.some, _ = findLayout(names)
	if version < entriesSince {
		if err := s.deriveFresh(ctx, tx, o); err != nil {
			return err
		}
	}
	s.version = schemaVersion
	_, err = tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version=%d", schemaVersion))
	return err
}

// creation makes an empty history of the present version.
func creation() string {
	return fmt.Sprintf("BEGIN; %s INSERT INTO properties VALUES ('%s', '%s'); PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT;",
		strings.Join(migrations, ""), propertyQuantities, quantityNames(), applicationID, schemaVersion)
}

// querier is a database, a connection or a transaction.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// property reads one of the table properties; "" when it is not there.
func property(ctx context.Context, q querier, name string) (value string, err error) {
	err = q.QueryRowContext(ctx, "SELECT value FROM properties WHERE name=?", name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return value, err
}

func setProperty(ctx context.Context, tx execer, name, value string) error {
	_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO properties (name, value) VALUES (?,?)", name, value)
	return err
}

func userVersion(ctx context.Context, q querier) (int, error) {
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
