package candidate

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

// troubled is a registry that does not answer for some models.
type troubled struct {
	http.Handler
	failing []string // parts of paths
}

func (r *troubled) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if slices.ContainsFunc(r.failing, func(s string) bool { return strings.Contains(req.URL.Path, s) }) {
		http.Error(w, "{}", http.StatusServiceUnavailable)
		return
	}
	r.Handler.ServeHTTP(w, req)
}

func TestAModelThatCannotBeListedStopsNoOther(t *testing.T) {
	asked := &troubled{Handler: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	server := httptest.NewServer(asked)
	defer server.Close()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	host := strings.TrimPrefix(server.URL, "http://")
	for _, model := range []string{"good", "bad"} {
		registryPlace(t, host, "team/"+model).put(t, "1", map[string]string{"model.onnx": "a model called " + model})
	}
	kept := &memory{facts: map[string]string{}}
	open := func() *Repository {
		t.Helper()
		r, err := Open(t.Context(), Options{
			URL: "oci://" + host + "/team?models=good,bad", Memory: kept, Patience: time.Minute, Now: func() time.Time { return time.Now().Add(time.Hour) },
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		return r
	}
	scan := func(r *Repository) Scan {
		t.Helper()
		s, err := r.Scan(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	r := open()
	if s := scan(r); len(s.Unread) > 0 || !slices.Equal(identified(s), []string{"bad/1", "good/1"}) {
		t.Fatalf("%+v", s)
	}

	asked.failing = []string{"/team/bad/"}
	registryPlace(t, host, "team/good").put(t, "2", map[string]string{"model.onnx": "a better one"})
	s := scan(r)
	if len(s.Unread) != 1 || !strings.Contains(s.Unread[0].Error(), "list bad of model repository oci://") || !strings.Contains(s.Unread[0].Error(), "503") {
		t.Errorf("unread: %v", s.Unread)
	}
	if got := identified(s); !slices.Equal(got, []string{"bad/1", "good/2"}) {
		t.Errorf("while one fails it holds %q", got)
	}

	// Another process knows nothing of what it cannot list: it is rejected by name, and
	// what was read of it before is not forgotten.
	s = scan(open())
	if got := identified(s); !slices.Equal(got, []string{"good/2"}) || len(s.Refused) != 1 || s.Refused[0].Model != "bad" || !s.Holds("bad") {
		t.Errorf("a new process holds %q and refuses %+v", got, s.Refused)
	}
	if _, ok := kept.facts["bad/1/model.onnx"]; !ok {
		t.Errorf("it forgot what it could not list: %v", kept.facts)
	}

	asked.failing = nil
	if s := scan(r); len(s.Unread) > 0 || !slices.Equal(identified(s), []string{"bad/1", "good/2"}) {
		t.Errorf("once it answers again: %+v", s)
	}
	asked.failing = []string{"/team/"}
	if _, err := r.Scan(t.Context(), 0); err == nil {
		t.Error("a registry that answers for no model is no failure")
	}
}
