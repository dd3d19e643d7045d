package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"strconv"
)

// Append stores r durably before it returns, and returns it with its ID and
// iteration. A candidate's iteration is that of its earlier records in this
// environment, or the next one, or 0 when a higher version already has that. A
// second measurement of the same job is refused with ErrDuplicate. A change that r
// brings is recorded as imported.
func (s *Store) Append(ctx context.Context, r Record) (Record, error) {
	return s.AppendAhead(ctx, r, 0)
}

// AppendAhead stores r like Append, and leaves free iteration numbers before a candidate
// that is the newest, for older ones that are measured after it. Each takes the first
// that is free between its neighbors.
func (s *Store) AppendAhead(ctx context.Context, r Record, free int) (Record, error) {
	return s.append(ctx, r, free, refuseSecond)
}

// Supersede stores r like Append, as the newer result of a job that was
// measured again. A measurement takes the place of the earlier one, which is
// kept and marked; a failure is kept and marked itself, for the earlier
// measurement still stands. The audit trail says who did it and why.
func (s *Store) Supersede(ctx context.Context, r Record, by Author) (Record, error) {
	return s.append(ctx, r, 0, func(tx execer, r Record, earlier int64) (int64, error) {
		if earlier == 0 {
			return 0, nil // there was no result yet
		}
		if _, err := addAudit(ctx, tx, by, ActionAgain, r.ID); err != nil {
			return 0, err
		}
		if !r.OK() {
			return earlier, nil
		}
		return 0, editEntry(ctx, tx, earlier, func(e *entryRow) { e.superseded = r.ID })
	})
}

// AppendAll stores records like Append, all of them in one transaction or none.
func (s *Store) AppendAll(ctx context.Context, records iter.Seq2[Record, error]) (n int, err error) {
	err = s.write(ctx, func(tx *sql.Tx) error {
		p := prepared{tx: tx, statements: map[string]*sql.Stmt{}}
		for r, err := range records {
			if err == nil {
				_, err = s.appendTx(ctx, p, r, 0, refuseSecond)
			}
			if err != nil {
				return fmt.Errorf("record of %s version %s %s: %w", r.Model, r.Version, r.Precision, err)
			}
			n++
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("append records to %s: %w", s.path, err)
	}
	return n, nil
}

// refuseSecond is the settler of a job that is measured once.
func refuseSecond(_ execer, r Record, earlier int64) (int64, error) {
	if r.OK() && earlier != 0 {
		return 0, ErrDuplicate
	}
	return 0, nil
}

// execer is a transaction.
type execer interface {
	querier
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// prepared is a transaction that parses each statement once. They are closed
// with it.
type prepared struct {
	tx         *sql.Tx
	statements map[string]*sql.Stmt
}

func (p prepared) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if s := p.statements[query]; s != nil {
		return s, nil
	}
	s, err := p.tx.PrepareContext(ctx, query)
	p.statements[query] = s
	return s, err
}

func (p prepared) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	s, err := p.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(ctx, args...)
}

func (p prepared) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s, err := p.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, args...)
}

func (p prepared) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	s, err := p.prepare(ctx, query)
	if err != nil {
		return p.tx.QueryRowContext(ctx, query, args...) // whose row has the error
	}
	return s.QueryRowContext(ctx, args...)
}

// settler decides, within the transaction, about a record that has its ID now
// and about the measurement that counted for its job until now (0: none). It
// returns the ID of the record that counts instead of the new one, or 0.
type settler func(tx execer, r Record, earlier int64) (supersededBy int64, err error)

func (s *Store) append(ctx context.Context, r Record, free int, settle settler) (Record, error) {
	what := fmt.Sprintf("append record of %s version %s %s to %s", r.Model, r.Version, r.Precision, s.path)
	err := s.write(ctx, func(tx *sql.Tx) (err error) {
		r, err = s.appendTx(ctx, tx, r, free, settle)
		return err
	})
	if err != nil {
		return Record{}, fmt.Errorf("%s: %w", what, err)
	}
	return r, nil
}

func (s *Store) appendTx(ctx context.Context, tx execer, r Record, free int, settle settler) (_ Record, err error) {
	if (r.Measurement == nil) == (r.Failure == nil) {
		return Record{}, errors.New("it must hold a measurement or a failure, and not both")
	}
	if r.Iteration, err = nextIteration(ctx, tx, r, free); err != nil {
		return Record{}, err
	}
	// The checksum covers the ID, so it is chosen here, as AUTOINCREMENT would.
	if err := tx.QueryRowContext(ctx, "SELECT COALESCE(MAX(seq), 0) + 1 FROM sqlite_sequence WHERE name='records'").Scan(&r.ID); err != nil {
		return Record{}, err
	}
	row, err := encode(r)
	if err != nil {
		return Record{}, err
	}
	var earlier int64
	err = tx.QueryRowContext(ctx, "SELECT id FROM entries WHERE model=? AND digest=? AND precision=? AND fingerprint=? AND failure='' AND superseded=0",
		r.Model, r.Digest, string(r.Precision), r.Fingerprint).Scan(&earlier)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return Record{}, err
	}
	r.Excluded = nil
	if r.SupersededBy, err = settle(tx, r, earlier); err != nil {
		return Record{}, err
	}
	if err := insertStored(ctx, tx, row); err != nil {
		return Record{}, err
	}
	if err := insertEntry(ctx, tx, newEntryRow(r, row.sum(), row.layersSum(), s.layout)); err != nil {
		return Record{}, err
	}
	if r.Change != nil {
		t := tracer{tx: tx, at: r.Finished}
		if _, err := t.trace(ctx, Traced{r.Model, r.Version, r.Digest, OriginImport, *r.Change}); err != nil {
			return Record{}, err
		}
	}
	if r.Change, err = s.changeOf(ctx, tx, r); err != nil {
		return Record{}, err
	}
	if err := addTotals(ctx, tx, r); err != nil {
		return Record{}, err
	}
	return r, s.packFull(ctx, tx, r.ID)
}

func insertStored(ctx context.Context, tx execer, s stored) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO records ("+storedColumns+") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
		s.id, s.model, s.version, s.digest, s.precision, s.print, s.iteration, s.backend, s.device,
		s.candidate, s.started, s.finished, s.outcome, s.body, s.layers)
	return err
}

// iterationOf ask for the iteration of a candidate's earlier records. Each names the index
// that answers it: SQLite would look through all entries of the model instead.
var iterationOf = []string{
	"SELECT iteration FROM entries INDEXED BY one_result WHERE model=? AND digest=? AND fingerprint=? AND failure = '' AND superseded = 0 LIMIT 1",
	"SELECT iteration FROM entries INDEXED BY failures WHERE model=? AND digest=? AND fingerprint=? AND failure <> '' LIMIT 1",
}

// nextIteration is that of the candidate's earlier records, or the one after that
// of the next lower version, or 0 when that belongs to a higher version. Versions
// ascend with the iterations, so the highest iteration has the highest version, and
// the one after it leaves free numbers before it.
func nextIteration(ctx context.Context, tx execer, r Record, free int) (int, error) {
	for _, query := range iterationOf {
		var iteration int
		err := tx.QueryRowContext(ctx, query, r.Model, r.Digest, r.Fingerprint).Scan(&iteration)
		if !errors.Is(err, sql.ErrNoRows) {
			return iteration, err
		}
	}
	iteration, version, err := highest(ctx, tx, r.Model, r.Fingerprint)
	switch {
	case err != nil:
		return 0, err
	case iteration == 0:
		return 1 + free, nil
	case versionNumber(r.Version) < versionNumber(version):
		return between(ctx, tx, r)
	}
	return iteration + 1 + free, nil
}

// highest is the highest iteration of a model in an environment, 0 without one, and
// its version.
func highest(ctx context.Context, q querier, model, fingerprint string) (iteration int, version string, err error) {
	err = q.QueryRowContext(ctx, "SELECT iteration, version FROM entries INDEXED BY by_candidate WHERE model=? AND fingerprint=? AND iteration > 0 ORDER BY iteration DESC LIMIT 1",
		model, fingerprint).Scan(&iteration, &version)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return iteration, version, err
}

// HighestVersion is the version of a model's highest iteration in an environment; ""
// without one.
func (s *Store) HighestVersion(ctx context.Context, model, fingerprint string) (string, error) {
	_, version, err := highest(ctx, s.db, model, fingerprint)
	if err != nil {
		return "", fmt.Errorf("read history %s: %w", s.path, err)
	}
	return version, nil
}

// between is the iteration after that of the next lower version, or 0 when the next
// higher one has that.
func between(ctx context.Context, tx execer, r Record) (int, error) {
	rows, err := tx.QueryContext(ctx, "SELECT iteration, version FROM entries INDEXED BY by_candidate WHERE model=? AND fingerprint=? AND iteration > 0 ORDER BY iteration DESC", r.Model, r.Fingerprint)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	higher, iteration := 0, 0
	for rows.Next() {
		var version string
		if err := rows.Scan(&iteration, &version); err != nil {
			return 0, err
		}
		if versionNumber(version) < versionNumber(r.Version) {
			break
		}
		higher, iteration = iteration, 0
	}
	if err := rows.Err(); err != nil {
		return 0, err
	}
	if iteration+1 == higher {
		return 0, nil
	}
	return iteration + 1, nil
}

// versionNumber is the order of versions; Triton's are numbers.
func versionNumber(version string) int64 {
	n, err := strconv.ParseInt(version, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// editEntry changes what was decided of an entry, and its checksum with it.
func editEntry(ctx context.Context, tx execer, id int64, edit func(*entryRow)) error {
	layouts, err := readLayouts(ctx, tx)
	if err != nil {
		return err
	}
	rows, err := newEntryReader(layouts).byID(ctx, tx, []int64{id})
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		return &RecordError{id, errNoEntry}
	}
	e := rows[0]
	edit(&e)
	return updateEntry(ctx, tx, &e)
}

// updateEntry writes what can change of an entry: what was decided of it and its
// quantities.
func updateEntry(ctx context.Context, tx execer, e *entryRow) error {
	e.sums.entry = e.sum(nil)
	_, err := tx.ExecContext(ctx, "UPDATE entries SET flags=?, superseded=?, excluded=?, quantities=?, sums=? WHERE id=?",
		e.column(), e.superseded, e.excluded, e.quantities, e.sums.encode(), e.ID)
	return err
}
