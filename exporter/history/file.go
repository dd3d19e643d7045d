package history

import (
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
)

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
		return false, fmt.Errorf("%w: it ends within its header: restore a backup, or move it away to start afresh", ErrDamaged)
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
	tmp, lock, err := newFile(dir)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	defer lock.Close()
	if err := os.Chmod(tmp, 0o644); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", dsn(tmp, "rw", "DELETE"))
	if err != nil {
		return err
	}
	_, err = db.Exec(creation())
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	// Link, unlike rename, fails when another process was first.
	if err := os.Link(tmp, path); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	} else if errors.Is(err, os.ErrExist) {
		if info, statErr := os.Stat(path); statErr == nil && info.Size() == 0 {
			return os.Rename(tmp, path)
		}
	}
	return syncDir(dir)
}

// newFile makes a file for a history that is being made and locks it. Until it is
// locked it looks like a stray, so another start may remove it: then there is a next one.
func newFile(dir string) (string, *flock.Flock, error) {
	for {
		f, err := os.CreateTemp(dir, newPrefix+"*.db")
		if err != nil {
			return "", nil, err
		}
		lock := flock.New(f.Name())
		if err := errors.Join(f.Close(), lock.Lock()); err != nil {
			return "", nil, errors.Join(err, os.Remove(f.Name()))
		}
		if _, err := os.Lstat(f.Name()); !errors.Is(err, os.ErrNotExist) {
			return f.Name(), lock, err
		}
		if err := lock.Close(); err != nil {
			return "", nil, err
		}
	}
}

// newPrefix begins the name of a history that is being made, which is locked
// meanwhile.
const newPrefix = ".plancast-new-"

// removeStrays removes what a killed first start left in a folder. Failing to
// do so does no harm.
func removeStrays(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, newPrefix+"*.db"))
	for _, f := range left {
		lock := flock.New(f)
		if ok, err := lock.TryLock(); ok && err == nil {
			_ = os.Remove(f)
			_ = os.Remove(f + "-journal")
		}
		_ = lock.Close()
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// checkedWhole is the size up to which a file is read whole when it is opened.
// Above it the time would be felt, and reading notices damage anyway.
const checkedWhole = 32 << 20

// checkDamage looks for damage of the file's structure, which would spread with
// every write. Damage of single records is noticed when they are read.
//
// SQLite leaves its side files behind even when it only reads; "immutable"
// prevents that, but must not be said of a file that somebody writes to, who
// would have a -wal file beside it.
func checkDamage(path string, size int64) error {
	if hasWAL(path) {
		return checkDamageAs(path, size, false)
	}
	err := checkDamageAs(path, size, true)
	if err != nil && hasWAL(path) {
		return checkDamageAs(path, size, false) // somebody began to write meanwhile
	}
	return err
}

func hasWAL(path string) bool {
	_, err := os.Stat(path + "-wal")
	return err == nil
}

func checkDamageAs(path string, size int64, immutable bool) error {
	name := dsn(path, "ro", "")
	if immutable {
		name += "&immutable=1"
		if err := checkSize(path, size); err != nil {
			return err
		}
	}
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return err
	}
	defer db.Close()
	if size > checkedWhole {
		var n int
		return asDamage(db.QueryRow("SELECT COUNT(*) FROM sqlite_schema").Scan(&n))
	}
	found, err := structure(db, "quick_check")
	if err != nil {
		return asDamage(err)
	}
	if len(found) > 0 {
		return damaged(found[0])
	}
	return nil
}

// checkSize compares the length of a file that nobody writes to with what its
// header says.
func checkSize(path string, size int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	header := make([]byte, 100)
	if _, err := io.ReadFull(f, header); err != nil {
		return err
	}
	page := int64(binary.BigEndian.Uint16(header[16:]))
	if page == 1 {
		page = 1 << 16
	}
	// The count of pages is only valid when both counters agree.
	if string(header[24:28]) == string(header[92:96]) && int64(binary.BigEndian.Uint32(header[28:]))*page > size {
		return damaged("it is shorter than its header says")
	}
	return nil
}

// structure runs SQLite's own check, and returns what it found besides wrong
// values in rows, which belong to one record each.
func structure(db *sql.DB, check string) ([]string, error) {
	rows, err := db.Query("PRAGMA " + check + "(1000)")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return nil, err
		}
		inRow := strings.HasPrefix(line, "non-") || strings.HasPrefix(line, "NULL value in") || strings.HasPrefix(line, "CHECK constraint failed")
		if line != "ok" && !inRow {
			out = append(out, line)
		}
	}
	return out, rows.Err()
}

func damaged(what string) error {
	return fmt.Errorf("%w: %s: restore a backup, save what can be read with plancast history salvage, or move it away to start afresh", ErrDamaged, what)
}
