package history

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"
)

// propertyLeft is since when models are not in the repository any more, as JSON.
const propertyLeft = "left"

// Left returns since when models of the history are no longer in the
// repository, as SetLeft noted it.
func (s *Store) Left(ctx context.Context) (map[string]time.Time, error) {
	if s.version < entriesSince {
		return nil, nil
	}
	text, err := property(ctx, s.db, propertyLeft)
	if err != nil || text == "" {
		return nil, err
	}
	var left map[string]time.Time
	if err := json.Unmarshal([]byte(text), &left); err != nil {
		return nil, fmt.Errorf("read history %s: the models that left the repository: %w", s.path, err)
	}
	return left, nil
}

// SetLeft notes since when models of the history are no longer in the repository.
func (s *Store) SetLeft(ctx context.Context, left map[string]time.Time) error {
	text, err := json.Marshal(left)
	if err != nil {
		return err
	}
	err = s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT OR REPLACE INTO properties (name, value) VALUES (?,?)", propertyLeft, string(text))
		return err
	})
	if err != nil {
		return fmt.Errorf("write history %s: %w", s.path, err)
	}
	return nil
}
