package history

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/plancast/plancast/exporter/change"
)

// Origin is who says what a candidate's change was.
type Origin string

// The origins, the one that outweighs the others last.
const (
	OriginImport     Origin = "import"     // the table that its results came from
	OriginRepository Origin = "repository" // its change.yml, or tags of the source
	OriginRun        Origin = "run"        // --meta of plancast run
)

// origins are all of them in their order.
var origins = []Origin{OriginImport, OriginRepository, OriginRun}

// keptChanges is how many contents are kept of what one origin says of a
// candidate: a file that is written again and again must not fill the disk.
const keptChanges = 20

// Traced is a candidate with what its change was.
type Traced struct {
	Model, Version string
	// Digest is the candidate's; "" stands for that of the version's newest result.
	Digest string
	Origin Origin
	Change change.Change
}

// Trace keeps what the changes of candidates were, where that is news, and
// returns the models of which it was. What was said before is kept as well.
func (s *Store) Trace(ctx context.Context, candidates []Traced, at time.Time) ([]string, error) {
	var models []string
	err := s.write(ctx, func(tx *sql.Tx) error {
		t := tracer{tx: prepared{tx: tx, statements: map[string]*sql.Stmt{}}, at: at, digests: map[string]map[string]string{}}
		news := map[string]bool{}
		for _, c := range candidates {
			fresh, err := t.trace(ctx, c)
			if err != nil {
				return fmt.Errorf("%s version %s: %w", c.Model, c.Version, err)
			}
			if fresh && !news[c.Model] {
				news[c.Model] = true
				models = append(models, c.Model)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("record changes in history %s: %w", s.path, err)
	}
	return models, nil
}

// tracer records changes in one transaction.
type tracer struct {
	tx      execer
	at      time.Time
	digests map[string]map[string]string // by model and version, of the newest result
}

// trace is false when nothing is new.
func (t *tracer) trace(ctx context.Context, c Traced) (bool, error) {
	if c.Digest == "" {
		var err error
		if c.Digest, err = t.digest(ctx, c.Model, c.Version); err != nil || c.Digest == "" {
			return false, err
		}
	}
	before, known, err := said(ctx, t.tx, c.Model, c.Version, c.Digest, c.Origin)
	if err != nil || known && before.Equal(c.Change) || !known && c.Change.Empty() {
		return false, err
	}
	if err := insertChange(ctx, t.tx, c, t.at.UnixNano()); err != nil {
		return false, err
	}
	_, err = t.tx.ExecContext(ctx, `DELETE FROM changes WHERE model=?1 AND version=?2 AND digest=?3 AND origin=?4 AND id NOT IN
		(SELECT id FROM changes WHERE model=?1 AND version=?2 AND digest=?3 AND origin=?4 ORDER BY id DESC LIMIT ?5)`,
		c.Model, c.Version, c.Digest, string(c.Origin), keptChanges)
	return true, err
}

// digest is that of a version's newest result; "" without any.
func (t *tracer) digest(ctx context.Context, model, version string) (string, error) {
	if of, ok := t.digests[model]; ok {
		return of[version], nil
	}
	of := map[string]string{}
	t.digests[model] = of
	rows, err := t.tx.QueryContext(ctx, "SELECT version, digest, MAX(id) FROM entries WHERE model=? GROUP BY version", model)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	for rows.Next() {
		var version, digest string
		var id int64
		if err := rows.Scan(&version, &digest, &id); err != nil {
			return "", err
		}
		of[version] = digest
	}
	return of[version], rows.Err()
}

const selectChanges = "SELECT model, version, digest, origin, at, body, sum FROM changes"

// scanChange reads a row of changes, and refuses one that is damaged.
func scanChange(row interface{ Scan(dest ...any) error }) (t Traced, at int64, err error) {
	var sum int64
	var body string
	if err := row.Scan(&t.Model, &t.Version, &t.Digest, (*string)(&t.Origin), &at, &body, &sum); err != nil {
		return t, at, err
	}
	if int64(changeSum(t, at, body)) != sum {
		return t, at, fmt.Errorf("%w: what the change of %s version %s was: %w", ErrDamaged, t.Model, t.Version, errChecksum)
	}
	return t, at, json.Unmarshal([]byte(body), &t.Change)
}

func changeSum(t Traced, at int64, body string) uint32 {
	return make(summer, 0, 512).text(t.Model).text(t.Version).text(t.Digest).text(string(t.Origin)).int(at).text(body).sum()
}

func insertChange(ctx context.Context, tx execer, t Traced, at int64) error {
	body, err := json.Marshal(t.Change)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO changes (model, version, digest, origin, at, body, sum) VALUES (?,?,?,?,?,?,?)",
		t.Model, t.Version, t.Digest, string(t.Origin), at, string(body), int64(changeSum(t, at, string(body))))
	return err
}

// said is what an origin says of a candidate now; false when it says nothing.
func said(ctx context.Context, q querier, model, version, digest string, o Origin) (change.Change, bool, error) {
	t, _, err := scanChange(q.QueryRowContext(ctx, selectChanges+" WHERE model=? AND version=? AND digest=? AND origin=? ORDER BY id DESC LIMIT 1",
		model, version, digest, string(o)))
	if errors.Is(err, sql.ErrNoRows) {
		return change.Change{}, false, nil
	}
	return t.Change, err == nil, err
}

// changeRow is a row of changes.
type changeRow struct {
	Traced
	at int64
}

// rawChanges are all rows in their order; a damaged one comes as an error, and
// the iteration goes on.
func (s *Store) rawChanges(ctx context.Context) iter.Seq2[changeRow, error] {
	return func(yield func(changeRow, error) bool) {
		if s.version < changesSince {
			return
		}
		rows, err := s.db.QueryContext(ctx, selectChanges+" ORDER BY id")
		if err != nil {
			yield(changeRow{}, fmt.Errorf("changes: %w", err))
			return
		}
		defer rows.Close()
		for rows.Next() {
			t, at, err := scanChange(rows)
			if !yield(changeRow{t, at}, err) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(changeRow{}, fmt.Errorf("changes: %w", err))
		}
	}
}

// Changes returns what is known of the changes of a model's candidates, of all
// models with "": each candidate once, by model, version and digest. What is
// damaged is left out; Verify reports it.
func (s *Store) Changes(ctx context.Context, model string) iter.Seq2[Traced, error] {
	return func(yield func(Traced, error) bool) {
		where, args := ofModel(model)
		for t, err := range s.changes(ctx, s.db, where, args...) {
			if err != nil {
				err = fmt.Errorf("read changes of history %s: %w", s.path, err)
			}
			if !yield(t, err) {
				return
			}
		}
	}
}

// ofModel is the condition that selects a model, in a form that the index answers;
// "" selects all.
func ofModel(model string) (where string, args []any) {
	if model == "" {
		return "TRUE", nil
	}
	return "model=?", []any{model}
}

// changes is Changes with a condition.
func (s *Store) changes(ctx context.Context, q querier, where string, args ...any) iter.Seq2[Traced, error] {
	return func(yield func(Traced, error) bool) {
		if s.version < changesSince {
			return
		}
		rows, err := q.QueryContext(ctx, changesQuery(where), args...)
		if err != nil {
			yield(Traced{}, err)
			return
		}
		defer rows.Close()
		var of Traced
		said := map[Origin]change.Change{} // of one candidate, the newest of each origin
		merged := func() Traced {
			for _, o := range origins {
				of.Change = said[o].Over(of.Change)
			}
			of.Origin = ""
			return of
		}
		for rows.Next() {
			t, _, err := scanChange(rows)
			switch {
			case errors.Is(err, ErrDamaged):
				continue
			case err != nil:
				yield(Traced{}, err)
				return
			}
			if len(said) > 0 && (t.Model != of.Model || t.Version != of.Version || t.Digest != of.Digest) {
				if !yield(merged(), nil) {
					return
				}
				clear(said)
			}
			of, said[t.Origin] = Traced{Model: t.Model, Version: t.Version, Digest: t.Digest}, t.Change
		}
		if err := rows.Err(); err != nil {
			yield(Traced{}, err)
		} else if len(said) > 0 {
			yield(merged(), nil)
		}
	}
}

func changesQuery(where string) string {
	return selectChanges + " WHERE " + where + " ORDER BY model, version, digest, id"
}

// anyChange reports whether anything is known of any change.
func (s *Store) anyChange(ctx context.Context, q querier) (any bool, err error) {
	if s.version < changesSince {
		return false, nil
	}
	return any, q.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM changes)").Scan(&any)
}

// changeOf is what is known of a candidate's change; nil when nothing is.
func (s *Store) changeOf(ctx context.Context, q querier, r Record) (*change.Change, error) {
	for t, err := range s.changes(ctx, q, "model=? AND version=? AND digest=?", r.Model, r.Version, r.Digest) {
		if err != nil || t.Change.Empty() {
			return nil, err
		}
		return &t.Change, nil
	}
	return nil, nil
}

// By selects candidates by their change; the zero value selects all.
type By struct {
	Author, Branch, Commit string
	Kind                   change.Kind
}

// Selects reports whether a candidate of that change is selected.
func (b By) Selects(c change.Change) bool {
	return (b.Author == "" || c.Author == b.Author) && (b.Branch == "" || c.Branch == b.Branch) &&
		(b.Commit == "" || c.Commit == b.Commit) && (b.Kind == "" || slices.Contains(c.Kinds, b.Kind))
}

// candidate identifies one.
type candidate [3]string

func candidateOf(model, version, digest string) candidate { return candidate{model, version, digest} }

// candidatesBy are the candidates that f.By selects; nil when it selects all.
func (s *Store) candidatesBy(ctx context.Context, q querier, f Filter) (map[candidate]bool, error) {
	if f.By == (By{}) {
		return nil, nil
	}
	out := map[candidate]bool{}
	where, args := ofModel(f.Model)
	for t, err := range s.changes(ctx, q, where, args...) {
		if err != nil {
			return nil, err
		}
		if f.By.Selects(t.Change) {
			out[candidateOf(t.Model, t.Version, t.Digest)] = true
		}
	}
	return out, nil
}
