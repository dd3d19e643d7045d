package candidate

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"testing"

	"github.com/plancast/plancast/exporter/onnx"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
)

// A model is inspected while it is hashed, from a stream: what the ONNX reader
// finds there is what it finds in a file.
func TestAModelIsInspectedFromAStream(t *testing.T) {
	for name, m := range map[string]onnxtest.Model{
		"large weights": onnxtest.Classifier(1000, 700, 10), "subgraphs": onnxtest.Branches(), "quantized": onnxtest.Quantized(64, 64),
	} {
		file := m.Bytes()
		want, err := onnx.Read(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			t.Fatal(err)
		}
		f := &forward{r: io.MultiReader(bytes.NewReader(file[:len(file)/3]), bytes.NewReader(file[len(file)/3:]))}
		got, err := onnx.Read(f, int64(len(file)))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, want)
		}
		if len(f.buf) > 2*forwardWindow {
			t.Errorf("%s: %d bytes are kept", name, len(f.buf))
		}
	}
}

func FuzzForward(f *testing.F) {
	f.Add(uint16(0), uint16(10), uint16(40000), uint16(100))
	f.Fuzz(func(t *testing.T, a, n, b, m uint16) {
		content := onnxtest.Noise(20000, 1)
		s := &forward{r: bytes.NewReader(content)}
		for _, x := range [][2]uint16{{a, n}, {b, m}} {
			got, want := make([]byte, x[1]), make([]byte, x[1])
			n, err := s.ReadAt(got, int64(x[0]))
			wn, werr := bytes.NewReader(content).ReadAt(want, int64(x[0]))
			if errors.Is(err, errBackward) {
				return
			}
			if n != wn || (err == nil) != (werr == nil) || !bytes.Equal(got[:n], want[:wn]) {
				t.Fatalf("at %d: %d bytes, %v; want %d, %v", x[0], n, err, wn, werr)
			}
		}
	})
}
