package history

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"iter"
	"math"
)

// Every record and every entry carries a checksum over all that it holds, its
// ID included: SQLite notices damage of its structure, and not of its contents.
// CRC-32C finds every flipped bit and every torn run of up to 32 bits.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// RecordError says that one record cannot be used. Reading goes on behind it.
type RecordError struct {
	ID  int64
	Err error
}

// Error names the record and says what to do.
func (e *RecordError) Error() string {
	return fmt.Sprintf("record %d: %v: restore a backup, or save the others with plancast history salvage", e.ID, e.Err)
}

// isRecordError reports whether an error is about one record.
func isRecordError(err error) bool {
	var one *RecordError
	return errors.As(err, &one)
}

// Unwrap returns ErrDamaged and the reason.
func (e *RecordError) Unwrap() []error { return []error{ErrDamaged, e.Err} }

var (
	errChecksum = errors.New("its checksum does not match what is stored")
	errMissing  = errors.New("it is missing")
	errNoEntry  = errors.New("its entry cannot be read")
)

// summer adds up fields, each with its length, so that none runs into the next.
type summer []byte

func (b summer) int(v int64) summer { return binary.LittleEndian.AppendUint64(b, uint64(v)) }

func (b summer) text(s string) summer {
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(s))), s...)
}

func (b summer) blob(v []byte) summer {
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(v))), v...)
}

func (b summer) sum() uint32 { return crc32.Checksum(b, castagnoli) }

// sums are the checksums that an entry keeps.
type sums struct {
	record uint32 // of its record, without the layers
	layers uint32 // of the layers of its record; 0 when it has none
	entry  uint32 // of the entry itself, the other two included
}

// sumsLength is how many bytes they take.
const sumsLength = 12

func (s sums) encode() []byte {
	b := binary.LittleEndian.AppendUint32(nil, s.record)
	b = binary.LittleEndian.AppendUint32(b, s.layers)
	return binary.LittleEndian.AppendUint32(b, s.entry)
}

func decodeSums(b []byte) (sums, bool) {
	if len(b) != sumsLength {
		return sums{}, false
	}
	u := binary.LittleEndian.Uint32
	return sums{u(b), u(b[4:]), u(b[8:])}, true
}

// encode is the quantities as they are stored, with the figures behind them.
func (e Entry) encode() []byte {
	b := make([]byte, 0, 8*len(e.Values)+len(e.Figures))
	for _, x := range e.Values {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
	}
	return append(b, e.Figures...)
}

// Skip leaves out what is damaged, and reports each time.
func Skip[T any](all iter.Seq2[T, error], report func(error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for x, err := range all {
			if isRecordError(err) {
				report(err)
				continue
			}
			if !yield(x, err) {
				return
			}
		}
	}
}
