package history

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
)

// body is what a record keeps as JSON.
type body struct {
	Environment engine.Environment `json:"environment"`
	Settings    engine.Settings    `json:"settings"`
	Source      string             `json:"source,omitempty"`
	Measurement *bench.Measurement `json:"measurement,omitempty"`
	Failure     *Failure           `json:"failure,omitempty"`
}

const success = "success"

func outcome(r Record) string {
	if r.OK() {
		return success
	}
	return string(r.Failure.Kind)
}

// stored is a row of the table records.
type stored struct {
	id                                       int64
	model, version, digest, precision, print string
	iteration                                int
	backend, device                          string
	candidate, started, finished             int64
	outcome, body                            string
	layers                                   sql.NullString
}

const storedColumns = `id, model, version, digest, precision, fingerprint, iteration, backend, device,
	candidate_time, started, finished, outcome, body, layers`

// sum is the checksum of the row without its layers.
func (s *stored) sum() uint32 {
	b := make(summer, 0, 512+len(s.body))
	b = b.int(s.id).text(s.model).text(s.version).text(s.digest).text(s.precision).text(s.print).int(int64(s.iteration)).
		text(s.backend).text(s.device).int(s.candidate).int(s.started).int(s.finished).text(s.outcome).text(s.body)
	return b.sum()
}

// layersSum is the checksum of the layers; 0 without any.
func (s *stored) layersSum() uint32 {
	if !s.layers.Valid {
		return 0
	}
	return summer(s.layers.String).sum()
}

// encode is the row of a record.
func encode(r Record) (stored, error) {
	s := stored{
		id: r.ID, model: r.Model, version: r.Version, digest: r.Digest, precision: string(r.Precision), print: r.Fingerprint, iteration: r.Iteration,
		backend: r.Backend, device: r.Device, candidate: r.CandidateTime.UnixNano(), started: r.Started.UnixNano(), finished: r.Finished.UnixNano(),
		outcome: outcome(r),
	}
	b := body{Environment: r.Environment, Settings: r.Settings, Source: r.Source, Failure: r.Failure}
	if r.OK() {
		m := *r.Measurement
		if m.Layers != nil && len(m.Layers.Layers) > 0 {
			text, err := json.Marshal(m.Layers.Layers)
			if err != nil {
				return stored{}, err
			}
			s.layers = sql.NullString{String: string(text), Valid: true}
			summary := *m.Layers
			summary.Layers = nil
			m.Layers = &summary
		}
		b.Measurement = &m
	}
	text, err := json.Marshal(b)
	s.body = string(text)
	return s, err
}

// record is the record of a row.
func (s *stored) record() (Record, error) {
	r := Record{
		ID: s.id, Model: s.model, Version: s.version, Digest: s.digest, Precision: engine.Precision(s.precision), Fingerprint: s.print, Iteration: s.iteration,
		Backend: s.backend, Device: s.device,
		CandidateTime: time.Unix(0, s.candidate).UTC(), Started: time.Unix(0, s.started).UTC(), Finished: time.Unix(0, s.finished).UTC(),
	}
	var b body
	if err := json.Unmarshal([]byte(s.body), &b); err != nil {
		return r, err
	}
	r.Environment, r.Settings, r.Source, r.Failure, r.Measurement = b.Environment, b.Settings, b.Source, b.Failure, b.Measurement
	if s.layers.Valid && r.Measurement != nil && r.Measurement.Layers != nil {
		if err := json.Unmarshal([]byte(s.layers.String), &r.Measurement.Layers.Layers); err != nil {
			return r, err
		}
	}
	if (r.Measurement == nil) == (r.Failure == nil) {
		return r, errors.New("it holds neither a measurement nor a failure")
	}
	return r, nil
}

// readStored reads the rows that a condition selects, ascending by ID. The row
// is valid until the next. A row that cannot be read comes as a RecordError.
func readStored(ctx context.Context, q querier, layers bool, where string, args ...any) iter.Seq2[*stored, error] {
	columns := storedColumns
	if !layers {
		columns = columns[:len(columns)-len("layers")] + "NULL"
	}
	return func(yield func(*stored, error) bool) {
		var s stored
		rows, err := q.QueryContext(ctx, "SELECT "+columns+" FROM records WHERE "+where+" ORDER BY id", args...)
		if err != nil {
			yield(&s, err)
			return
		}
		defer rows.Close()
		for rows.Next() {
			s.id = 0
			err := rows.Scan(&s.id, &s.model, &s.version, &s.digest, &s.precision, &s.print, &s.iteration, &s.backend, &s.device,
				&s.candidate, &s.started, &s.finished, &s.outcome, &s.body, &s.layers)
			if err != nil {
				err = &RecordError{s.id, err}
			}
			if !yield(&s, err) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(&s, asDamage(err))
		}
	}
}

// batch is how many records are read at once: their bodies are large.
const batch = 256

// Records returns the selected records, ascending by ID. A damaged one comes as
// a RecordError with a Record that has its ID, and the iteration goes on; it
// ends at any other error.
func (s *Store) Records(ctx context.Context, f Filter) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if err := s.records(ctx, f, yield); err != nil {
			yield(Record{}, fmt.Errorf("read history %s: %w", s.path, err))
		}
	}
}

func (s *Store) records(ctx context.Context, f Filter, yield func(Record, error) bool) error {
	// In one transaction: nothing is pruned between an entry and its record.
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // it has only read
	b := bodies{store: s, tx: tx, layers: f.Layers, shared: interner{}, yield: yield}
	if b.traced, err = s.anyChange(ctx, tx); err != nil {
		return err
	}
	for e, err := range s.walk(ctx, tx, f) {
		var one *RecordError
		switch {
		case errors.As(err, &one):
			b.waiting = append(b.waiting, wanted{id: one.ID, err: one})
		case err != nil:
			return err
		default:
			b.waiting = append(b.waiting, wanted{id: e.ID, checked: s.version >= entriesSince, sums: e.sums, superseded: e.superseded, excluded: e.excluded})
		}
		if len(b.waiting) == batch {
			if more, err := b.flush(ctx); !more || err != nil {
				return err
			}
		}
	}
	_, err = b.flush(ctx)
	return err
}

// wanted is a record whose entry was read.
type wanted struct {
	id         int64
	checked    bool // sums are known
	sums       sums
	superseded int64
	excluded   int64
	err        error // of its entry
}

// bodies reads the records of entries.
type bodies struct {
	store   *Store
	tx      *sql.Tx
	layers  bool
	shared  interner
	traced  bool    // some changes are known
	last    *Record // whose change is known; most often the next one is of the same candidate
	yield   func(Record, error) bool
	waiting []wanted
}

// flush yields those that wait; it is false when no more are wanted.
func (b *bodies) flush(ctx context.Context) (bool, error) {
	ids := make([]int64, 0, len(b.waiting))
	for _, w := range b.waiting {
		if w.err == nil {
			ids = append(ids, w.id)
		}
	}
	rows, err := b.read(ctx, ids)
	if errors.Is(err, ErrDamaged) { // of some page: it hides no more records than it must
		rows = map[int64]storedResult{}
		for _, id := range ids {
			one, err := b.read(ctx, []int64{id})
			switch {
			case errors.Is(err, ErrDamaged):
				rows[id] = storedResult{err: err}
			case err != nil:
				return false, err
			default:
				maps.Copy(rows, one)
			}
		}
	} else if err != nil {
		return false, err
	}
	for _, w := range b.waiting {
		r, err := Record{ID: w.id}, w.err
		if err == nil {
			if r, err = b.record(ctx, w, rows); err != nil {
				r, err = Record{ID: w.id}, &RecordError{w.id, err}
			}
		}
		if err != nil {
			err = fmt.Errorf("read history %s: %w", b.store.path, err)
		}
		if !b.yield(r, err) {
			return false, nil
		}
	}
	b.waiting = b.waiting[:0]
	return true, nil
}

// storedResult is a row with its record, or why there is none.
type storedResult struct {
	stored
	err     error // of the row
	decoded Record
	invalid error // of the record
}

func (b *bodies) read(ctx context.Context, ids []int64) (map[int64]storedResult, error) {
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	var rows []storedResult
	for st, err := range readStored(ctx, b.tx, b.layers, "id IN (SELECT value FROM json_each(?))", string(list)) {
		var one *RecordError
		if err != nil && !errors.As(err, &one) {
			return nil, err
		}
		x := storedResult{stored: *st}
		if one != nil {
			x.err = one.Err
		}
		rows = append(rows, x)
	}
	spread(len(rows), func(i int) { // decoding takes most of the time
		if x := &rows[i]; x.err == nil {
			x.decoded, x.invalid = x.record()
		}
	})
	out := make(map[int64]storedResult, len(rows))
	for _, x := range rows {
		out[x.id] = x
	}
	return out, nil
}

// spread calls f for 0 to n-1, on all processors.
func spread(n int, f func(int)) {
	var work errgroup.Group
	work.SetLimit(runtime.GOMAXPROCS(0))
	for i := range n {
		work.Go(func() error {
			f(i)
			return nil
		})
	}
	_ = work.Wait()
}

// record makes the record of an entry, once its checksum holds.
func (b *bodies) record(ctx context.Context, w wanted, rows map[int64]storedResult) (Record, error) {
	st, ok := rows[w.id]
	switch {
	case !ok:
		return Record{}, errMissing
	case st.err != nil:
		return Record{}, st.err
	case w.checked && (st.sum() != w.sums.record || b.layers && st.layersSum() != w.sums.layers):
		return Record{}, errChecksum
	case st.invalid != nil:
		return Record{}, st.invalid
	}
	r := st.decoded
	b.shared.intern(&r)
	var err error
	switch {
	case !b.traced:
	case b.last != nil && b.last.Model == r.Model && b.last.Version == r.Version && b.last.Digest == r.Digest:
		r.Change = b.last.Change
	default:
		if r.Change, err = b.store.changeOf(ctx, b.tx, r); err != nil {
			return Record{}, err
		}
		b.last = &r
	}
	r.SupersededBy = w.superseded
	if w.excluded != 0 {
		if r.Excluded, err = exclusion(ctx, b.tx, w.excluded); err != nil {
			return Record{}, err
		}
	}
	return r, nil
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

// Record returns one record with its layers, and ErrNoRecord when there is none.
func (s *Store) Record(ctx context.Context, id int64) (Record, error) {
	for r, err := range s.Records(ctx, Filter{ID: id, Layers: true}) {
		return r, err
	}
	return Record{}, fmt.Errorf("history %s: record %d: %w", s.path, id, ErrNoRecord)
}
