package history

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	_ "modernc.org/sqlite" // the driver registers itself as "sqlite"

	"github.com/plancast/plancast/exporter/engine"
)

const (
	// applicationID marks a file as plancast's in SQLite's own header field:
	// "plan" in ASCII.
	applicationID = 0x706c616e
	// schemaVersion is what this program writes. A lower one is upgraded, a
	// higher one is refused.
	schemaVersion = 2
)

// Errors that callers branch on.
var (
	// ErrNotHistory says that a file is something else than a plancast history.
	ErrNotHistory = errors.New("the file is not a plancast history")
	// ErrNewer says that a newer plancast wrote the file.
	ErrNewer = errors.New("a newer plancast wrote this history")
	// ErrDamaged says that the file is damaged.
	ErrDamaged = errors.New("the history is damaged")
	// ErrDuplicate says that the job already has a measurement.
	ErrDuplicate = errors.New("this job already has a measurement")
)

// Store is an open history. It is safe for concurrent use, by several
// processes as well; one writes at a time.
type Store struct {
	db   *sql.DB
	path string
}

// Open opens the history at path for reading and writing, creates it when there
// is none and upgrades that of an older plancast. A file that is damaged, foreign or newer is refused with
// ErrDamaged, ErrNotHistory or ErrNewer, and not touched.
func Open(path string) (*Store, error) {
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
	if err := upgrade(context.Background(), s.db); err != nil {
		return nil, errors.Join(fmt.Errorf("open history %s: %w", path, err), s.Close())
	}
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

// inspect looks at the file's own header before SQLite does, so that nothing
// is written beside a file that will be refused.
func inspect(path string) (exists bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	if info.IsDir() {
		return false, fmt.Errorf("%w: it is a folder", ErrNotHistory)
	}
	if info.Size() == 0 {
		return false, nil
	}
	// The layout is documented at "The Database Header" of SQLite's file format.
	header := make([]byte, 100)
	if _, err := io.ReadFull(f, header); err != nil {
		return false, fmt.Errorf("%w: it ends within its header: restore a copy, or move it away to start afresh", ErrDamaged)
	}
	if string(header[:16]) != "SQLite format 3\x00" {
		return false, fmt.Errorf("%w: name another file, or move this one away", ErrNotHistory)
	}
	if id := binary.BigEndian.Uint32(header[68:]); id != applicationID {
		return false, fmt.Errorf("%w: it is another program's SQLite database", ErrNotHistory)
	}
	if v := binary.BigEndian.Uint32(header[60:]); v > schemaVersion {
		return false, newer(int(v))
	}
	return true, nil
}

// create makes an empty history beside its final name and moves it there, so
// that a crash leaves either none or a whole one.
func create(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, ".plancast-new-*.db")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := os.Chmod(tmp.Name(), 0o644); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", dsn(tmp.Name(), "rw", "DELETE"))
	if err != nil {
		return err
	}
	_, err = db.Exec(creation())
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	// Link, unlike rename, fails when another process was first.
	if err := os.Link(tmp.Name(), path); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	} else if errors.Is(err, os.ErrExist) {
		if info, statErr := os.Stat(path); statErr == nil && info.Size() == 0 {
			return os.Rename(tmp.Name(), path)
		}
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
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

func open(path, mode string) (*Store, error) {
	// Damage is looked for without the right to write.
	if err := quickCheck(path); err != nil {
		return nil, fmt.Errorf("open history %s: %w", path, err)
	}
	db, err := sql.Open("sqlite", dsn(path, mode, "WAL"))
	if err != nil {
		return nil, fmt.Errorf("open history %s: %w", path, err)
	}
	// Few connections: each keeps a page cache of its own.
	db.SetMaxOpenConns(4)
	db.SetMaxIdleConns(1)
	if err := db.Ping(); err != nil {
		return nil, errors.Join(fmt.Errorf("open history %s: %w", path, err), db.Close())
	}
	return &Store{db: db, path: path}, nil
}

// quickCheck looks for damage. SQLite leaves its side files behind even when it
// only reads; "immutable" prevents that, but must not be said of a file that
// somebody writes to, who would have a -wal file beside it.
func quickCheck(path string) error {
	if hasWAL(path) {
		return quickCheckAs(path, false)
	}
	err := quickCheckAs(path, true)
	if err != nil && hasWAL(path) {
		return quickCheckAs(path, false) // somebody began to write meanwhile
	}
	return err
}

func hasWAL(path string) bool {
	_, err := os.Stat(path + "-wal")
	return err == nil
}

func quickCheckAs(path string, immutable bool) error {
	name := dsn(path, "ro", "")
	if immutable {
		name += "&immutable=1"
	}
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return err
	}
	defer db.Close()
	var verdict string
	if err := db.QueryRow("PRAGMA quick_check(1)").Scan(&verdict); err != nil {
		return fmt.Errorf("%w: %w: restore a copy, or move it away to start afresh", ErrDamaged, err)
	}
	if verdict != "ok" {
		return fmt.Errorf("%w: %s: restore a copy, or move it away to start afresh", ErrDamaged, verdict)
	}
	return nil
}

// Path is where the history lies.
func (s *Store) Path() string { return s.path }

// Close closes the history.
func (s *Store) Close() error { return s.db.Close() }

// body is what a record keeps as JSON.
type body struct {
	Environment engine.Environment `json:"environment"`
	Settings    engine.Settings    `json:"settings"`
	Measurement json.RawMessage    `json:"measurement,omitempty"`
	Failure     *Failure           `json:"failure,omitempty"`
}

const success = "success"

func outcome(r Record) string {
	if r.OK() {
		return success
	}
	return string(r.Failure.Kind)
}

// Append stores r durably before it returns, and returns it with its ID and
// iteration. A candidate's iteration is that of its earlier records in this
// environment, or the next one, or 0 when a higher version already has one. A
// second measurement of the same job is refused with ErrDuplicate.
func (s *Store) Append(ctx context.Context, r Record) (Record, error) {
	if (r.Measurement == nil) == (r.Failure == nil) {
		return Record{}, fmt.Errorf("append record of %s version %s: it must hold a measurement or a failure, and not both", r.Model, r.Version)
	}
	b := body{Environment: r.Environment, Settings: r.Settings, Failure: r.Failure}
	var layers any
	if r.OK() {
		m := *r.Measurement
		if m.Layers != nil && len(m.Layers.Layers) > 0 {
			text, err := json.Marshal(m.Layers.Layers)
			if err != nil {
				return Record{}, fmt.Errorf("append record of %s version %s: %w", r.Model, r.Version, err)
			}
			layers = string(text)
			summary := *m.Layers
			summary.Layers = nil
			m.Layers = &summary
		}
		text, err := json.Marshal(m)
		if err != nil {
			return Record{}, fmt.Errorf("append record of %s version %s: %w", r.Model, r.Version, err)
		}
		b.Measurement = text
	}
	text, err := json.Marshal(b)
	if err != nil {
		return Record{}, fmt.Errorf("append record of %s version %s: %w", r.Model, r.Version, err)
	}

	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return Record{}, fmt.Errorf("append record of %s version %s to %s: %w", r.Model, r.Version, s.path, err)
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it has nothing to do
	if r.OK() {
		var one int
		err := tx.QueryRowContext(ctx, "SELECT 1 FROM records WHERE model=? AND digest=? AND precision=? AND fingerprint=? AND outcome=?",
			r.Model, r.Digest, string(r.Precision), r.Fingerprint, success).Scan(&one)
		if err == nil {
			return Record{}, fmt.Errorf("append record of %s version %s %s: %w", r.Model, r.Version, r.Precision, ErrDuplicate)
		} else if !errors.Is(err, sql.ErrNoRows) {
			return Record{}, err
		}
	}
	if r.Iteration, err = nextIteration(ctx, tx, r); err != nil {
		return Record{}, fmt.Errorf("append record of %s version %s to %s: %w", r.Model, r.Version, s.path, err)
	}
	res, err := tx.ExecContext(ctx, `INSERT INTO records
		(model, version, digest, precision, fingerprint, iteration, backend, device, candidate_time, started, finished, outcome, body, layers)
		VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)`,
		r.Model, r.Version, r.Digest, string(r.Precision), r.Fingerprint, r.Iteration, r.Backend, r.Device,
		r.CandidateTime.UnixNano(), r.Started.UnixNano(), r.Finished.UnixNano(), outcome(r), string(text), layers)
	if err == nil {
		r.ID, err = res.LastInsertId()
	}
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return Record{}, fmt.Errorf("append record of %s version %s to %s: %w", r.Model, r.Version, s.path, err)
	}
	return r, nil
}

func nextIteration(ctx context.Context, tx *sql.Tx, r Record) (int, error) {
	rows, err := tx.QueryContext(ctx, "SELECT DISTINCT version, digest, iteration FROM records WHERE model=? AND fingerprint=?", r.Model, r.Fingerprint)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	highest, next := int64(-1), 1
	for rows.Next() {
		var version, digest string
		var iteration int
		if err := rows.Scan(&version, &digest, &iteration); err != nil {
			return 0, err
		}
		if digest == r.Digest {
			return iteration, nil
		}
		if iteration > 0 {
			highest, next = max(highest, versionNumber(version)), max(next, iteration+1)
		}
	}
	if err := rows.Err(); err != nil {
		return 0, err
	}
	if versionNumber(r.Version) < highest {
		return 0, nil
	}
	return next, nil
}

// versionNumber is the order of versions; Triton's are numbers.
func versionNumber(version string) int64 {
	n, err := strconv.ParseInt(version, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// Filter selects records; the zero value selects all.
type Filter struct {
	Model   string
	AfterID int64
	Layers  bool // read the layers as well
}

// Records returns the selected records, ascending by ID. The iteration ends at
// the first error, which comes with a zero Record.
func (s *Store) Records(ctx context.Context, f Filter) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		rows, err := s.db.QueryContext(ctx, `SELECT id, model, version, digest, precision, fingerprint, iteration, backend, device,
			candidate_time, started, finished, body, CASE WHEN ? THEN layers END
			FROM records WHERE id > ? AND (? = '' OR model = ?) ORDER BY id`, f.Layers, f.AfterID, f.Model, f.Model)
		if err != nil {
			yield(Record{}, fmt.Errorf("read history %s: %w", s.path, err))
			return
		}
		defer rows.Close()
		shared := interner{}
		for rows.Next() {
			r, err := scan(rows)
			shared.intern(&r)
			if err != nil {
				yield(Record{}, fmt.Errorf("read history %s, record %d: %w", s.path, r.ID, err))
				return
			}
			if !yield(r, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(Record{}, fmt.Errorf("read history %s: %w", s.path, err))
		}
	}
}

// interner lets the records of a long history share what they have in common:
// a fingerprint stands for one environment and its settings.
type interner map[string]Record

func (i interner) intern(r *Record) {
	first, ok := i[r.Fingerprint]
	if !ok || first.Environment != r.Environment {
		i[r.Fingerprint] = *r
		return
	}
	r.Environment, r.Fingerprint, r.Backend, r.Device = first.Environment, first.Fingerprint, first.Backend, first.Device
	if r.Model == first.Model {
		r.Model = first.Model
	}
	if r.Precision == first.Precision {
		r.Precision = first.Precision
	}
	r.Settings.GraphOptimization = first.Settings.GraphOptimization
}

func scan(rows *sql.Rows) (Record, error) {
	var r Record
	var candidate, started, finished int64
	var text string
	var layers sql.NullString
	if err := rows.Scan(&r.ID, &r.Model, &r.Version, &r.Digest, (*string)(&r.Precision), &r.Fingerprint, &r.Iteration,
		&r.Backend, &r.Device, &candidate, &started, &finished, &text, &layers); err != nil {
		return r, err
	}
	r.CandidateTime, r.Started, r.Finished = time.Unix(0, candidate).UTC(), time.Unix(0, started).UTC(), time.Unix(0, finished).UTC()
	var b body
	if err := json.Unmarshal([]byte(text), &b); err != nil {
		return r, err
	}
	r.Environment, r.Settings, r.Failure = b.Environment, b.Settings, b.Failure
	if len(b.Measurement) > 0 {
		if err := json.Unmarshal(b.Measurement, &r.Measurement); err != nil {
			return r, err
		}
		if layers.Valid && r.Measurement.Layers != nil {
			if err := json.Unmarshal([]byte(layers.String), &r.Measurement.Layers.Layers); err != nil {
				return r, err
			}
		}
	}
	return r, nil
}

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
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("write history %s: %w", s.path, err)
	}
	defer tx.Rollback() //nolint:errcheck // after Commit it has nothing to do
	for path, text := range facts {
		// Size, time and tag are part of the facts.
		if _, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO files (path, size, modified, tag, facts) VALUES (?,0,0,'',?)", path, text); err != nil {
			return fmt.Errorf("write history %s: %w", s.path, err)
		}
	}
	for _, p := range gone {
		if _, err := tx.ExecContext(ctx, "DELETE FROM files WHERE path=?", p); err != nil {
			return fmt.Errorf("write history %s: %w", s.path, err)
		}
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("write history %s: %w", s.path, err)
	}
	return nil
}
