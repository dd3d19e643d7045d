package filekind

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"strings"
	"testing"
)

func archive(t *testing.T, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range names {
		if _, err := z.Create(name); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFilesAreRecognizedByContent(t *testing.T) {
	var zipped, tarred bytes.Buffer
	g := gzip.NewWriter(&zipped)
	if _, err := g.Write([]byte("model")); err != nil || g.Close() != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(&tarred)
	if err := w.WriteHeader(&tar.Header{Name: "model.onnx", Size: 0, Mode: 0o644}); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		data       string
		what, hint string
	}{
		"nothing":                         {"", "empty", "copy it again"},
		"a Git LFS pointer":               {"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 97781184\n", "a Git LFS pointer", "run git lfs pull"},
		"an HTML page":                    {"\n<!DOCTYPE html><html>403</html>", "an HTML page", "fetch it again"},
		"an HTML page with a mark":        {"\xef\xbb\xbf<HTML><body>", "an HTML page", "fetch it again"},
		"an answer of S3":                 {"<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code></Error>", "an XML page", "fetch it again"},
		"an answer in JSON":               {`{"error":"Repository not found"}`, "a JSON answer", "fetch it again"},
		"a zip archive":                   {string(archive(t, "model.onnx")), "a zip archive", "unpack"},
		"a PyTorch archive":               {string(archive(t, "net/data.pkl", "net/version")), "a PyTorch archive", "torch.onnx.export"},
		"gzip":                            {zipped.String(), "a gzip archive", "unpack"},
		"tar":                             {tarred.String(), "a tar archive", "unpack"},
		"a TensorRT plan":                 {"ptrt\x00\x00\x00\x00abc", "a TensorRT plan", "plancast builds the plan"},
		"an ORT file":                     {"\x20\x00\x00\x00ORTM\x00", "a model in ONNX Runtime's own format", "converted from"},
		"a checkpoint":                    {"\x80\x02}q\x00", "a Python pickle", "torch.onnx.export"},
		"a Keras model":                   {"\x89HDF\r\n\x1a\n", "an HDF5 file", "tf2onnx"},
		"an array":                        {"\x93NUMPY\x01\x00", "a NumPy array", "export"},
		"a model that begins as JSON may": {"{\x08\x00\x01", "", ""},
		"a model":                         {"\x08\x08\x12\x07pytorch", "", ""},
		"text":                            {"hello", "", ""},
	} {
		what, hint := Of(strings.NewReader(c.data), int64(len(c.data)))
		if !strings.HasPrefix(what, c.what) || (c.what == "") != (what == "") || !strings.Contains(hint, c.hint) {
			t.Errorf("%s: %q, %q", name, what, hint)
		}
	}
}
