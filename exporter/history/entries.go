package history

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"iter"
	"math"
	"strconv"
)

// Bits of the column flags.
const (
	flagStable = 1 << iota
	flagDisturbed
	flagNoEffect

	// The bits from layoutShift on are the layout of the quantities.
	layoutShift = 8
)

// entryRow is a row of the table entries.
type entryRow struct {
	Entry
	candidate  Moment // when the candidate was last modified
	started    Moment
	superseded int64  // ID of the record that counts instead
	excluded   int64  // ID in audit of its exclusion
	layout     int64  // of quantities
	quantities []byte // Values and Figures, as they are stored
	whole      bool   // of what was read: quantities has all that this plancast knows
	sums       sums
}

// newEntryRow is the row of a record in the layout of this plancast, which the file has
// under a number.
func newEntryRow(r Record, record, layers uint32, layout int64) entryRow {
	e := entryRow{
		Entry: EntryOf(r), candidate: MomentOf(r.CandidateTime), started: MomentOf(r.Started), superseded: r.SupersededBy,
		layout: layout, whole: true, sums: sums{record: record, layers: layers},
	}
	e.quantities = e.encode()
	e.sums.entry = e.sum(nil)
	return e
}

func (e *Entry) flags() (f int64) {
	if e.Stable {
		f |= flagStable
	}
	if e.Disturbed {
		f |= flagDisturbed
	}
	if e.NoEffect {
		f |= flagNoEffect
	}
	return f
}

func (e *Entry) setFlags(f int64) {
	e.Stable, e.Disturbed, e.NoEffect = f&flagStable != 0, f&flagDisturbed != 0, f&flagNoEffect != 0
}

// column is the column flags.
func (e *entryRow) column() int64 { return e.flags() | e.layout<<layoutShift }

// sum is what sums.entry is to be; it is worked out behind b.
func (e *entryRow) sum(b summer) uint32 {
	b = b.int(e.ID).text(e.Model).text(e.Version).text(e.Digest).text(string(e.Precision)).text(e.Fingerprint).int(int64(e.Iteration)).
		int(int64(e.candidate)).int(int64(e.started)).int(int64(e.Finished)).text(string(e.Failure)).int(int64(e.Unquantized)).int(e.column()).
		int(e.superseded).int(e.excluded).blob(e.quantities).int(int64(e.sums.record)).int(int64(e.sums.layers))
	return b.sum()
}

const entryColumns = `id, model, version, digest, precision, fingerprint, iteration, candidate_time, started, finished,
	failure, unquantized, flags, superseded, excluded, quantities, sums`

// selectEntries reads all that is not the ID as one blob, which entryReader parses: a
// column for each field takes twice the processor time and several times the allocations.
// Lengths and not separators divide the texts, which may hold anything; quantities and sums
// follow them.
const selectEntries = `SELECT id, CAST(concat_ws(' ', iteration, candidate_time, started, finished, unquantized, flags, superseded, excluded,
	octet_length(model), octet_length(version), octet_length(digest), octet_length(precision), octet_length(fingerprint), octet_length(failure),
	model || version || digest || precision || fingerprint || failure) || quantities || sums AS BLOB) FROM entries`

func insertEntry(ctx context.Context, tx execer, e entryRow) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO entries ("+entryColumns+") VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
		e.ID, e.Model, e.Version, e.Digest, string(e.Precision), e.Fingerprint, e.Iteration, int64(e.candidate), int64(e.started), int64(e.Finished),
		string(e.Failure), e.Unquantized, e.column(), e.superseded, e.excluded, e.quantities, e.sums.encode())
	return err
}

// entryReader reads rows of entries; those of one reader share their strings.
type entryReader struct {
	layouts []layout // of the file
	shared  map[string]string
	row     sql.RawBytes
	buffer  [512]byte // what a checksum is over
}

// sharedAtMost bounds the strings that a reader remembers: sharing spares
// memory, and reading takes the same however long a history is.
const sharedAtMost = 1 << 14

func newEntryReader(layouts []layout) *entryReader {
	return &entryReader{layouts: layouts, shared: map[string]string{}}
}

// scan reads one row over the one before, or over none. A row that is damaged gives a
// RecordError, with as much of the row as could be read.
func (r *entryReader) scan(rows *sql.Rows, e *entryRow) error {
	e.ID = 0
	if err := rows.Scan(&e.ID, &r.row); err != nil {
		return &RecordError{e.ID, fmt.Errorf("%w: %w", errNoEntry, err)}
	}
	whole := r.parse(e)
	if !whole { // of the fields some may be those of the row before
		e.Entry = Entry{ID: e.ID}
	}
	e.Values, e.Figures = unknown(), ""
	if !whole || e.sums.entry != e.sum(r.buffer[:0]) {
		return &RecordError{e.ID, fmt.Errorf("%w: %w", errNoEntry, errChecksum)}
	}
	e.whole = false
	if e.layout >= int64(len(r.layouts)) { // another plancast wrote it since this one began to read
		return nil
	}
	l := &r.layouts[e.layout]
	if !l.fits(len(e.quantities)) {
		return &RecordError{e.ID, fmt.Errorf("%w: %w", errNoEntry, errChecksum)}
	}
	e.whole = l.whole
	l.decode(e.quantities, &e.Entry)
	return nil
}

// parse takes the fields of a row as selectEntries gives them. It is false when
// they are not what newEntryRow makes of any record.
func (r *entryReader) parse(e *entryRow) bool {
	const ints, texts = 8, 6
	var numbers [ints + texts]int64
	rest := []byte(r.row)
	for i := range numbers {
		var ok bool
		if numbers[i], rest, ok = cutNumber(rest); !ok {
			return false
		}
	}
	e.Iteration, e.candidate, e.started, e.Finished = int(numbers[0]), Moment(numbers[1]), Moment(numbers[2]), Moment(numbers[3])
	e.Unquantized, e.superseded, e.excluded = int32(numbers[4]), numbers[6], numbers[7]
	flags := numbers[5]
	e.setFlags(flags)
	e.layout = flags >> layoutShift
	e.Superseded, e.Excluded = e.superseded != 0, e.excluded != 0
	for i, field := range [texts]*string{&e.Model, &e.Version, &e.Digest, (*string)(&e.Precision), &e.Fingerprint, (*string)(&e.Failure)} {
		n := numbers[ints+i]
		if n < 0 || n > int64(len(rest)) {
			return false
		}
		if text := rest[:n]; string(text) != *field { // mostly it is that of the row before
			*field = r.share(text)
		}
		rest = rest[n:]
	}
	end := len(rest) - sumsLength
	if end < 0 {
		return false
	}
	e.quantities = rest[:end]
	var ok bool
	e.sums, ok = decodeSums(rest[end:])
	return ok && e.layout >= 0 && e.column() == flags && int64(e.Unquantized) == numbers[4]
}

// cutNumber cuts a decimal number and the space behind it off.
func cutNumber(text []byte) (n int64, rest []byte, ok bool) {
	i := bytes.IndexByte(text, ' ')
	if i < 0 {
		return 0, nil, false
	}
	n, err := strconv.ParseInt(string(text[:i]), 10, 64)
	return n, text[i+1:], err == nil
}

func (r *entryReader) share(text []byte) string {
	if len(text) == 0 {
		return ""
	}
	if one, ok := r.shared[string(text)]; ok {
		return one
	}
	if len(r.shared) >= sharedAtMost {
		clear(r.shared)
	}
	s := string(text)
	r.shared[s] = s
	return s
}

// Entries returns the selected records as entries, ascending by ID. A damaged
// one comes as a RecordError with what could be read of it, and the iteration goes
// on; it ends at any other error.
func (s *Store) Entries(ctx context.Context, f Filter) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		for row, err := range s.walk(ctx, s.db, f) {
			if err != nil {
				err = fmt.Errorf("read history %s: %w", s.path, err)
			}
			if !yield(row.Entry, err) {
				return
			}
		}
	}
}

// walk reads the rows that f selects. The row is valid until the next.
func (s *Store) walk(ctx context.Context, q querier, f Filter) iter.Seq2[*entryRow, error] {
	if s.version < entriesSince {
		return s.walkRecords(ctx, q, f)
	}
	return func(yield func(*entryRow, error) bool) {
		if err := s.walkEntries(ctx, q, f, yield); err != nil {
			yield(&entryRow{}, asDamage(err))
		}
	}
}

func (s *Store) walkEntries(ctx context.Context, q querier, f Filter, yield func(*entryRow, error) bool) error {
	var err error
	if f.candidates, err = s.candidatesBy(ctx, q, f); err != nil {
		return err
	}
	layouts, err := readLayouts(ctx, q)
	if err != nil {
		return err
	}
	missing := func(int64) error { return nil }
	if f.Whole {
		if missing, err = gapFinder(ctx, q); err != nil {
			return err
		}
	}
	reader := newEntryReader(layouts)
	var older []entryRow // of Standing
	if f.Standing && !f.Since.IsZero() {
		ids, err := standing(ctx, q, f)
		if err != nil {
			return err
		}
		if older, err = reader.byID(ctx, q, ids); err != nil {
			return err
		}
	}
	rows := reader.read(ctx, q, f)
	if q == s.db && f.Standing && !f.Since.IsZero() && f.Model == "" {
		rows = s.inParts(ctx, layouts, f)
	}
	for e, err := range rows {
		if err != nil && !isRecordError(err) {
			return err
		}
		for len(older) > 0 && older[0].ID < e.ID {
			if !yield(&older[0], nil) {
				return nil
			}
			older = older[1:]
		}
		if err := missing(e.ID); err != nil && !yield(&entryRow{}, err) {
			return nil
		}
		if err == nil && f.Whole && !f.selects(&e.Entry) {
			continue
		}
		if !yield(e, err) {
			return nil
		}
	}
	for i := range older {
		if !yield(&older[i], nil) {
			return nil
		}
	}
	return missing(math.MaxInt64)
}

// read reads the rows that f selects. The row is valid until the next; an error that
// is no RecordError is the last.
func (r *entryReader) read(ctx context.Context, q querier, f Filter) iter.Seq2[*entryRow, error] {
	return func(yield func(*entryRow, error) bool) {
		var e entryRow
		query, args := f.query()
		rows, err := q.QueryContext(ctx, query, args...)
		if err != nil {
			yield(&e, err)
			return
		}
		defer rows.Close()
		for rows.Next() {
			if !yield(&e, r.scan(rows, &e)) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(&e, err)
		}
	}
}

// byID reads rows by their IDs, ascending.
func (r *entryReader) byID(ctx context.Context, q querier, ids []int64) ([]entryRow, error) {
	list, err := json.Marshal(ids)
	if err != nil {
		return nil, err
	}
	rows, err := q.QueryContext(ctx, selectEntries+" WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id", string(list))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []entryRow
	for rows.Next() {
		var e entryRow
		if err := r.scan(rows, &e); err != nil {
			return nil, err
		}
		e.quantities = bytes.Clone(e.quantities) // valid until the next row only
		out = append(out, e)
	}
	return out, rows.Err()
}

// walkRecords is walk for a file that has no entries yet.
func (s *Store) walkRecords(ctx context.Context, q querier, f Filter) iter.Seq2[*entryRow, error] {
	return func(yield func(*entryRow, error) bool) {
		if f.By != (By{}) {
			return // it knows of no changes
		}
		var kept []entryRow
		for st, err := range readStored(ctx, q, false, "id > ? AND (? = '' OR model = ?)", f.AfterID, f.Model, f.Model) {
			var e entryRow
			if err == nil {
				var r Record
				if r, err = st.record(); err == nil {
					e = newEntryRow(r, 0, 0, 0)
					if !f.selects(&e.Entry) {
						continue
					}
				} else {
					err = &RecordError{st.id, err}
				}
			}
			if f.Limit > 0 && err == nil {
				kept = append(kept, e)
				kept = kept[max(0, len(kept)-f.Limit):]
			} else if !yield(&e, err) {
				return
			}
		}
		for i := range kept {
			if !yield(&kept[i], nil) {
				return
			}
		}
	}
}
