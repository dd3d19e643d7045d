package candidate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var noon = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

// memory remembers as a history does.
type memory struct{ facts map[string]string }

func (m *memory) Files(context.Context) (map[string]string, error) {
	return maps.Clone(m.facts), nil
}

func (m *memory) Remember(_ context.Context, facts map[string]string, gone []string) error {
	maps.Copy(m.facts, facts)
	for _, p := range gone {
		delete(m.facts, p)
	}
	return nil
}

// repo is a model repository in a folder, with a clock.
type repo struct {
	*Repository
	t      *testing.T
	dir    string
	now    time.Time
	memory *memory
	torn   bool // every model ends too early
}

func newRepo(t *testing.T, files ...string) *repo {
	t.Helper()
	r := &repo{t: t, dir: t.TempDir(), now: noon, memory: &memory{map[string]string{}}}
	for _, f := range files {
		r.write(f, "content of "+f)
	}
	r.open()
	return r
}

func (r *repo) open() {
	r.t.Helper()
	var err error
	r.Repository, err = Open(r.t.Context(), Options{
		URL: r.dir, Quiet: 5 * time.Second, Memory: r.memory, Now: func() time.Time { return r.now },
		Inspect: func(file io.ReaderAt, size int64) (Contents, error) {
			if r.torn {
				return Contents{}, errors.New("it ends within node 7")
			}
			return inspectText(file, size)
		},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { r.Repository.Close() })
}

// inspectText reads a model as these tests write them: "needs NAME" names a file
// with weights, "input NAME" an input.
func inspectText(file io.ReaderAt, size int64) (Contents, error) {
	text := make([]byte, size)
	if _, err := file.ReadAt(text, 0); err != nil && err != io.EOF {
		return Contents{}, err
	}
	var c Contents
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "needs "); ok {
			c.External = append(c.External, name)
		}
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "input "); ok {
			c.Inputs = map[string][]string{name: {"batch", "3"}}
		}
	}
	return c, nil
}

// write makes a file an hour old.
func (r *repo) write(name, content string) { r.writeAt(name, content, noon.Add(-time.Hour)) }

func (r *repo) writeAt(name, content string, modified time.Time) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Chtimes(path, modified, modified); err != nil {
		r.t.Fatal(err)
	}
}

func (r *repo) scan(backlog int) Scan {
	r.t.Helper()
	s, err := r.Scan(r.t.Context(), backlog)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// identified lists "model/version" of what has a digest.
func identified(s Scan) []string {
	var out []string
	for _, m := range slices.Sorted(maps.Keys(s.Models)) {
		for _, c := range s.Models[m] {
			if c.Digest != "" {
				out = append(out, m+"/"+c.Version)
			}
		}
	}
	return out
}

func sum(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

func TestTheNewestVersionAndItsBacklogAreWanted(t *testing.T) {
	r := newRepo(t, "a/1/model.onnx", "a/2/model.onnx", "a/10/model.onnx", "b/7/model.onnx", "README.md", "a/notes.txt", "c/1/model.pt")
	for backlog, want := range map[int][]string{0: {"a/10", "b/7"}, 1: {"a/2", "a/10", "b/7"}, 99: {"a/1", "a/2", "a/10", "b/7"}} {
		if got := identified(r.scan(backlog)); !slices.Equal(got, want) {
			t.Errorf("backlog %d: %v; want %v", backlog, got, want)
		}
	}
	s := r.scan(0)
	if s.Versions != 4 || len(s.Models["a"]) != 3 || len(s.Refused) != 0 {
		t.Errorf("scan is %+v", s)
	}
	if got := s.Models["a"][2].Digest; got != sum("content of a/10/model.onnx") {
		t.Errorf("digest %s is not the file's own SHA-256", got)
	}
}

func TestAnUnchangedFileIsReadOnce(t *testing.T) {
	r := newRepo(t, "a/1/model.onnx", "a/1/inputs.npz", "b/1/model.onnx")
	if got := r.scan(0).Read; got != 3 {
		t.Errorf("the first scan read %d files; want 3", got)
	}
	if got := r.scan(0).Read; got != 0 {
		t.Errorf("the second scan read %d files; want none", got)
	}
	r.open() // another process, the same memory
	if got := r.scan(0).Read; got != 0 {
		t.Errorf("after a restart %d files were read; want none", got)
	}
	r.writeAt("a/1/model.onnx", "new content, same place", noon.Add(-time.Minute))
	if s := r.scan(0); s.Read != 1 || s.Models["a"][0].Digest != sum("new content, same place") {
		t.Errorf("after a change: read %d, %+v", s.Read, s.Models["a"])
	}
	if err := os.RemoveAll(filepath.Join(r.dir, "a")); err != nil {
		t.Fatal(err)
	}
	if s := r.scan(0); len(s.Models) != 1 || len(r.memory.facts) != 1 {
		t.Errorf("after the deletion: %+v; remembered %v", s.Models, r.memory.facts)
	}
}

func TestAFileThatMayStillBeCopiedIsLeftAlone(t *testing.T) {
	r := newRepo(t, "a/1/model.onnx")
	r.writeAt("a/2/model.onnx", "half", noon.Add(-2*time.Second))
	s := r.scan(0)
	if got := identified(s); !slices.Equal(got, []string{"a/1"}) {
		t.Errorf("identified %v; want the version before it", got)
	}
	if len(s.Pending) != 1 || s.Pending[0].Version != "2" || !strings.Contains(s.Pending[0].Reason, "changed less than 5s ago") {
		t.Errorf("pending %+v", s.Pending)
	}
	r.now = noon.Add(4 * time.Second)
	if got := identified(r.scan(0)); !slices.Equal(got, []string{"a/2"}) {
		t.Errorf("quiet for 6 s: %v", got)
	}
}

func TestAFileFromTheFutureIsWatchedInstead(t *testing.T) {
	r := newRepo(t)
	r.writeAt("a/1/model.onnx", "x", noon.Add(24*time.Hour))
	if s := r.scan(0); len(s.Pending) != 1 {
		t.Errorf("at first sight: %+v", s)
	}
	r.now = r.now.Add(6 * time.Second)
	if got := identified(r.scan(0)); !slices.Equal(got, []string{"a/1"}) {
		t.Errorf("unchanged for 6 s: %v", got)
	}
}

func TestATornFileIsWaitedForButNotForEver(t *testing.T) {
	r := newRepo(t)
	r.torn = true
	r.writeAt("a/1/model.onnx", "torn", noon.Add(-10*time.Second))
	if s := r.scan(0); len(s.Pending) != 1 || !strings.Contains(s.Pending[0].Reason, "is incomplete: it ends within node 7") {
		t.Errorf("soon after: %+v", s)
	}
	r.now = noon.Add(2 * time.Minute)
	if got := identified(r.scan(0)); !slices.Equal(got, []string{"a/1"}) {
		t.Errorf("two minutes later it is what it is: %v", got)
	}
}

func TestWeightsInAnotherFileAreWaitedFor(t *testing.T) {
	r := newRepo(t)
	r.writeAt("a/1/model.onnx", "needs weights.bin", noon.Add(-10*time.Second))
	if s := r.scan(0); len(s.Pending) != 1 || !strings.Contains(s.Pending[0].Reason, "keeps weights in weights.bin, which does not exist yet") {
		t.Errorf("without them: %+v", s)
	}
	r.writeAt("a/1/weights.bin", "weights", noon.Add(-9*time.Second))
	if got := identified(r.scan(0)); !slices.Equal(got, []string{"a/1"}) {
		t.Errorf("with them: %v", got)
	}
}

func TestOneCandidatesErrorIsItsOwn(t *testing.T) {
	r := newRepo(t, "good/1/model.onnx", "large/1/model.onnx", "gone/1/model.onnx")
	r.opts.MaxSize = 1 << 20
	if err := os.Truncate(filepath.Join(r.dir, "large/1/model.onnx"), 1<<40); err != nil {
		t.Skip("no sparse files here:", err)
	}
	large := filepath.Join(r.dir, "large/1/model.onnx")
	if err := os.Chtimes(large, noon.Add(-time.Hour), noon.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"large/1": "more than repository.max_size"}
	if os.Geteuid() != 0 { // root reads everything
		if err := os.Chmod(filepath.Join(r.dir, "gone/1/model.onnx"), 0); err != nil {
			t.Fatal(err)
		}
		want["gone/1"] = "gone/1/model.onnx cannot be read: permission denied"
	}
	s := r.scan(0)
	if !slices.Contains(identified(s), "good/1") {
		t.Errorf("identified %v", identified(s))
	}
	for _, x := range s.Refused {
		if !strings.Contains(x.Reason, want[x.Path]) || want[x.Path] == "" {
			t.Errorf("refused %q: %s", x.Path, x.Reason)
		}
		delete(want, x.Path)
	}
	if len(want) > 0 {
		t.Errorf("not refused: %v", want)
	}
}

func TestModelsBeyondTheLimitAreRefusedTogether(t *testing.T) {
	r := newRepo(t, "m/1/model.onnx", "n/1/model.onnx")
	r.scan(0)
	for i := range 500 { // garbage that comes before them by name
		r.write(fmt.Sprintf("a%03d/1/model.onnx", i), "garbage")
		r.write(fmt.Sprintf("a%03d/x/model.onnx", i), "of no version")
	}
	r.opts.MaxModels = 10
	s := r.scan(0)
	if len(s.Models) != 10 || s.Models["m"] == nil || s.Models["n"] == nil {
		t.Errorf("%d models; want 10, among them those that were there before", len(s.Models))
	}
	if len(s.Refused) != 9 || len(s.Surplus) != 492 || !s.Holds("a400") || s.Holds("b") {
		t.Errorf("%d refusals, %d models left out", len(s.Refused), len(s.Surplus))
	}
	const want = "the repository holds 502 models and repository.max_models is 10: a008 and the new ones after it by name are not measured"
	if x := s.Refused[0]; x.Path != "492 models" || !strings.HasPrefix(x.Reason, want) {
		t.Errorf("refused %+v", x)
	}
}

func TestAnEmptyRepositoryDoesNotWithdrawItsModelsAtOnce(t *testing.T) {
	r := newRepo(t)
	if s := r.scan(0); len(s.Models) != 0 {
		t.Errorf("an empty repository from the start: %+v", s)
	}
	r.write("net/1/model.onnx", "x")
	r.scan(0)
	if err := os.RemoveAll(filepath.Join(r.dir, "net")); err != nil {
		t.Fatal(err)
	}
	for _, after := range []time.Duration{0, emptyFor - time.Second} {
		r.now = noon.Add(after)
		if _, err := r.Scan(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "it is empty but held models before: check its mount") {
			t.Errorf("after %s: %v", after, err)
		}
	}
	r.now = noon.Add(emptyFor)
	if s := r.scan(0); len(s.Models) != 0 {
		t.Errorf("after a day: %+v", s)
	}
}

func TestStageCopiesAndProves(t *testing.T) {
	r := newRepo(t, "a/1/model.onnx.data", "a/inputs.npz")
	r.write("a/1/model.onnx", "needs model.onnx.data")
	c := r.scan(0).Models["a"][0]
	dir := t.TempDir()
	if err := r.Stage(t.Context(), c, dir); err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]string{"model.onnx.data": "a/1/model.onnx.data", "inputs.npz": "a/inputs.npz"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != "content of "+from {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	r.write("a/1/model.onnx.data", "replaced meanwhile")
	if err := r.Stage(t.Context(), c, t.TempDir()); !errors.Is(err, ErrChanged) {
		t.Errorf("after a replacement: %v", err)
	}
	if err := os.Remove(filepath.Join(r.dir, "a/1/model.onnx")); err != nil {
		t.Fatal(err)
	}
	if err := r.Stage(t.Context(), c, t.TempDir()); !errors.Is(err, ErrChanged) {
		t.Errorf("after a deletion: %v", err)
	}
}

func TestOpenSaysWhatToDo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		"/nonexistent/models": "create it, or set repository.url",
		file:                  "it is a file: repository.url must name the folder",
		"nosuch://bucket":     "nosuch",
	} {
		if _, err := Open(t.Context(), Options{URL: url}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), url) {
			t.Errorf("Open(%s): %v; want one that says %q", url, err, want)
		}
	}
}

// The figure to reach is a second for 2,000 versions of which none changed.
func BenchmarkScanUnchanged2000(b *testing.B) {
	dir := b.TempDir()
	for m := range 20 {
		for v := range 100 {
			path := filepath.Join(dir, fmt.Sprintf("model%d/%d", m, v+1))
			if err := os.MkdirAll(path, 0o755); err != nil {
				b.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(path, ModelFile), []byte(path), 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	r, err := Open(b.Context(), Options{URL: dir, Memory: &memory{map[string]string{}}, Now: func() time.Time { return time.Now().Add(time.Hour) }})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	if _, err := r.Scan(b.Context(), 1000); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s, err := r.Scan(b.Context(), 1000)
		if err != nil || s.Versions != 2000 || s.Read != 0 {
			b.Fatal(s.Versions, s.Read, err)
		}
	}
}
