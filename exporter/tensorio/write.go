package tensorio

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/bits"
	"strings"
	"unicode/utf8"

	"github.com/plancast/plancast/exporter/engine"
)

// WriteNPY writes t as an array of format version 1.0. NumPy has neither bfloat16
// nor numbers of less than a byte: such a tensor is written as the float32 or int8 of
// the same values.
func WriteNPY(w io.Writer, t engine.Tensor) error {
	if t.DType == engine.String {
		return writeText(w, t)
	}
	if _, small := smallest[t.DType]; small || strings.HasPrefix(string(t.DType), "float8") || t.DType == engine.Float4E2M1 {
		wide := engine.Int8
		if !small {
			wide = engine.Float32
		}
		out, err := engine.NewTensor(t.Name, wide, t.Shape)
		if err != nil {
			return err
		}
		for i := range t.Len() {
			set(out, i, t.At(i))
		}
		t = out
	}
	code := ""
	for c, d := range descrs {
		if d == t.DType {
			code = c
		}
	}
	data := t.Data
	if t.DType == engine.BFloat16 {
		code, data = "f4", make([]byte, 2*len(t.Data))
		for i := 0; i < len(t.Data); i += 2 {
			copy(data[2*i+2:], t.Data[i:i+2])
		}
	}
	if code == "" {
		return fmt.Errorf("NumPy has no element type for %s", t.DType)
	}
	order := "<"
	if code[1] == '1' {
		order = "|"
	}
	return writeArray(w, order+code, t.Shape, data)
}

// writeText writes strings as NumPy's text of four bytes a character.
func writeText(w io.Writer, t engine.Tensor) error {
	longest := 1
	for _, s := range t.Strings {
		longest = max(longest, utf8.RuneCountInString(s))
	}
	data := make([]byte, 4*longest*len(t.Strings))
	for i, s := range t.Strings {
		at := data[4*longest*i:]
		for k, r := range []rune(s) {
			binary.LittleEndian.PutUint32(at[4*k:], uint32(r))
		}
	}
	return writeArray(w, fmt.Sprintf("<U%d", longest), t.Shape, data)
}

func writeArray(w io.Writer, descr string, dims []int64, data []byte) error {
	var shape strings.Builder
	for i, n := range dims {
		if i > 0 {
			shape.WriteString(" ")
		}
		fmt.Fprintf(&shape, "%d,", n)
	}
	text := shape.String()
	if len(dims) > 1 {
		text = strings.TrimSuffix(text, ",")
	}
	h := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, text)
	// The format wants the data aligned to 64 bytes.
	h += strings.Repeat(" ", 63-(len(magic)+4+len(h))%64) + "\n"
	if len(h) > math.MaxUint16 {
		return fmt.Errorf("a shape of %d dimensions does not fit a NumPy header", len(dims))
	}
	head := append([]byte(magic+"\x01\x00"), byte(len(h)), byte(len(h)>>8))
	if _, err := w.Write(append(head, h...)); err != nil {
		return err
	}
	_, err := w.Write(data)
	return err
}

// halfBits is the IEEE 754 binary16 nearest to f, ties to even.
func halfBits(f float64) uint16 {
	var sign uint16
	if math.Signbit(f) {
		sign, f = 0x8000, -f
	}
	switch {
	case math.IsNaN(f):
		return 0x7e00
	case f >= 65520: // halfway to the next step above the largest
		return sign | 0x7c00
	case f < 0x1p-14: // subnormal
		return sign | uint16(math.RoundToEven(f*0x1p24))
	}
	frac, exp := math.Frexp(f) // f = frac * 2^exp, frac in [0.5, 1)
	m := uint16(math.RoundToEven(frac * 0x1p11))
	if bits.Len16(m) > 11 {
		m, exp = m>>1, exp+1
	}
	return sign | uint16(exp+14)<<10 | m&0x3ff
}
