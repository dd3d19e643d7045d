package history

import (
	"context"
	"database/sql"
	"iter"
	"runtime"
)

// partSize is how many IDs one part of a long reading covers: some megabytes of rows.
const partSize = 1 << 12

// mostReaders leaves a connection to others.
const mostReaders = mostConnections - 1

// part is what was read of one.
type part struct {
	rows []partRow
	err  error // that ends the reading
}

type partRow struct {
	entryRow
	err error // RecordError
}

// inParts reads the rows that f selects, which must have Since, on all processors:
// each takes a part of size IDs, and the parts come in order. Few are held at a time.
func (s *Store) inParts(ctx context.Context, names string, f Filter, size int64) iter.Seq2[*entryRow, error] {
	return func(yield func(*entryRow, error) bool) {
		var first, last sql.NullInt64 // unknown where there is nothing to read
		err := s.db.QueryRowContext(ctx, "SELECT MIN(id), (SELECT MAX(id) FROM entries) FROM entries INDEXED BY by_time WHERE finished >= ?",
			f.Since.UnixNano()).Scan(&first, &last)
		if err != nil {
			yield(&entryRow{}, err)
		}
		if err != nil || !first.Valid {
			return
		}
		for p := range s.readAhead(ctx, names, f, first.Int64, last.Int64, size) {
			for i := range p.rows {
				if !yield(&p.rows[i].entryRow, p.rows[i].err) {
					return
				}
			}
			if p.err != nil {
				yield(&entryRow{}, p.err)
				return
			}
		}
	}
}

// readAhead reads the parts from the first ID to the last, as many at a time as there
// are processors. Every reading has ended when it returns.
func (s *Store) readAhead(ctx context.Context, names string, f Filter, first, last, size int64) iter.Seq[part] {
	return func(yield func(part) bool) {
		ctx, cancel := context.WithCancel(ctx)
		width := min(runtime.GOMAXPROCS(0), mostReaders)
		readers := make(chan *entryReader, width) // each remembers the strings of its parts
		for range width {
			readers <- newEntryReader(names)
		}
		var due []chan part
		var spare [][]partRow // whose rows were used
		defer func() {
			cancel()
			for _, c := range due {
				<-c
			}
		}()
		for from := first; from <= last || len(due) > 0; {
			for ; from <= last && len(due) < width; from += size {
				c := make(chan part, 1)
				due = append(due, c)
				one := f
				one.AfterID, one.BeforeID, one.part = from-1, from+size, true
				var memory []partRow
				if n := len(spare); n > 0 {
					memory, spare = spare[n-1], spare[:n-1]
				}
				go func() {
					r := <-readers
					c <- r.part(ctx, s.db, one, memory)
					readers <- r
				}()
			}
			p := <-due[0]
			due = due[1:]
			if !yield(p) {
				return
			}
			spare = append(spare, p.rows[:0])
		}
	}
}

// part reads one into memory that is free to use.
func (r *entryReader) part(ctx context.Context, q querier, f Filter, memory []partRow) part {
	p := part{rows: memory}
	for e, err := range r.read(ctx, q, f) {
		if err != nil && !isRecordError(err) {
			p.err = err
			break
		}
		p.rows = append(p.rows, partRow{*e, err})
		p.rows[len(p.rows)-1].quantities = nil // valid until the next row only
	}
	return p
}
