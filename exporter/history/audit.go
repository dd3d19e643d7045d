package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// ByItself is who stands in the audit trail for what plancast does of its own accord:
// it measures a result again, or ends what a deleted version counts.
const ByItself = "plancast"

// Author says who changes the history and why: both stand in the audit trail.
type Author struct {
	Who     string
	Because string
	At      time.Time
}

func (a Author) check() error {
	switch {
	case a.Who == "":
		return errors.New("no author is given")
	case a.Because == "":
		return errors.New("no reason is given")
	case a.At.IsZero():
		return errors.New("no time is given")
	}
	return nil
}

// Action is what somebody did to the history.
type Action string

// The actions.
const (
	ActionAgain   Action = "again"   // a job was measured once more
	ActionExclude Action = "exclude" // a result no longer counts
	ActionRestore Action = "restore" // it counts again
	ActionImport  Action = "import"  // a measurement made elsewhere came in
	ActionPrune   Action = "prune"   // old records were removed
	ActionSalvage Action = "salvage" // the file was made from a damaged one
)

// Audit is one line of the audit trail, which only grows.
type Audit struct {
	ID      int64     `json:"id"`
	At      time.Time `json:"at"`
	Who     string    `json:"who"`
	Action  Action    `json:"action"`
	Record  int64     `json:"record,omitempty"` // 0 when the action is about the whole history
	Because string    `json:"because"`
}

func (a Audit) sum() uint32 {
	b := make(summer, 0, 256)
	return b.int(a.ID).int(a.At.UnixNano()).text(a.Who).text(string(a.Action)).int(a.Record).text(a.Because).sum()
}

func addAudit(ctx context.Context, tx execer, by Author, action Action, record int64) (int64, error) {
	if err := by.check(); err != nil {
		return 0, err
	}
	a := Audit{At: by.At, Who: by.Who, Action: action, Record: record, Because: by.Because}
	if err := tx.QueryRowContext(ctx, "SELECT COALESCE(MAX(seq), 0) + 1 FROM sqlite_sequence WHERE name='audit'").Scan(&a.ID); err != nil {
		return 0, err
	}
	return a.ID, insertAudit(ctx, tx, a)
}

func insertAudit(ctx context.Context, tx execer, a Audit) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO audit (id, at, who, action, record, because, sum) VALUES (?,?,?,?,?,?,?)",
		a.ID, a.At.UnixNano(), a.Who, string(a.Action), a.Record, a.Because, int64(a.sum()))
	return err
}

const selectAudit = "SELECT id, at, who, action, record, because, sum FROM audit"

func scanAudit(row interface{ Scan(dest ...any) error }) (Audit, error) {
	var a Audit
	var at Moment
	var sum int64
	if err := row.Scan(&a.ID, (*int64)(&at), &a.Who, (*string)(&a.Action), &a.Record, &a.Because, &sum); err != nil {
		return a, err
	}
	a.At = at.Time()
	if sum != int64(a.sum()) {
		return a, fmt.Errorf("%w: line %d of the audit trail: %w", ErrDamaged, a.ID, errChecksum)
	}
	return a, nil
}

// exclusion is what the audit trail says of an exclusion.
func exclusion(ctx context.Context, q querier, id int64) (*Exclusion, error) {
	a, err := scanAudit(q.QueryRowContext(ctx, selectAudit+" WHERE id=?", id))
	if errors.Is(err, sql.ErrNoRows) {
		err = fmt.Errorf("%w: line %d of the audit trail: %w", ErrDamaged, id, errMissing)
	}
	if err != nil {
		return nil, err
	}
	return &Exclusion{Because: a.Because, By: a.Who, At: a.At}, nil
}

// Audit returns the lines of the audit trail after the one with that ID,
// ascending. Whoever holds entries learns from it which of them changed.
func (s *Store) Audit(ctx context.Context, after int64) ([]Audit, error) {
	if s.version < entriesSince {
		return nil, nil
	}
	rows, err := s.db.QueryContext(ctx, selectAudit+" WHERE id > ? ORDER BY id", after)
	if err != nil {
		return nil, fmt.Errorf("read audit trail of history %s: %w", s.path, err)
	}
	defer rows.Close()
	var out []Audit
	for rows.Next() {
		a, err := scanAudit(rows)
		if err != nil {
			return nil, fmt.Errorf("read audit trail of history %s: %w", s.path, err)
		}
		out = append(out, a)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read audit trail of history %s: %w", s.path, err)
	}
	return out, nil
}
