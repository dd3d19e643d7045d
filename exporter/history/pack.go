package history

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
)

// A pack is the entries of some thousand successive IDs in one blob, which a daemon reads
// at its start instead of their rows: SQLite takes most of its time for each row. It is
// made once all of its IDs are given away, and a trigger removes it when any of its rows
// changes; Tidy makes it again. A pack holds nothing that the rows do not: where one is
// missing or damaged, the rows are read.

// packSize is how many IDs a pack covers: some hundred kilobytes.
const packSize = 1 << 12

// span is a run of IDs.
type span struct {
	first, last int64
	packed      bool // a pack has its entries
}

// spanOf is the pack that an ID belongs to.
func (s *Store) spanOf(id int64) span {
	first := id - (id-1)%s.packSize
	return span{first: first, last: first + s.packSize - 1}
}

// spans divides the IDs from the first to the last into packs, where there are any, and
// into runs of at most as many IDs.
func (s *Store) spans(ctx context.Context, q querier, first, last int64) (out []span, err error) {
	packs, err := s.packs(ctx, q)
	if err != nil {
		return nil, err
	}
	for at := s.spanOf(first); at.first <= last; at = s.spanOf(at.last + 1) {
		p := packs[at.first]
		at.packed = p.packed && p.last == at.last
		out = append(out, at)
	}
	return out, nil
}

// packs are the packs that there are, by their first ID. One whose rows are damaged holds
// no entries: it is not packed.
func (s *Store) packs(ctx context.Context, q querier) (map[int64]span, error) {
	out := map[int64]span{}
	if s.version < packsSince {
		return out, nil
	}
	rows, err := q.QueryContext(ctx, "SELECT first, last, body IS NOT NULL FROM packs")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var p span
		if err := rows.Scan(&p.first, &p.last, &p.packed); err != nil {
			return nil, err
		}
		out[p.first] = p
	}
	return out, rows.Err()
}

// packFull makes the pack that an ID completes, if it does. What is damaged is no reason
// not to record a result.
func (s *Store) packFull(ctx context.Context, tx execer, id int64) error {
	of := s.spanOf(id)
	if id != of.last {
		return nil
	}
	if err := s.pack(ctx, tx, of); err != nil && !errors.Is(asDamage(err), ErrDamaged) {
		return err
	}
	return nil
}

// pack makes a pack of the rows of a span.
func (s *Store) pack(ctx context.Context, tx execer, of span) error {
	body, err := s.packed(ctx, tx, of)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT OR REPLACE INTO packs (first, last, body) VALUES (?,?,?)", of.first, of.last, body)
	return err
}

// packed is the body of a pack; nil when one of its rows is damaged.
func (s *Store) packed(ctx context.Context, q querier, of span) ([]byte, error) {
	known, err := readLayouts(ctx, q)
	if err != nil {
		return nil, err
	}
	w := packWriter{indexes: map[string]int{}}
	for e, err := range newEntryReader(known).read(ctx, q, Filter{AfterID: of.first - 1, BeforeID: of.last + 1}) {
		switch {
		case isRecordError(err):
			return nil, nil
		case err != nil:
			return nil, err
		}
		w.add(of.first, &e.Entry)
	}
	return w.body(), nil
}

// Bits of the flags of a packed entry, beside those of the column flags.
const (
	packedSuperseded = 1 << 6
	packedExcluded   = 1 << 7
)

// wrongPacks are the packs that do not hold what their rows do.
func (s *Store) wrongPacks(ctx context.Context) (wrong []span, err error) {
	packs, err := s.packs(ctx, s.db)
	if err != nil {
		return nil, err
	}
	for _, first := range slices.Sorted(maps.Keys(packs)) {
		of := packs[first]
		if !of.packed {
			continue
		}
		want, err := s.packed(ctx, s.db, of)
		if err != nil {
			return wrong, err
		}
		right := false
		err = withPack(ctx, s.db, of, func(body []byte) {
			names, _, whole := openPack(body)
			right = whole && (names != quantityNames() || bytes.Equal(body, want))
		})
		if err != nil {
			return wrong, err
		}
		if !right {
			wrong = append(wrong, of)
		}
	}
	return wrong, nil
}

// packFormat is the form of a pack. One of another form is of no more use than a damaged one.
const packFormat = "2 "

// packWriter makes the body of a pack: its checksum, its form with the names of the
// quantities, all texts once, the number of entries, the entries. Lengths and numbers are
// varints.
type packWriter struct {
	texts   []string
	indexes map[string]int
	count   uint64
	entries []byte
}

func (w *packWriter) add(first int64, e *Entry) {
	b := binary.AppendUvarint(w.entries, uint64(e.ID-first))
	for _, text := range [...]string{e.Model, e.Version, e.Digest, string(e.Precision), e.Fingerprint, string(e.Failure)} {
		at, ok := w.indexes[text]
		if !ok {
			at = len(w.texts)
			w.indexes[text], w.texts = at, append(w.texts, text)
		}
		b = binary.AppendUvarint(b, uint64(at))
	}
	b = binary.AppendVarint(b, int64(e.Iteration))
	b = binary.LittleEndian.AppendUint64(b, uint64(e.Finished))
	b = binary.AppendVarint(b, int64(e.Unquantized))
	flags := byte(e.flags())
	if e.Superseded {
		flags |= packedSuperseded
	}
	if e.Excluded {
		flags |= packedExcluded
	}
	b = append(b, flags)
	w.entries, w.count = appendText(b, string(e.encode())), w.count+1
}

func (w *packWriter) body() []byte {
	b := appendText(make([]byte, crc32.Size), packFormat+quantityNames())
	b = binary.AppendUvarint(b, uint64(len(w.texts)))
	for _, text := range w.texts {
		b = appendText(b, text)
	}
	b = append(binary.AppendUvarint(b, w.count), w.entries...)
	binary.LittleEndian.PutUint32(b, crc32.Checksum(b[crc32.Size:], castagnoli))
	return b
}

func appendText(b []byte, text string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// packReader reads the body of a pack. It is bad once anything is not as packWriter
// makes it.
type packReader struct {
	rest []byte
	bad  bool
}

func (p *packReader) take(n uint64) []byte {
	if n > uint64(len(p.rest)) {
		p.bad, p.rest = true, nil
		return nil
	}
	out := p.rest[:n]
	p.rest = p.rest[n:]
	return out
}

func (p *packReader) number() uint64 {
	n, size := binary.Uvarint(p.rest)
	if size <= 0 {
		p.bad, p.rest = true, nil
		return 0
	}
	p.rest = p.rest[size:]
	return n
}

func (p *packReader) signed() int64 {
	n := p.number()
	return int64(n>>1) ^ -int64(n&1)
}

func (p *packReader) moment() Moment {
	b := p.take(8)
	if p.bad {
		return 0
	}
	return Moment(binary.LittleEndian.Uint64(b))
}

func (p *packReader) text() []byte { return p.take(p.number()) }

// openPack checks the body of a pack and returns the names of its quantities, and a reader
// of what follows them; false when it is damaged.
func openPack(body []byte) (names string, p packReader, whole bool) {
	p.rest = body
	sum := p.take(crc32.Size)
	if p.bad || binary.LittleEndian.Uint32(sum) != crc32.Checksum(p.rest, castagnoli) {
		return "", p, false
	}
	names, whole = strings.CutPrefix(string(p.text()), packFormat)
	return names, p, whole && !p.bad
}

// unpack adds the entries of a pack that finished since; it is false when the pack is
// damaged.
func (r *entryReader) unpack(body []byte, first int64, since Moment, rows []partRow) (_ []partRow, whole bool) {
	names, p, whole := openPack(body)
	if !whole {
		return rows, false
	}
	of := parseLayout(names)
	texts := make([]string, 0, 64)
	for range p.number() {
		if texts = append(texts, r.share(p.text())); p.bad {
			return rows, false
		}
	}
	for range p.number() {
		var e Entry
		e.ID = first + int64(p.number())
		for _, field := range [...]*string{&e.Model, &e.Version, &e.Digest, (*string)(&e.Precision), &e.Fingerprint, (*string)(&e.Failure)} {
			at := p.number()
			if at >= uint64(len(texts)) {
				return rows, false
			}
			*field = texts[at]
		}
		e.Iteration = int(p.signed())
		e.Finished = p.moment()
		e.Unquantized = int32(p.signed())
		flags := p.take(1)
		quantities := p.text()
		if p.bad || !of.fits(len(quantities)) {
			return rows, false
		}
		e.setFlags(int64(flags[0]))
		e.Superseded, e.Excluded = flags[0]&packedSuperseded != 0, flags[0]&packedExcluded != 0
		of.decode(quantities, &e)
		if e.Finished >= since {
			rows = append(rows, partRow{e, nil})
		}
	}
	return rows, !p.bad && len(p.rest) == 0
}

// withPack calls use with the body of a pack, which is valid until it returns, unless
// the pack is not there any more or cannot be read: then its rows are there.
func withPack(ctx context.Context, q querier, of span, use func(body []byte)) error {
	rows, err := q.QueryContext(ctx, "SELECT body FROM packs WHERE first=? AND last=?", of.first, of.last)
	if err != nil {
		return ctx.Err()
	}
	defer rows.Close()
	var body sql.RawBytes
	if rows.Next() && rows.Scan(&body) == nil {
		use(body)
	}
	return ctx.Err()
}
