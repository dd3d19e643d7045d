package history

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/plancast/plancast/exporter/engine"
)

// Filter selects records; the zero value selects all. What is selected comes
// ascending by ID, whatever the filter.
type Filter struct {
	ID          int64   // only this one
	IDs         []int64 // only these; nil: no bound
	Model       string
	Version     string
	Digest      string
	Precision   engine.Precision
	Fingerprint string
	By          By // what the candidate's change was
	AfterID     int64
	BeforeID    int64 // 0: no bound
	Limit       int   // how many of the newest; 0: all

	// Since leaves out what finished earlier. Standing keeps of it what says how
	// each model stands in each environment, however old: the candidates of the
	// highest iteration, excluded or not, and of the newest measurement of each
	// precision that counts, and for each of these the measured candidate before it.
	Since    time.Time
	Standing bool

	// Whole reads past everything, selected or not, and reports records that are
	// missing, so that no damage goes unnoticed: for exports. Without it an index is used.
	Whole bool

	Layers bool // read the layers as well; only for Records

	candidates map[candidate]bool // that By selects; nil: all
	part       bool               // AfterID and BeforeID are bounds enough for Since
}

// selects repeats in Go what the query selects, for Whole.
func (f Filter) selects(e *Entry) bool {
	return (f.ID == 0 || e.ID == f.ID) && (f.IDs == nil || slices.Contains(f.IDs, e.ID)) && (f.Model == "" || e.Model == f.Model) && (f.Version == "" || e.Version == f.Version) &&
		(f.Digest == "" || e.Digest == f.Digest) && (f.Precision == "" || e.Precision == f.Precision) &&
		(f.candidates == nil || f.candidates[candidateOf(e.Model, e.Version, e.Digest)]) &&
		(f.Fingerprint == "" || e.Fingerprint == f.Fingerprint) && e.ID > f.AfterID && (f.BeforeID == 0 || e.ID < f.BeforeID) &&
		(f.Since.IsZero() || f.Standing || e.Finished >= MomentOf(f.Since))
}

// query is the statement that selects from entries.
func (f Filter) query() (string, []any) {
	if f.Whole {
		return selectEntries + " NOT INDEXED ORDER BY id", nil
	}
	var where []string
	var args []any
	add := func(clause string, values ...any) {
		where = append(where, clause)
		args = append(args, values...)
	}
	if f.ID != 0 {
		add("id = ?", f.ID)
	}
	if f.IDs != nil {
		list, _ := json.Marshal(f.IDs) // numbers always encode
		add("id IN (SELECT value FROM json_each(?))", string(list))
	}
	for _, c := range []struct{ column, value string }{
		{"model", f.Model}, {"version", f.Version}, {"digest", f.Digest}, {"precision", string(f.Precision)}, {"fingerprint", f.Fingerprint},
	} {
		if c.value != "" {
			add(c.column+" = ?", c.value)
		}
	}
	if f.candidates != nil {
		list, _ := json.Marshal(slices.Collect(maps.Keys(f.candidates))) // texts always encode
		add("(model, version, digest) IN (SELECT value->>0, value->>1, value->>2 FROM json_each(?))", string(list))
	}
	if f.AfterID > 0 {
		add("id > ?", f.AfterID)
	}
	if f.BeforeID > 0 {
		add("id < ?", f.BeforeID)
	}
	switch since := f.Since.UnixNano(); {
	case f.Since.IsZero():
	case f.part, f.Model != "":
		add("+finished >= ?", since) // the plus keeps SQLite from an index of all parts and models
	default:
		// The bound on the ID spares reading what is older: IDs mostly ascend in time.
		add("finished >= ? AND id >= (SELECT COALESCE(MIN(id), 0) FROM entries INDEXED BY by_time WHERE finished >= ?)", since, since)
	}
	query := selectEntries
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	if f.Limit > 0 {
		return "SELECT * FROM (" + query + " ORDER BY id DESC LIMIT ?) ORDER BY id", append(args, f.Limit)
	}
	return query + " ORDER BY id", args
}

// standing are the IDs of Filter.Standing that finished before since.
func standing(ctx context.Context, q querier, f Filter) ([]int64, error) {
	var older bool
	err := q.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM entries INDEXED BY by_time WHERE finished < ?)", f.Since.UnixNano()).Scan(&older)
	if err != nil || !older {
		return nil, err
	}
	type series struct{ model, fingerprint string }
	var all []series
	// A scan that skips: from each pair to the next one in the index.
	rows, err := q.QueryContext(ctx, `WITH RECURSIVE pair(m, f) AS (
			SELECT * FROM (SELECT model, fingerprint FROM entries ORDER BY model, fingerprint LIMIT 1)
			UNION ALL
			SELECT (SELECT model FROM entries WHERE (model, fingerprint) > (m, f) ORDER BY model, fingerprint LIMIT 1),
				(SELECT fingerprint FROM entries WHERE (model, fingerprint) > (m, f) ORDER BY model, fingerprint LIMIT 1)
			FROM pair WHERE m IS NOT NULL)
		SELECT m, f FROM pair WHERE m IS NOT NULL AND (? = '' OR m = ?) AND (? = '' OR f = ?)`, f.Model, f.Model, f.Fingerprint, f.Fingerprint)
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		var s series
		if err := rows.Scan(&s.model, &s.fingerprint); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		all = append(all, s)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	var out []int64
	for _, s := range all {
		ids, err := standingOf(ctx, q, s.model, s.fingerprint, f.Since)
		if err != nil {
			return nil, err
		}
		out = append(out, ids...)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// standingOf is standing for one model in one environment.
func standingOf(ctx context.Context, q querier, model, fingerprint string, since time.Time) ([]int64, error) {
	iterations := map[int]bool{}
	note := func(query string, args ...any) (int, error) {
		var n sql.NullInt64
		if err := q.QueryRowContext(ctx, query, append([]any{model, fingerprint}, args...)...).Scan(&n); err != nil {
			return 0, err
		}
		if n.Int64 > 0 {
			iterations[int(n.Int64)] = true
		}
		return int(n.Int64), nil
	}
	const of = "SELECT MAX(iteration) FROM entries INDEXED BY by_candidate WHERE model=? AND fingerprint=? AND iteration > 0"
	const (
		kept     = " AND superseded=0 AND excluded=0"
		counting = kept + " AND failure=''"
	)
	newest, err := note(of)
	if err != nil {
		return nil, err
	}
	if _, err := note(of + kept); err != nil {
		return nil, err
	}
	if _, err := note(of+counting+" AND iteration < ?", newest); err != nil {
		return nil, err
	}
	for _, p := range engine.AllPrecisions {
		at, err := note(of+counting+" AND precision=?", string(p))
		if err != nil {
			return nil, err
		}
		if _, err := note(of+counting+" AND precision=? AND iteration < ?", string(p), at); err != nil {
			return nil, err
		}
	}
	list, err := json.Marshal(slices.Collect(maps.Keys(iterations)))
	if err != nil {
		return nil, err
	}
	return selectIDs(ctx, q, "SELECT id FROM entries WHERE model=? AND fingerprint=? AND iteration IN (SELECT value FROM json_each(?)) AND finished < ?",
		model, fingerprint, string(list), since.UnixNano())
}

// selectIDs returns the record IDs that a query selects.
func selectIDs(ctx context.Context, q querier, query string, args ...any) ([]int64, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		out = append(out, id)
	}
	return out, rows.Err()
}

// gapFinder returns a function that is called with each ID in ascending order,
// and says when one before it is missing without a reason.
func gapFinder(ctx context.Context, q querier) (func(id int64) error, error) {
	var last int64
	if err := q.QueryRowContext(ctx, "SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence WHERE name='records'").Scan(&last); err != nil {
		return nil, err
	}
	gaps := map[int64]int64{}
	rows, err := q.QueryContext(ctx, "SELECT first, last FROM gaps")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var first, last int64
		if err := rows.Scan(&first, &last); err != nil {
			return nil, err
		}
		gaps[first] = last
	}
	next := int64(1)
	return func(id int64) error {
		until := min(id, last+1)
		for next < until {
			if end, ok := gaps[next]; ok {
				next = end + 1
				continue
			}
			missing := next
			next = until // once for a run of them
			return &RecordError{missing, errMissing}
		}
		next = max(next, id+1)
		return nil
	}, rows.Err()
}

// asDamage makes ErrDamaged of what SQLite says of a damaged file. A disk that is full or
// fails is no damage: nobody should move the history away because of it.
func asDamage(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch {
	case e.Code() == sqlite3.SQLITE_IOERR_SHORT_READ:
		return damaged(err.Error())
	case e.Code()&0xff == sqlite3.SQLITE_CORRUPT, e.Code()&0xff == sqlite3.SQLITE_NOTADB:
		return damaged(err.Error())
	case e.Code()&0xff == sqlite3.SQLITE_IOERR:
		return fmt.Errorf("%w: the disk may be full or failing: free some space, then try again", err)
	case e.Code()&0xff == sqlite3.SQLITE_CANTOPEN:
		return fmt.Errorf("%w: plancast needs the right to write to its folder, and to the files beside it that end in -wal and -shm", err)
	}
	return err
}
