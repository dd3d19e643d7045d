package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	_ "modernc.org/sqlite" // the driver registers itself as "sqlite"
)

const (
	// applicationID marks a file as plancast's in SQLite's own header field:
	// "plan" in ASCII.
	applicationID = 0x706c616e
	// schemaVersion is what this program writes. A lower one is upgraded, a
	// higher one is refused.
	schemaVersion = 5
	// entriesSince is the first version with the table entries. A file that is
	// only read is not upgraded: its entries are derived from its records.
	entriesSince = 3
	// changesSince is the first version with the table changes.
	changesSince = 4
	// packsSince is the first version with the table packs and with layouts.
	packsSince = 5
)

// Errors that callers branch on.
var (
	// ErrNotHistory says that a file is something else than a plancast history.
	ErrNotHistory = errors.New("the file is not a plancast history")
	// ErrNewer says that a newer plancast wrote the file.
	ErrNewer = errors.New("a newer plancast wrote this history")
	// ErrDamaged says that the file, or a record in it, is damaged.
	ErrDamaged = errors.New("the history is damaged")
	// ErrDuplicate says that the job already has a measurement.
	ErrDuplicate = errors.New("this job already has a measurement")
	// ErrNoRecord says that there is no record of that ID.
	ErrNoRecord = errors.New("no such record: plancast history list prints the records")
	// ErrReplaced says that the path no longer leads to the file that was opened.
	ErrReplaced = errors.New("the history was deleted, renamed or replaced since it was opened")
)

// mostConnections are few: each keeps a page cache of its own.
const mostConnections = 4

// Store is an open history. It is safe for concurrent use, by several
// processes as well; one writes at a time.
type Store struct {
	db      *sql.DB
	path    string
	file    os.FileInfo // of the file that was opened
	version int         // of the schema

	packSize int64 // IDs of a pack
	layout   int64 // of the rows that are written

	tidying sync.Mutex // held by Tidy
	lacks   lacking    // guarded by tidying
	torn    sync.Map   // first IDs of packs that turned out to be damaged
}

// Options say how to open a history.
type Options struct {
	// Progress is called now and then while the history of an older plancast is
	// upgraded, with the records that are done and how many there are.
	Progress func(done, total int64)
	// Later leaves what an upgrade need not do at once to Tidy: until then, older entries
	// lack the quantities that the older plancast did not know.
	Later bool
}

// Open opens the history at path for reading and writing, creates it when there
// is none and upgrades that of an older plancast. A file that is damaged, foreign or newer is refused with
// ErrDamaged, ErrNotHistory or ErrNewer, and not touched. A record that is
// damaged by itself does not keep the file from being opened; see RecordError.
func Open(path string) (*Store, error) { return OpenWith(path, Options{}) }

// OpenWith is Open with options.
func OpenWith(path string, o Options) (*Store, error) {
	exists, err := inspect(path)
	if err != nil {
		return nil, fmt.Errorf("open history %s: %w", path, err)
	}
	if !exists {
		if err := create(path); err != nil {
			return nil, fmt.Errorf("create history %s: %w", path, err)
		}
	}
	s, err := open(path, "rw")
	if err != nil {
		return nil, err
	}
	if err := s.upgrade(context.Background(), o); err != nil {
		return nil, errors.Join(fmt.Errorf("open history %s: %w", path, err), s.Close())
	}
	removeStrays(filepath.Dir(path))
	return s, nil
}

// OpenReadOnly opens an existing history for reading, while another process
// may be writing to it.
func OpenReadOnly(path string) (*Store, error) {
	exists, err := inspect(path)
	if err != nil {
		return nil, fmt.Errorf("open history %s: %w", path, err)
	}
	if !exists {
		return nil, fmt.Errorf("open history %s: %w: run plancast serve or plancast run first, or name another file", path, os.ErrNotExist)
	}
	return open(path, "ro")
}

func dsn(path, mode, journal string) string {
	q := url.Values{"mode": {mode}, "_txlock": {"immediate"}}
	q.Add("_pragma", "busy_timeout(10000)")
	if mode == "rw" {
		q.Add("_pragma", "journal_mode("+journal+")")
		q.Add("_pragma", "synchronous(FULL)")
	}
	return (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: q.Encode()}).String()
}

func open(path, mode string) (_ *Store, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("open history %s: %w", path, err)
		}
	}()
	s := &Store{path: path, packSize: packSize}
	if s.file, err = os.Stat(path); err != nil {
		return nil, err
	}
	// Damage is looked for without the right to write.
	if err := checkDamage(path, s.file.Size()); err != nil {
		return nil, err
	}
	if s.db, err = sql.Open("sqlite", dsn(path, mode, "WAL")); err != nil {
		return nil, err
	}
	s.db.SetMaxOpenConns(mostConnections)
	s.db.SetMaxIdleConns(1)
	if err := s.db.Ping(); err != nil {
		return nil, errors.Join(asDamage(err), s.db.Close())
	}
	if s.version, err = userVersion(context.Background(), s.db); err != nil {
		return nil, errors.Join(asDamage(err), s.db.Close())
	}
	if err := s.unchanged(); err != nil {
		return nil, errors.Join(err, s.db.Close())
	}
	return s, nil
}

// unchanged is ErrReplaced unless the path still leads to the file that was
// opened: SQLite would go on writing into one that is not there any more.
func (s *Store) unchanged() error {
	now, err := os.Stat(s.path)
	if err == nil && os.SameFile(now, s.file) {
		return nil
	}
	return fmt.Errorf("%w: plancast writes nothing more to it; put the file back or keep the new one, then restart plancast", ErrReplaced)
}

// write runs f in one transaction, which is durable when write returns nil. An
// error of f undoes everything.
func (s *Store) write(ctx context.Context, f func(tx *sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it has nothing to do
	if err := f(tx); err != nil {
		return err
	}
	if err := s.unchanged(); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	// What went into a file that was taken away meanwhile is not durable.
	return s.unchanged()
}

// Path is where the history lies.
func (s *Store) Path() string { return s.path }

// Close closes the history.
func (s *Store) Close() error { return s.db.Close() }
