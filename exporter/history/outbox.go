package history

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// OutboxState says what has become of a message.
type OutboxState string

// The states of a message.
const (
	OutboxWaiting OutboxState = "waiting"
	OutboxSent    OutboxState = "sent"
	OutboxDropped OutboxState = "dropped" // its receiver did not take it for too long
)

// OutboxEntry is a message to one receiver. It stays until it is settled:
// whoever sends it marks it after the receiver took it, so that a crash between
// the two repeats it and never loses it.
type OutboxEntry struct {
	ID       int64 // assigned by Add, ascending
	Receiver string
	// Key makes news unique for a receiver: the second Add of a key does nothing.
	Key string
	// Topic is what the news is about, for Newest.
	Topic    string
	Created  time.Time
	Due      time.Time // not to be sent before
	State    OutboxState
	Attempts int             // that failed
	Repeats  int             // how often it came again, see Repeat
	Body     json.RawMessage // the caller's; it must hold no secret
}

// OutboxTx is a transaction on the outbox and its notes.
type OutboxTx struct {
	ctx context.Context
	tx  *sql.Tx
}

// UpdateOutbox runs f in one transaction, which is durable when it returns nil.
// An error of f undoes everything.
func (s *Store) UpdateOutbox(ctx context.Context, f func(*OutboxTx) error) error {
	err := s.write(ctx, func(tx *sql.Tx) error { return f(&OutboxTx{ctx, tx}) })
	if err != nil {
		return fmt.Errorf("write outbox of history %s: %w", s.path, err)
	}
	return nil
}

// noteObserved holds the ID of the newest record that was examined for news.
const noteObserved = "told"

// Observed is the ID of the newest record that was examined for news.
func (t *OutboxTx) Observed() (int64, error) {
	v, _, err := t.Note(noteObserved)
	if err != nil {
		return 0, err
	}
	id, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("note %s: %w", noteObserved, err)
	}
	return id, nil
}

// SetObserved says that the records up to id were examined; it never goes back.
func (t *OutboxTx) SetObserved(id int64) error {
	observed, err := t.Observed()
	if err != nil || id <= observed {
		return err
	}
	return t.SetNote(noteObserved, strconv.FormatInt(id, 10))
}

// Note returns what was noted on a subject, and false when nothing was.
func (t *OutboxTx) Note(subject string) (value string, ok bool, err error) {
	err = t.tx.QueryRowContext(t.ctx, "SELECT value FROM outbox_notes WHERE subject=?", subject).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	return value, err == nil, err
}

// SetNote replaces what was noted on a subject.
func (t *OutboxTx) SetNote(subject, value string) error {
	_, err := t.tx.ExecContext(t.ctx, "INSERT OR REPLACE INTO outbox_notes (subject, value) VALUES (?,?)", subject, value)
	return err
}

// Add puts a message into the outbox, waiting. It is false, and nothing
// happens, when the receiver has one of that key already.
func (t *OutboxTx) Add(e OutboxEntry) (added bool, err error) {
	res, err := t.tx.ExecContext(t.ctx, `INSERT INTO outbox (receiver, key, topic, created, due, state, attempts, repeats, body)
		VALUES (?,?,?,?,?,?,0,?,?) ON CONFLICT (receiver, key) DO NOTHING`,
		e.Receiver, e.Key, e.Topic, e.Created.UnixNano(), e.Due.UnixNano(), string(OutboxWaiting), e.Repeats, string(e.Body))
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}

// Bound drops the oldest of the messages that wait for a receiver until as many are
// left as given, and says how many it dropped.
func (t *OutboxTx) Bound(receiver string, most int, now time.Time) (dropped int64, err error) {
	res, err := t.tx.ExecContext(t.ctx, `UPDATE outbox SET state=?, settled=? WHERE id IN
		(SELECT id FROM outbox WHERE state=? AND receiver=? ORDER BY id DESC LIMIT -1 OFFSET ?)`,
		string(OutboxDropped), now.UnixNano(), string(OutboxWaiting), receiver, most)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// Newest returns the receiver's newest message on a topic, in whatever state,
// and false when there is none.
func (t *OutboxTx) Newest(receiver, topic string) (OutboxEntry, bool, error) {
	e, err := scanEntry(t.tx.QueryRowContext(t.ctx, selectEntry+" WHERE receiver=? AND topic=? ORDER BY id DESC LIMIT 1", receiver, topic))
	if errors.Is(err, sql.ErrNoRows) {
		return OutboxEntry{}, false, nil
	}
	return e, err == nil, err
}

// Repeat counts that a waiting message's news came again, and replaces its body.
func (t *OutboxTx) Repeat(id int64, body json.RawMessage) error {
	_, err := t.tx.ExecContext(t.ctx, "UPDATE outbox SET repeats = repeats + 1, body=? WHERE id=? AND state=?", string(body), id, string(OutboxWaiting))
	return err
}

const selectEntry = "SELECT id, receiver, key, topic, created, due, state, attempts, repeats, body FROM outbox"

func scanEntry(row interface{ Scan(dest ...any) error }) (OutboxEntry, error) {
	var e OutboxEntry
	var created, due int64
	var body string
	err := row.Scan(&e.ID, &e.Receiver, &e.Key, &e.Topic, &created, &due, (*string)(&e.State), &e.Attempts, &e.Repeats, &body)
	e.Created, e.Due, e.Body = time.Unix(0, created).UTC(), time.Unix(0, due).UTC(), json.RawMessage(body)
	return e, err
}

// Due lists the messages that a receiver is to be sent now, those with the fewest
// attempts first, and says when the next one is due; zero is never. A message that is
// due later than after the furthest delay that anybody sets was queued before the
// clock was set back: it is due now.
func (s *Store) Due(ctx context.Context, receiver string, now time.Time, furthest time.Duration) (list []OutboxEntry, next time.Time, err error) {
	latest := now.Add(furthest).UnixNano()
	rows, err := s.db.QueryContext(ctx, selectEntry+" WHERE state=? AND receiver=? AND (due<=? OR due>?) ORDER BY attempts, id",
		string(OutboxWaiting), receiver, now.UnixNano(), latest)
	if err != nil {
		return nil, next, fmt.Errorf("read outbox of history %s: %w", s.path, err)
	}
	defer rows.Close()
	for rows.Next() {
		e, err := scanEntry(rows)
		if err != nil {
			return nil, next, fmt.Errorf("read outbox of history %s: %w", s.path, err)
		}
		list = append(list, e)
	}
	if err := rows.Err(); err != nil {
		return nil, next, fmt.Errorf("read outbox of history %s: %w", s.path, err)
	}
	var due sql.NullInt64
	err = s.db.QueryRowContext(ctx, "SELECT MIN(due) FROM outbox WHERE state=? AND receiver=? AND due>? AND due<=?",
		string(OutboxWaiting), receiver, now.UnixNano(), latest).Scan(&due)
	if err != nil {
		return nil, next, fmt.Errorf("read outbox of history %s: %w", s.path, err)
	}
	if due.Valid {
		next = time.Unix(0, due.Int64).UTC()
	}
	return list, next, nil
}

// Queued is when each waiting message was, or will be, news, by receiver.
func (s *Store) Queued(ctx context.Context) (map[string][]time.Time, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT receiver, created FROM outbox WHERE state=? ORDER BY id", string(OutboxWaiting))
	if err != nil {
		return nil, fmt.Errorf("read outbox of history %s: %w", s.path, err)
	}
	defer rows.Close()
	out := map[string][]time.Time{}
	for rows.Next() {
		var receiver string
		var created int64
		if err := rows.Scan(&receiver, &created); err != nil {
			return nil, fmt.Errorf("read outbox of history %s: %w", s.path, err)
		}
		out[receiver] = append(out[receiver], time.Unix(0, created).UTC())
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read outbox of history %s: %w", s.path, err)
	}
	return out, nil
}

// Settle marks a message as sent or dropped.
func (s *Store) Settle(ctx context.Context, id int64, state OutboxState, now time.Time) error {
	return s.outbox(ctx, "UPDATE outbox SET state=?, settled=? WHERE id=?", string(state), now.UnixNano(), id)
}

// Postpone counts a failed attempt and says when the next is due.
func (s *Store) Postpone(ctx context.Context, id int64, due time.Time) error {
	return s.outbox(ctx, "UPDATE outbox SET attempts = attempts + 1, due=? WHERE id=?", due.UnixNano(), id)
}

// PruneOutbox forgets messages that were settled before the moment given.
func (s *Store) PruneOutbox(ctx context.Context, before time.Time) error {
	return s.outbox(ctx, "DELETE FROM outbox WHERE state<>? AND settled<?", string(OutboxWaiting), before.UnixNano())
}

func (s *Store) outbox(ctx context.Context, statement string, args ...any) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, statement, args...)
		return err
	})
	if err != nil {
		return fmt.Errorf("write outbox of history %s: %w", s.path, err)
	}
	return nil
}
