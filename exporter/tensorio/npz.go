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
	"slices"
	"strings"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/filekind"
)

// maxArrays bounds the members of an .npz.
const maxArrays = 4096

// ReadNPZ reads the arrays of the .npz file at name that are wanted (all of them when
// wanted is nil), in the file's order, each Tensor named after its member. The others
// are returned with their name alone. Errors are *engine.Error of KindInvalidInput.
func ReadNPZ(name string, wanted func(array string) bool) ([]engine.Tensor, error) {
	fail := func(format string, args ...any) ([]engine.Tensor, error) {
		// Reports show the message without the path.
		return nil, engine.Errorf(engine.KindInvalidInput, "read arrays", name, filepath.Base(name)+": "+format, args...)
	}
	z, err := zip.OpenReader(name)
	if err != nil {
		if e := notWhatItIsCalled(name, "PK"); e != nil {
			return nil, e
		}
	}
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
	found := map[string]bool{}
	left := int64(MaxBytes)
	for _, f := range z.File {
		array, ok := strings.CutSuffix(f.Name, ".npy")
		switch {
		case !ok || array == "":
			return fail("member %q is not a NumPy array (.npy)", f.Name)
		case found[array]:
			return fail("array %q appears twice", array)
		}
		found[array] = true
		if wanted != nil && !wanted(array) {
			tensors = append(tensors, engine.Tensor{Name: array})
			continue
		}
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

// ForInputs wants the arrays that inputs are read from: those of their names and of
// their groups ("name/1"), and for what is no tensor those below ("name/0", "name/keys").
func ForInputs(inputs []engine.TensorInfo) func(array string) bool {
	return func(array string) bool {
		return slices.ContainsFunc(inputs, func(in engine.TensorInfo) bool {
			_, grouped := groupOf(in, array)
			return array == in.Name || grouped || len(in.In) > 0 && strings.HasPrefix(array, in.Name+"/")
		})
	}
}

// Unread are the names of the arrays that were not wanted.
func Unread(arrays []engine.Tensor) []string {
	var names []string
	for _, a := range arrays {
		if a.DType == "" {
			names = append(names, a.Name)
		}
	}
	return names
}

// notWhatItIsCalled says what a file is that begins otherwise than it should; nil
// when that is not known.
func notWhatItIsCalled(name, begin string) error {
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil
	}
	first := make([]byte, len(begin))
	if n, _ := f.ReadAt(first, 0); n == len(begin) && string(first) == begin {
		return nil
	}
	what, hint := filekind.Of(f, info.Size())
	if what == "" {
		return nil
	}
	e := engine.Errorf(engine.KindInvalidInput, "read arrays", name, "%s is %s", filepath.Base(name), what)
	if e.Hint = hint; what == "a NumPy array" {
		e.Message, e.Hint = fmt.Sprintf("%s is a single NumPy array (.npy), not an .npz", filepath.Base(name)), "write it with numpy.savez, each array named after its input"
	}
	return e
}

func readMember(f *zip.File, limit int64) (engine.Tensor, error) {
	r, err := f.Open()
	if err != nil {
		return engine.Tensor{}, err
	}
	defer r.Close()
	return readNPY(r, limit)
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
