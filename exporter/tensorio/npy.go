// Package tensorio moves tensors between NumPy's .npy and .npz files and
// engine.Tensor, and generates inputs where there are none.
//
// Files come from people and pipelines: object arrays (pickles), lying
// headers, size bombs and zip tricks are refused with the array's name. NumPy's
// format is public and small; the Go library for it (sbinet/npyio) knows
// neither float16 nor Fortran order beyond two dimensions and allocates what a
// header claims before it has seen the data.
package tensorio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/plancast/plancast/exporter/engine"
)

const (
	magic = "\x93NUMPY"
	// maxHeader is far above what NumPy writes for an array that has no fields.
	maxHeader = 64 << 10
	maxRank   = 32 // NumPy's own limit before 2.0
	// MaxBytes bounds one file's arrays after decompression.
	MaxBytes = 4 << 30
)

// readNPY reads one array of at most limit bytes. Complaints are those of
// KindInvalidInput without a subject; callers know the file.
func readNPY(r io.Reader, limit int64) (engine.Tensor, error) {
	var t engine.Tensor
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil || string(head[:6]) != magic {
		return t, errors.New("it is not a NumPy array")
	}
	var length int64
	var size [4]byte
	switch head[6] {
	case 1:
		if _, err := io.ReadFull(r, size[:2]); err != nil {
			return t, errors.New("the header is cut off")
		}
		length = int64(binary.LittleEndian.Uint16(size[:2]))
	case 2, 3:
		if _, err := io.ReadFull(r, size[:]); err != nil {
			return t, errors.New("the header is cut off")
		}
		length = int64(binary.LittleEndian.Uint32(size[:]))
	default:
		return t, fmt.Errorf("unknown NumPy format version %d.%d", head[6], head[7])
	}
	if length > maxHeader {
		return t, fmt.Errorf("the header has %d bytes, more than the %d of a plain array", length, maxHeader)
	}
	header := make([]byte, length)
	if _, err := io.ReadFull(r, header); err != nil {
		return t, errors.New("the header is cut off")
	}
	h, err := parseHeader(string(header))
	if err != nil {
		return t, err
	}
	n, err := engine.Elements(h.shape)
	if err != nil {
		return t, err
	}
	if n > limit/int64(max(1, h.size)) {
		return t, fmt.Errorf("%s%v takes more than %d bytes", h.dtype, h.shape, limit)
	}
	// Grown while it is read, so that a lying header costs nothing.
	want := n * int64(h.size)
	var data bytes.Buffer
	if want <= 1<<20 {
		data.Grow(int(want))
	}
	got, err := io.Copy(&data, io.LimitReader(r, want))
	switch {
	case err != nil:
		return t, err
	case got < want:
		return t, fmt.Errorf("%s%v needs %d bytes and has %d", h.dtype, h.shape, want, got)
	}
	if extra, err := io.CopyN(io.Discard, r, 1); extra > 0 {
		return t, fmt.Errorf("there are bytes behind the %d of %s%v", want, h.dtype, h.shape)
	} else if !errors.Is(err, io.EOF) {
		return t, err
	}
	t = engine.Tensor{DType: h.dtype, Shape: h.shape, Data: data.Bytes()}
	if h.bigEndian {
		unit := h.size
		if h.dtype == engine.String {
			unit = 4 // each of the characters
		}
		swap(t.Data, unit)
	}
	if h.fortran {
		t.Data = rowMajor(t.Data, h.shape, h.size)
	}
	if t.DType == engine.String {
		t.Strings, t.Data = texts(t.Data, int(n), h), nil
	}
	if t.DType == engine.Bool {
		for i, b := range t.Data {
			if b > 1 {
				return engine.Tensor{}, fmt.Errorf("element %d of a bool array is %d", i, b)
			}
		}
	}
	return t, nil
}

type header struct {
	dtype     engine.DType
	size      int  // bytes of an element
	narrow    bool // text of one byte a character
	shape     []int64
	fortran   bool
	bigEndian bool
}

// texts are the elements of an array of text, which NumPy pads with zeros.
func texts(data []byte, n int, h header) []string {
	out := make([]string, n)
	for i := range out {
		element := data[i*h.size : (i+1)*h.size]
		if h.narrow {
			out[i] = string(bytes.TrimRight(element, "\x00"))
			continue
		}
		var b strings.Builder
		for k := 0; k+4 <= len(element); k += 4 {
			b.WriteRune(rune(binary.LittleEndian.Uint32(element[k:])))
		}
		out[i] = strings.TrimRight(b.String(), "\x00")
	}
	return out
}

// parseHeader reads the Python dictionary of a header: exactly the keys descr,
// fortran_order and shape, in any order.
func parseHeader(s string) (header, error) {
	var h header
	p := &parser{s: s}
	found := map[string]bool{}
	if !p.take("{") {
		return h, errors.New("the header is not a dictionary")
	}
	for !p.take("}") {
		key, ok := p.quoted()
		if !ok || !p.take(":") {
			return h, errors.New("the header is not a dictionary of names")
		}
		if found[key] {
			return h, fmt.Errorf("the header has two %q", key)
		}
		found[key] = true
		switch key {
		case "descr":
			descr, ok := p.quoted()
			if !ok {
				return h, errors.New("it is a structured array; plancast reads plain ones")
			}
			var err error
			if err = h.parseDescr(descr); err != nil {
				return h, err
			}
		case "fortran_order":
			switch {
			case p.take("True"):
				h.fortran = true
			case !p.take("False"):
				return h, errors.New("fortran_order is neither True nor False")
			}
		case "shape":
			if !p.take("(") {
				return h, errors.New("the shape is not a tuple")
			}
			h.shape = []int64{}
			for !p.take(")") {
				n, ok := p.number()
				if !ok || len(h.shape) == maxRank {
					return h, fmt.Errorf("the shape is not a tuple of at most %d sizes", maxRank)
				}
				h.shape = append(h.shape, n)
				p.take(",")
			}
		default:
			return h, fmt.Errorf("the header has an unknown %q", key)
		}
		p.take(",")
	}
	if strings.TrimSpace(p.s) != "" {
		return h, errors.New("there is text behind the header's dictionary")
	}
	for _, key := range []string{"descr", "fortran_order", "shape"} {
		if !found[key] {
			return h, fmt.Errorf("the header has no %q", key)
		}
	}
	return h, nil
}

type parser struct{ s string }

func (p *parser) take(prefix string) bool {
	s := strings.TrimLeft(p.s, " \n\t")
	if rest, ok := strings.CutPrefix(s, prefix); ok {
		p.s = rest
		return true
	}
	return false
}

func (p *parser) quoted() (string, bool) {
	s := strings.TrimLeft(p.s, " \n\t")
	if s == "" || (s[0] != '\'' && s[0] != '"') {
		return "", false
	}
	text, rest, ok := strings.Cut(s[1:], s[:1])
	if !ok || strings.ContainsRune(text, '\\') {
		return "", false
	}
	p.s = rest
	return text, true
}

func (p *parser) number() (int64, bool) {
	s := strings.TrimLeft(p.s, " \n\t")
	end := 0
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	n, err := strconv.ParseInt(s[:end], 10, 64)
	p.s = strings.TrimPrefix(s[end:], "L") // Python 2 wrote 3L
	return n, err == nil
}

var descrs = map[string]engine.DType{
	"f2": engine.Float16, "f4": engine.Float32, "f8": engine.Float64,
	"i1": engine.Int8, "i2": engine.Int16, "i4": engine.Int32, "i8": engine.Int64,
	"u1": engine.Uint8, "u2": engine.Uint16, "u4": engine.Uint32, "u8": engine.Uint64,
	"b1": engine.Bool,
}

func (h *header) parseDescr(descr string) error {
	order, code := byte('|'), descr
	if descr != "" && strings.IndexByte("<>|=", descr[0]) >= 0 {
		order, code = descr[0], descr[1:]
	}
	h.bigEndian = order == '>'
	if strings.HasPrefix(code, "O") {
		return errors.New("it holds Python objects (a pickle), which plancast never opens: save a plain array, text with dtype=str")
	}
	if n, err := strconv.ParseUint(strings.TrimLeft(code, "US"), 10, 24); err == nil && code != "" && strings.IndexByte("US", code[0]) >= 0 {
		h.dtype, h.size, h.narrow = engine.String, int(n), code[0] == 'S'
		if !h.narrow {
			h.size *= 4
		} else {
			h.bigEndian = false
		}
		return nil
	}
	dtype, ok := descrs[code]
	if !ok {
		return fmt.Errorf("element type %q is not supported: use float16, float32, float64, bool, str or an integer type", descr)
	}
	h.dtype, h.size = dtype, dtype.Size()
	return nil
}

func swap(data []byte, size int) {
	if size == 1 {
		return
	}
	for i := 0; i+size <= len(data); i += size {
		slices.Reverse(data[i : i+size])
	}
}

// rowMajor rewrites an array whose first dimension varies fastest.
func rowMajor(data []byte, shape []int64, size int) []byte {
	if len(shape) < 2 || len(data) == 0 {
		return data
	}
	out := make([]byte, len(data))
	index := make([]int64, len(shape))
	strides := make([]int64, len(shape))
	stride := int64(size)
	for i, n := range shape {
		strides[i] = stride
		stride *= n
	}
	var from int64
	for to := 0; to < len(out); to += size {
		copy(out[to:to+size], data[from:])
		for i := len(shape) - 1; i >= 0; i-- {
			index[i]++
			from += strides[i]
			if index[i] < shape[i] {
				break
			}
			from -= strides[i] * shape[i]
			index[i] = 0
		}
	}
	return out
}

// ReadNPYFile reads the array at name, such as labels.npy.
func ReadNPYFile(name string) (engine.Tensor, error) {
	f, err := os.Open(name)
	if err != nil {
		return engine.Tensor{}, engine.Errorf(engine.KindInvalidInput, "read array", name, "%v", err)
	}
	defer f.Close()
	t, err := readNPY(f, MaxBytes)
	if err != nil {
		if e := notWhatItIsCalled(name, magic); e != nil {
			return t, e
		}
		return t, engine.Errorf(engine.KindInvalidInput, "read array", name, "%s: %v", filepath.Base(name), err)
	}
	return t, nil
}
