package history

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"
)

// Properties that hold, as JSON, what a pass remembers of the repository.
const (
	propertyLeft    = "left"    // since when models are not in it any more
	propertyDeleted = "deleted" // versions that are not in it any more
)

// Deleted is a version that the repository no longer holds while nothing newer has a
// result: its result counts for a while.
type Deleted struct {
	Model       string    `json:"model"`
	Version     string    `json:"version"`
	Digest      string    `json:"digest"`
	Fingerprint string    `json:"fingerprint"` // the environment of the iteration
	Iteration   int       `json:"iteration"`
	Since       time.Time `json:"since"` // when a pass first missed it
	Ended       bool      `json:"ended"` // its time is over and its results are excluded
}

// Is reports whether both are the same version of the same file.
func (d Deleted) Is(o Deleted) bool {
	return d.Model == o.Model && d.Version == o.Version && d.Digest == o.Digest
}

// Left returns since when models of the history are no longer in the
// repository, as SetLeft noted it.
func (s *Store) Left(ctx context.Context) (left map[string]time.Time, err error) {
	err = s.remembered(ctx, propertyLeft, &left)
	return left, err
}

// SetLeft notes since when models of the history are no longer in the repository.
func (s *Store) SetLeft(ctx context.Context, left map[string]time.Time) error {
	return s.remember(ctx, propertyLeft, left)
}

// Deleted returns the deleted versions, as SetDeleted noted them.
func (s *Store) Deleted(ctx context.Context) (deleted []Deleted, err error) {
	err = s.remembered(ctx, propertyDeleted, &deleted)
	return deleted, err
}

// SetDeleted notes the deleted versions.
func (s *Store) SetDeleted(ctx context.Context, deleted []Deleted) error {
	return s.remember(ctx, propertyDeleted, deleted)
}

// remembered reads what remember wrote under a name, if anything.
func (s *Store) remembered(ctx context.Context, name string, into any) error {
	if s.version < entriesSince {
		return nil
	}
	text, err := property(ctx, s.db, name)
	if err != nil || text == "" {
		return err
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return fmt.Errorf("read history %s: property %s: %w", s.path, name, err)
	}
	return nil
}

func (s *Store) remember(ctx context.Context, name string, what any) error {
	text, err := json.Marshal(what)
	if err != nil {
		return err
	}
	err = s.write(ctx, func(tx *sql.Tx) error { return setProperty(ctx, tx, name, string(text)) })
	if err != nil {
		return fmt.Errorf("write history %s: %w", s.path, err)
	}
	return nil
}
