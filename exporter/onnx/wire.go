package onnx

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/plancast/plancast/exporter/engine"
)

const (
	// maxString bounds one name; real ones have a few hundred bytes.
	maxString = 1 << 20
	// maxSummary bounds what is kept of one model, names and structures alike, so
	// that a hostile file costs memory in proportion to this and not to its size;
	// maxGraph does where the nodes are kept as well.
	maxSummary = 16 << 20
	maxGraph   = 256 << 20
	// maxOpsets bounds the domains that a model imports.
	maxOpsets = 1024
	// maxDepth bounds graphs inside attributes of nodes inside graphs.
	maxDepth = 32
	// maxRank bounds the dimensions of a tensor.
	maxRank = 64

	bufferSize = 64 << 10
	longestTag = 10 // bytes of the longest varint
)

// wire walks protocol buffer messages in a file without holding them: lengths
// are followed, payloads nobody asked for are stepped over and never read.
type wire struct {
	src      io.ReaderAt
	size     int64
	off      int64  // of the next byte to decode
	buf      []byte // bytes of the file from bufOff
	bufOff   int64
	store    []byte // what buf is a part of
	retained int64  // bytes of names and structures that are kept, about
	limit    int64  // of retained
}

func newWire(src io.ReaderAt, size, limit int64) *wire {
	return &wire{src: src, size: size, limit: limit, store: make([]byte, bufferSize)}
}

// keep counts n bytes that are kept of f.
func (w *wire) keep(f field, n int64) error {
	if w.retained += n; w.retained > w.limit {
		return errorf(f.at, "the names and structures of this model take more than %d MiB", w.limit>>20)
	}
	return nil
}

// once refuses a field that occurs a second time where the format has one: readers
// differ in which of the two they take, or join them.
type once uint64

func (o *once) check(f field, what string, singular ...protowire.Number) error {
	if f.num > 63 || !slices.Contains(singular, f.num) {
		return nil
	}
	if o.has(f.num) {
		return errorf(f.at, "%s: a second %s, which ONNX does not have", what, cmp.Or(fieldNames[what][f.num], fmt.Sprintf("field %d", f.num)))
	}
	*o |= 1 << f.num
	return nil
}

func (o *once) has(num protowire.Number) bool { return *o&(1<<num) != 0 }

// fieldNames are for the fields that matter in a refusal.
var fieldNames = map[string]map[protowire.Number]string{
	"model":     {7: "graph"},
	"tensor":    {2: "data_type", 8: "name", 9: "raw_data", 14: "data_location"},
	"attribute": {1: "name", 5: "tensor", 6: "graph"},
}

// enum is the value of an enumeration. Readers cut a larger one to 32 bits.
func enum(f field, what string) (int64, error) {
	if f.typ != protowire.VarintType {
		return 0, errorf(f.at, "%s: wire type %d instead of a number", what, f.typ)
	}
	if f.value > math.MaxInt32 {
		return 0, errorf(f.at, "%s: %d does not fit in 32 bits", what, f.value)
	}
	return int64(f.value), nil
}

// errorf is a refusal that says where in the file.
func errorf(off int64, format string, args ...any) error {
	return engine.Errorf(engine.KindInvalidModel, "read ONNX model", "", "byte %d: %s", off, fmt.Sprintf(format, args...))
}

// peek returns up to n bytes from the current offset.
func (w *wire) peek(n int) ([]byte, error) {
	if rest := w.size - w.off; int64(n) > rest {
		n = int(rest)
	}
	if at := w.off - w.bufOff; at >= 0 && at+int64(n) <= int64(len(w.buf)) {
		return w.buf[at : at+int64(n)], nil
	}
	want := int64(len(w.store))
	if rest := w.size - w.off; want > rest {
		want = rest
	}
	got, err := w.src.ReadAt(w.store[:want], w.off)
	if int64(got) < want {
		if err == nil || err == io.EOF {
			return nil, errorf(w.off+int64(got), "the file ends here and was %d bytes long a moment ago: it is still being written", w.size)
		}
		return nil, fmt.Errorf("read ONNX model at byte %d: %w", w.off, err)
	}
	w.buf, w.bufOff = w.store[:want], w.off
	return w.buf[:n], nil
}

// field is one field of a message. Its payload lies in [start, end) of the
// file when typ is protowire.BytesType; value holds it otherwise.
type field struct {
	num   protowire.Number
	typ   protowire.Type
	at    int64 // of the tag
	value uint64
	start int64
	end   int64
}

// fields calls visit for every field of the message that ends at end. The
// visitor may read the payload or leave it; decoding goes on behind it.
func (w *wire) fields(end int64, what string, visit func(field) error) error {
	for w.off < end {
		f := field{at: w.off}
		tag, err := w.varint(end, what)
		if err != nil {
			return err
		}
		if tag > math.MaxUint32 {
			return errorf(f.at, "%s: a field number of more than 29 bits: this is not an ONNX file, or it is damaged", what)
		}
		f.num, f.typ = protowire.DecodeTag(tag)
		if f.num < protowire.MinValidNumber {
			return errorf(f.at, "%s: not a field: this is not an ONNX file, or it is damaged", what)
		}
		switch f.typ {
		case protowire.VarintType:
			f.value, err = w.varint(end, what)
		case protowire.Fixed32Type:
			f.value, err = w.fixed(4, end, what)
		case protowire.Fixed64Type:
			f.value, err = w.fixed(8, end, what)
		case protowire.BytesType:
			var n uint64
			if n, err = w.varint(end, what); err == nil {
				f.start = w.off
				if n > uint64(end-w.off) {
					where := "the message around it"
					if end == w.size {
						where = "the file"
					}
					return errorf(f.at, "%s: field %d is %d bytes long and %s has %d left: the file is truncated or damaged",
						what, f.num, n, where, end-w.off)
				}
				f.end = w.off + int64(n)
			}
		default:
			return errorf(f.at, "%s: field %d has wire type %d, which ONNX does not use: this is not an ONNX file, or it is damaged", what, f.num, f.typ)
		}
		if err != nil {
			return err
		}
		after := w.off
		if f.typ == protowire.BytesType {
			after = f.end
		}
		if err := visit(f); err != nil {
			return err
		}
		w.off = after
	}
	return nil
}

// message is fields for a payload that is itself a message.
func (w *wire) message(f field, what string, visit func(field) error) error {
	if f.typ != protowire.BytesType {
		return errorf(f.at, "%s: wire type %d instead of a message", what, f.typ)
	}
	w.off = f.start
	return w.fields(f.end, what, visit)
}

func (w *wire) varint(end int64, what string) (uint64, error) {
	b, err := w.peek(longestTag)
	if err != nil {
		return 0, err
	}
	if rest := end - w.off; int64(len(b)) > rest {
		b = b[:rest]
	}
	v, n := protowire.ConsumeVarint(b)
	if n < 0 {
		if len(b) < longestTag {
			return 0, errorf(w.off, "%s: ends in the middle of a number: the file is truncated or damaged", what)
		}
		return 0, errorf(w.off, "%s: not a number: this is not an ONNX file, or it is damaged", what)
	}
	if n != protowire.SizeVarint(v) {
		return 0, errorf(w.off, "%s: a number in more bytes than it takes: no exporter writes that, and readers interpret it differently", what)
	}
	w.off += int64(n)
	return v, nil
}

func (w *wire) fixed(n int, end int64, what string) (uint64, error) {
	b, err := w.peek(n)
	if err != nil {
		return 0, err
	}
	if len(b) < n || end-w.off < int64(n) {
		return 0, errorf(w.off, "%s: ends in the middle of a number: the file is truncated or damaged", what)
	}
	w.off += int64(n)
	if n == 4 {
		v, _ := protowire.ConsumeFixed32(b)
		return uint64(v), nil
	}
	v, _ := protowire.ConsumeFixed64(b)
	return v, nil
}

// text reads a payload as a name and counts it against maxRetained.
func (w *wire) text(f field, what string) (string, error) {
	if f.typ != protowire.BytesType {
		return "", errorf(f.at, "%s: wire type %d instead of text", what, f.typ)
	}
	n := f.end - f.start
	if n > maxString {
		return "", errorf(f.at, "%s: %d bytes of text, more than the %d that a name may have", what, n, maxString)
	}
	if err := w.keep(f, n); err != nil {
		return "", err
	}
	if n <= bufferSize {
		w.off = f.start
		b, err := w.peek(int(n))
		return string(b), err
	}
	b := make([]byte, n)
	if _, err := w.src.ReadAt(b, f.start); err != nil {
		return "", fmt.Errorf("read ONNX model at byte %d: %w", f.start, err)
	}
	return string(b), nil
}

// ints appends the numbers of a repeated integer field, packed or not.
func (w *wire) ints(f field, what string, to []int64) ([]int64, error) {
	switch f.typ {
	case protowire.VarintType:
		to = append(to, int64(f.value))
	case protowire.BytesType:
		for w.off = f.start; w.off < f.end; {
			v, err := w.varint(f.end, what)
			if err != nil {
				return nil, err
			}
			if to = append(to, int64(v)); len(to) > maxRank {
				break
			}
		}
	default:
		return nil, errorf(f.at, "%s: wire type %d instead of integers", what, f.typ)
	}
	if len(to) > maxRank {
		return nil, errorf(f.at, "%s: more than %d dimensions", what, maxRank)
	}
	return to, nil
}
