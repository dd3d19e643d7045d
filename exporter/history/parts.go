package history

import (
	"context"
	"database/sql"
	"iter"
	"runtime"
)

// mostReaders leaves a connection to others.
const mostReaders = mostConnections - 1

// part is what was read of one span of IDs.
type part struct {
	rows []partRow
	torn bool  // its pack is damaged or gone
	err  error // that ends the reading
}

type partRow struct {
	Entry
	err error // RecordError
}

// inParts reads the rows that f selects, which must have Since and nothing else, on all
// processors: each takes a span of IDs, from its pack where there is one, and the parts
// come in order. Few are held at a time. Of a row the Entry alone is known.
func (s *Store) inParts(ctx context.Context, layouts []layout, f Filter) iter.Seq2[*entryRow, error] {
	return func(yield func(*entryRow, error) bool) {
		var row entryRow
		spans, err := s.spansSince(ctx, f)
		if err != nil {
			yield(&row, err)
			return
		}
		for p := range s.readAhead(ctx, layouts, f, spans) {
			for i := range p.rows {
				row.Entry = p.rows[i].Entry
				if !yield(&row, p.rows[i].err) {
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

// spansSince are those from the first entry that finished since; none when nothing did.
func (s *Store) spansSince(ctx context.Context, f Filter) ([]span, error) {
	var first, last sql.NullInt64 // unknown where there is nothing to read
	err := s.db.QueryRowContext(ctx, "SELECT MIN(id), (SELECT MAX(id) FROM entries) FROM entries INDEXED BY by_time WHERE finished >= ?",
		f.Since.UnixNano()).Scan(&first, &last)
	if err != nil || !first.Valid {
		return nil, err
	}
	return s.spans(ctx, s.db, first.Int64, last.Int64)
}

// readAhead reads the spans, as many at a time as there are processors. Every reading has
// ended when it returns.
func (s *Store) readAhead(ctx context.Context, layouts []layout, f Filter, spans []span) iter.Seq[part] {
	return func(yield func(part) bool) {
		ctx, cancel := context.WithCancel(ctx)
		width := min(runtime.GOMAXPROCS(0), mostReaders)
		readers := make(chan *entryReader, width) // each remembers the strings of its parts
		for range width {
			readers <- newEntryReader(layouts)
		}
		var due []chan part
		var spare [][]partRow // whose rows were used
		defer func() {
			cancel()
			for _, c := range due {
				<-c
			}
		}()
		for len(spans) > 0 || len(due) > 0 {
			for ; len(spans) > 0 && len(due) < width; spans = spans[1:] {
				c, of := make(chan part, 1), spans[0]
				due = append(due, c)
				var memory []partRow
				if n := len(spare); n > 0 {
					memory, spare = spare[n-1], spare[:n-1]
				}
				go func() {
					r := <-readers
					p := r.part(ctx, s.db, f, of, memory)
					if p.torn {
						s.torn.Store(of.first, true)
					}
					c <- p
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
func (r *entryReader) part(ctx context.Context, q querier, f Filter, of span, memory []partRow) part {
	if of.packed {
		rows, whole := memory, false
		err := withPack(ctx, q, of, func(body []byte) { rows, whole = r.unpack(body, of.first, MomentOf(f.Since), memory) })
		if err != nil || whole {
			return part{rows: rows, err: err}
		}
	}
	p := part{rows: memory, torn: of.packed}
	f.AfterID, f.BeforeID, f.part = of.first-1, of.last+1, true
	for e, err := range r.read(ctx, q, f) {
		if err != nil && !isRecordError(err) {
			p.err = err
			break
		}
		p.rows = append(p.rows, partRow{e.Entry, err})
	}
	return p
}
