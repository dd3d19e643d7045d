package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// ErrBusy says that another plancast measures with the same state folder.
var ErrBusy = errors.New("another plancast is measuring with this state folder")

// ErrLost says that the state folder is no longer the one that was taken.
var ErrLost = errors.New("the state folder was deleted, renamed or replaced, or its lock was: plancast stops, before a second one measures with it; put it back, then start plancast again")

// lockPatience is how long a predecessor may still hold the lock that was killed
// while it started a worker: the worker holds it, too, until it runs its program.
const lockPatience = time.Second

// lock is the right to measure with a state folder. Its file holds the process
// ID of its owner.
type lock struct {
	folder string
	flock  *flock.Flock
}

func takeLock(folder string) (*lock, error) {
	fail := func(err error) (*lock, error) { return nil, fmt.Errorf("lock state folder %s: %w", folder, err) }
	file := filepath.Join(folder, "lock")
	l := &lock{folder, flock.New(file)}
	ctx, cancel := context.WithTimeout(context.Background(), lockPatience)
	defer cancel()
	switch locked, err := l.flock.TryLockContext(ctx, 20*time.Millisecond); {
	case err != nil && ctx.Err() == nil:
		return fail(err)
	case !locked:
		return fail(fmt.Errorf("%w (%s): wait for it, stop it, or set another folder as state", ErrBusy, owner(file)))
	}
	if err := os.WriteFile(file, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o644); err != nil {
		return fail(errors.Join(err, l.flock.Unlock()))
	}
	return l, nil
}

// owner reads "process 4711".
func owner(file string) string {
	text, err := os.ReadFile(file)
	if err == nil {
		if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			return fmt.Sprintf("process %d", pid)
		}
	}
	return "its process is not known"
}

// check is ErrLost when the folder does not lead to the file any more that is locked:
// another plancast could lock the one in its place.
func (l *lock) check() error {
	now, err := os.Stat(l.flock.Path())
	if err == nil {
		var locked os.FileInfo
		if locked, err = l.flock.Stat(); err == nil && os.SameFile(now, locked) {
			return nil
		}
	}
	return fmt.Errorf("state folder %s: %w", l.folder, ErrLost)
}

func (l *lock) release() error { return l.flock.Unlock() }
