// Package filekind recognizes by content what takes the place of a model or an
// array: pointers of Git LFS, pages that a server answered, archives, and models of
// other formats.
package filekind

import (
	"bytes"
	"io"
	"unicode/utf8"
)

// head is how much of a file shows what it is.
const head = 512

// kinds are files that take the place of models and arrays, by how they begin.
var kinds = []struct {
	at         int
	magic      string
	what, hint string
}{
	{0, "version https://git-lfs.github.com/spec/", "a Git LFS pointer", "run git lfs pull"},
	{0, "version https://hawser.github.com/spec/", "a Git LFS pointer", "run git lfs pull"},
	{0, "/annex/objects/", "a git-annex pointer", "run git annex get"},
	{0, "\x1f\x8b", "a gzip archive", "unpack it"},
	{0, "BZh", "a bzip2 archive", "unpack it"},
	{0, "\xfd7zXZ\x00", "an xz archive", "unpack it"},
	{0, "\x28\xb5\x2f\xfd", "a zstd archive", "unpack it"},
	{0, "7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it"},
	{257, "ustar", "a tar archive", "unpack it"},
	{0, "ptrt", "a TensorRT plan", "put the ONNX model that it was built from here: plancast builds the plan"},
	{0, "ftrt", "a TensorRT plan", "put the ONNX model that it was built from here: plancast builds the plan"},
	{4, "ORTM", "a model in ONNX Runtime's own format (.ort)", "put the ONNX model that it was converted from here"},
	{4, "TFL3", "a TensorFlow Lite model", "convert it with tf2onnx"},
	{0, "\x89HDF\r\n\x1a\n", "an HDF5 file, such as a Keras model", "convert it with tf2onnx"},
	{0, "\x93NUMPY", "a NumPy array", "export the model to ONNX"},
	{0, "\x80\x02", "a Python pickle, such as a PyTorch checkpoint", "export the model with torch.onnx.export"},
	{0, "\x80\x03", "a Python pickle", "export the model to ONNX"},
	{0, "\x80\x04", "a Python pickle", "export the model to ONNX"},
	{0, "\x80\x05", "a Python pickle", "export the model to ONNX"},
	{0, "GGUF", "a GGUF model", "export the model to ONNX"},
	{0, "\x7fELF", "a program or library", "put an ONNX model here"},
}

// Of says what a file is ("a zip archive", "empty"), and what to do when it stands
// where something else belongs; "" for one whose beginning is not known.
func Of(r io.ReaderAt, size int64) (what, hint string) {
	if size == 0 {
		return "empty", "copy it again"
	}
	b := make([]byte, min(size, head))
	if n, err := r.ReadAt(b, 0); err != nil && n == 0 {
		return "", "" // the one that reads it all reports the error
	}
	for _, k := range kinds {
		if len(b) > k.at && bytes.HasPrefix(b[k.at:], []byte(k.magic)) {
			return k.what, k.hint
		}
	}
	if bytes.HasPrefix(b, []byte("PK\x03\x04")) {
		if bytes.Contains(b, []byte("/data.pkl")) || bytes.Contains(b, []byte("/version")) {
			return "a PyTorch archive (a zip with a pickle)", "export the model with torch.onnx.export"
		}
		return "a zip archive", "unpack it"
	}
	return page(b)
}

// page recognizes what a server answered instead of a file.
func page(b []byte) (what, hint string) {
	text := bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	text = bytes.ToLower(bytes.TrimLeft(text, " \t\r\n"))
	const again = "fetch it again, and look at what the server says"
	switch {
	case bytes.HasPrefix(text, []byte("<!doctype html")), bytes.HasPrefix(text, []byte("<html")), bytes.HasPrefix(text, []byte("<head")):
		return "an HTML page, such as an error answer of a server", again
	case bytes.HasPrefix(text, []byte("<?xml")), bytes.HasPrefix(text, []byte("<error>")):
		return "an XML page, such as an error answer of a server", again
	case len(text) > 1 && (text[0] == '{' || text[0] == '[') && printable(b):
		return "a JSON answer, such as an error answer of a server", again
	}
	return "", ""
}

// printable reports whether b is text, but for a rune that it cuts off.
func printable(b []byte) bool {
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && n == 1 && len(b) >= utf8.UTFMax:
			return false
		case r < ' ' && r != '\t' && r != '\r' && r != '\n':
			return false
		}
		b = b[n:]
	}
	return true
}
