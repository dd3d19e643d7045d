package tensorio

import (
	"archive/zip"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/plancast/plancast/exporter/engine"
)

// maxArrays bounds the members of an .npz.
const maxArrays = 4096

// ReadNPZ reads all arrays of the .npz file at name, in the file's order, each
// Tensor named after its member. Errors are *engine.Error of KindInvalidInput.
func ReadNPZ(name string) ([]engine.Tensor, error) {
	fail := func(format string, args ...any) ([]engine.Tensor, error) {
		return nil, engine.Errorf(engine.KindInvalidInput, "read arrays", name, format, args...)
	}
	z, err := zip.OpenReader(name)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return fail("%v", err)
	case err != nil && !errors.Is(err, zip.ErrInsecurePath):
		return fail("it is not an .npz file: %v", err)
	}
	defer z.Close()
	if len(z.File) > maxArrays {
		return fail("it has %d arrays, more than %d", len(z.File), maxArrays)
	}
	var tensors []engine.Tensor
	seen := map[string]bool{}
	left := int64(MaxBytes)
	for _, f := range z.File {
		array, ok := strings.CutSuffix(f.Name, ".npy")
		switch {
		case !ok || array == "":
			return fail("member %q is not a NumPy array (.npy)", f.Name)
		case seen[array]:
			return fail("array %q is there twice", array)
		}
		seen[array] = true
		t, err := readMember(f, left)
		if err != nil {
			return fail("array %q: %v", array, err)
		}
		left -= int64(len(t.Data))
		t.Name = array
		tensors = append(tensors, t)
	}
	if len(tensors) == 0 {
		return fail("it holds no arrays")
	}
	return tensors, nil
}

func readMember(f *zip.File, limit int64) (engine.Tensor, error) {
	r, err := f.Open()
	if err != nil {
		return engine.Tensor{}, err
	}
	defer r.Close()
	return ReadNPY(r, limit)
}

// WriteNPZ writes tensors as an .npz at name: into a temporary file beside it
// that is synced and renamed, so that name never holds a part.
func WriteNPZ(name string, tensors []engine.Tensor) (err error) {
	fail := func(err error) error { return fmt.Errorf("write arrays %s: %w", name, err) }
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return fail(err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = fail(err)
		}
	}()
	z := zip.NewWriter(f)
	// Outputs are noise to a compressor: the fastest level takes the easy part.
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	for _, t := range tensors {
		w, err := z.Create(t.Name + ".npy")
		if err != nil {
			return err
		}
		if err := WriteNPY(w, t); err != nil {
			return fmt.Errorf("array %q: %w", t.Name, err)
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}
