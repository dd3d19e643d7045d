package onnx

import (
	"io"
	"os"
	"path/filepath"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/plancast/plancast/exporter/engine"
)

// PruneInputs rewrites the model at name without the inputs that keep does not
// list and that no initializer stands for. ONNX Runtime leaves such behind
// when it folds initializers that old exporters listed as inputs, and then
// wants them fed.
func PruneInputs(name string, keep []engine.TensorInfo) error {
	model, err := ReadFile(name)
	if err != nil {
		return err
	}
	stale := map[string]bool{}
	for _, in := range model.Inputs {
		if !slices.ContainsFunc(keep, func(t engine.TensorInfo) bool { return t.Name == in.Name }) {
			stale[in.Name] = true
		}
	}
	if len(stale) == 0 {
		return nil
	}
	src, err := os.Open(name)
	if err != nil {
		return err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	graph, cuts, err := findInputs(src, info.Size(), stale)
	if err != nil {
		return err
	}
	dst, err := os.CreateTemp(filepath.Dir(name), ".pruned.*")
	if err != nil {
		return err
	}
	defer os.Remove(dst.Name()) // gone already when all went well
	defer dst.Close()
	length := graph.end - graph.start
	for _, c := range cuts {
		length -= c.end - c.at
	}
	head := protowire.AppendVarint(protowire.AppendTag(nil, graph.num, protowire.BytesType), uint64(length))
	at := int64(0)
	upTo := func(end int64) error {
		_, err := io.Copy(dst, io.NewSectionReader(src, at, end-at))
		return err
	}
	if err := upTo(graph.at); err != nil {
		return err
	}
	if _, err := dst.Write(head); err != nil {
		return err
	}
	at = graph.start
	for _, c := range cuts {
		if err := upTo(c.at); err != nil {
			return err
		}
		at = c.end
	}
	if err := upTo(info.Size()); err != nil {
		return err
	}
	if err := dst.Close(); err != nil {
		return err
	}
	return os.Rename(dst.Name(), name)
}

// findInputs locates the graph, and in it the inputs of the names given.
func findInputs(src io.ReaderAt, size int64, names map[string]bool) (graph field, cuts []field, err error) {
	w := newWire(src, size, maxGraph)
	err = w.fields(size, "model", func(f field) error {
		if f.num != 7 {
			return nil
		}
		graph = f
		return w.message(f, "graph", func(f field) error {
			if f.num != 11 {
				return nil
			}
			input := f
			return w.message(f, "input", func(f field) error {
				if f.num != 1 {
					return nil
				}
				name, err := w.text(f, "input name")
				if names[name] {
					cuts = append(cuts, input)
				}
				return err
			})
		})
	})
	return graph, cuts, err
}
