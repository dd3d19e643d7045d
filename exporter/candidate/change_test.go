package candidate

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/change"
)

// parseAuthor reads a change.yml as these tests write them: the author alone.
func parseAuthor(_ string, text []byte) (change.Change, error) {
	if strings.HasPrefix(string(text), "bad") {
		return change.Change{}, errors.New("change.yml:1:1: it is bad\nchange.yml:2:1: and worse")
	}
	return change.Change{Author: string(text)}, nil
}

func newTraced(t *testing.T, files ...string) *repo {
	t.Helper()
	r := newRepo(t, files...)
	r.opts.ParseChange = parseAuthor
	return r
}

func author(c Candidate) string {
	if c.Change == nil {
		return ""
	}
	return c.Change.Author
}

func TestAChangeIsNoPartOfTheIdentity(t *testing.T) {
	r := newTraced(t, "net/1/model.onnx", "net/2/model.onnx")
	before := r.scan(0).Models["net"]
	r.write("net/1/change.yml", "ann")
	r.write("net/2/change.yml", "bob")
	s := r.scan(0)
	after := s.Models["net"]
	if author(after[0]) != "ann" || author(after[1]) != "bob" {
		t.Errorf("by %q and %q: versions older than the backlog have theirs as well", author(after[0]), author(after[1]))
	}
	if after[1].Digest != before[1].Digest || after[1].DataDigest != before[1].DataDigest || after[1].Digest == "" {
		t.Errorf("the digest changed from %s to %s", before[1].Digest, after[1].Digest)
	}
	if _, ok := after[1].Files[ChangeFile]; ok {
		t.Error("it is staged with the candidate")
	}
	if s := r.scan(0); s.Read != 0 || author(s.Models["net"][1]) != "bob" {
		t.Errorf("unchanged, %d files are read again, by %q", s.Read, author(s.Models["net"][1]))
	}
	r.open() // another process
	r.opts.ParseChange = func(string, []byte) (change.Change, error) { return change.Change{}, errors.New("read again") }
	if s := r.scan(0); author(s.Models["net"][1]) != "bob" || len(s.Notes) != 0 {
		t.Errorf("after a restart it is by %q: %v", author(s.Models["net"][1]), s.Notes)
	}
}

// A change.yml that cannot be used is noted, with its places, and the candidate
// is measured all the same.
func TestABadChangeHoldsUpNothing(t *testing.T) {
	for _, c := range []struct{ name, file, text, want string }{
		{"bad", "net/1/change.yml", "bad", "it is ignored: change.yml:1:1: it is bad; change.yml:2:1: and worse"},
		{"too long", "net/1/change.yml", strings.Repeat("x", change.MaxFile+1), "it has 16385 bytes; the limit is 16384"},
		{"beside the versions", "net/change.yml", "ann", "it describes one version and belongs in that version's folder, such as net/1/change.yml"},
		{"nearly its name", "net/1/change.yaml", "ann", "plancast reads change.yml"},
	} {
		r := newTraced(t, "net/1/model.onnx")
		r.write(c.file, c.text)
		for range 2 { // the second time it is remembered
			s := r.scan(0)
			if len(s.Models["net"]) != 1 || s.Models["net"][0].Digest == "" || author(s.Models["net"][0]) != "" {
				t.Errorf("%s: %+v", c.name, s.Models)
			}
			if len(s.Notes) != 1 || s.Notes[0].Path != c.file || !strings.Contains(s.Notes[0].Text, c.want) {
				t.Errorf("%s: %v; want %q", c.name, s.Notes, c.want)
			}
		}
	}
}

func TestOfManyErrorsThreeAreShown(t *testing.T) {
	for in, want := range map[string]string{"a": "a", "a\nb\nc": "a; b; c", "a\nb\nc\nd\ne": "a; b; c (and 2 more)"} {
		if got := firstLines(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// What is edited right now says what it said until it is still; only a first one
// is waited for, so that the news of a result can name its author.
func TestAnEditedChangeIsReadWhenItIsStill(t *testing.T) {
	r := newTraced(t, "net/1/model.onnx")
	r.writeAt("net/1/change.yml", "ann", r.now.Add(-time.Second))
	if s := r.scan(0); len(s.Pending) != 1 {
		t.Fatalf("a fresh one is not waited for: %+v", s)
	}
	r.now = r.now.Add(time.Minute)
	if s := r.scan(0); author(s.Models["net"][0]) != "ann" {
		t.Fatalf("%+v", s.Models)
	}
	r.writeAt("net/1/change.yml", "bob", r.now.Add(-time.Second))
	if s := r.scan(0); len(s.Pending) != 0 || author(s.Models["net"][0]) != "ann" {
		t.Errorf("pending %v, by %q", s.Pending, author(s.Models["net"][0]))
	}
	r.now = r.now.Add(time.Minute)
	if s := r.scan(0); author(s.Models["net"][0]) != "bob" {
		t.Errorf("by %q", author(s.Models["net"][0]))
	}
}

func TestTheTimeOfAChangeIsTheCandidates(t *testing.T) {
	made := time.Date(2025, 1, 2, 0, 0, 0, 0, time.UTC)
	r := newTraced(t, "net/1/model.onnx")
	r.opts.ParseChange = func(string, []byte) (change.Change, error) { return change.Change{Time: made}, nil }
	r.write("net/1/change.yml", "")
	if got := r.scan(0).Models["net"][0].Modified; !got.Equal(made) {
		t.Errorf("made at %v; want %v", got, made)
	}
}
