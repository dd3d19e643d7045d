package daemon_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/legacy"

	"github.com/plancast/plancast/exporter/daemon/daemontest"
	"github.com/plancast/plancast/exporter/engine/fake"
	"github.com/plancast/plancast/exporter/history"
)

// api asks a daemon and holds each answer to its description.
type api struct {
	t       *testing.T
	handler http.Handler
	router  routers.Router
	seen    map[string]bool // operations that were answered, with their status
}

func newAPI(t *testing.T, h http.Handler) *api {
	t.Helper()
	_, text := get(t, h, "GET", "/api/v1/openapi.yaml")
	doc, err := openapi3.NewLoader().LoadFromData([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(t.Context()); err != nil {
		t.Fatal(err)
	}
	openapi3filter.RegisterBodyDecoder("text/markdown", openapi3filter.RegisteredBodyDecoder("text/plain"))
	doc.Servers = nil // it is asked without a network
	router, err := legacy.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return &api{t, h, router, map[string]bool{}}
}

// ask returns the answer to a request, which must be as described.
func (a *api) ask(method, target string, wanted int) (body []byte, header http.Header) {
	a.t.Helper()
	r := httptest.NewRequest(method, target, nil)
	r.Host, r.URL.Host = "127.0.0.1", ""
	w := httptest.NewRecorder()
	a.handler.ServeHTTP(w, r)
	body = w.Body.Bytes()
	if w.Code != wanted {
		a.t.Errorf("%s %s: %d; want %d: %s", method, target, w.Code, wanted, body)
	}
	if w.Header().Get("Access-Control-Allow-Origin") != "" {
		a.t.Errorf("%s allows other sites to read it", target)
	}
	route, params, err := a.router.FindRoute(r)
	if err != nil {
		a.t.Fatalf("%s %s is not described: %v", method, target, err)
	}
	in := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route}
	if err := openapi3filter.ValidateRequest(a.t.Context(), in); err != nil && wanted < 400 {
		a.t.Errorf("%s %s is taken and not described: %v", method, target, err)
	}
	err = openapi3filter.ValidateResponse(a.t.Context(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: w.Code, Header: w.Header(), Body: io.NopCloser(bytes.NewReader(body)),
		Options: &openapi3filter.Options{IncludeResponseStatus: true},
	})
	if err != nil {
		a.t.Errorf("%s %s answers otherwise than described: %v", method, target, err)
	}
	a.seen[fmt.Sprintf("%s %d", route.Operation.OperationID, w.Code)] = true
	return body, w.Header()
}

func TestTheAPIAnswersAsItIsDescribed(t *testing.T) {
	s := daemontest.New(t, launchTarget)
	for i, latency := range []float64{6, 4, 3} {
		s.Push("net", fmt.Sprint(i+1), fake.Script{Latency: daemontest.Milliseconds(latency)})
	}
	s.Change("net", "2", "author: Ann\ncommit: c1\nkinds: [fusion]\ntags: {a: b}\ntime: 2026-01-02\nlink: https://example.org/7", 0)
	s.Push("other", "1", fake.Script{Latency: daemontest.Milliseconds(1)})
	s.Push("bad", "1", fake.Script{Fault: fake.BuildFailed})
	d := s.Open()
	if err := d.Pass(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	store, err := history.Open(filepath.Join(s.Dir, "state", "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if _, err := store.Exclude(t.Context(), history.Filter{Model: "net", Version: "1"}, history.Author{Who: "ann", Because: "noise", At: time.Unix(1, 0)}); err != nil {
		t.Fatal(err)
	}
	a := newAPI(t, d.Handler())
	for _, c := range []struct {
		method, target string
		status         int
	}{
		{"GET", "/api/v1/history", 200},
		{"GET", "/api/v1/history?model=net&version=2&precision=fp32&author=Ann&commit=c1&kind=fusion&since=2026-01-01&limit=3&before=99", 200},
		{"GET", "/api/v1/history?limit=0", 400},
		{"GET", "/api/v1/history?limit=1001", 400},
		{"GET", "/api/v1/history?since=yesterday", 400},
		{"GET", "/api/v1/history?kind=magic", 400},
		{"GET", "/api/v1/history?color=red", 400},
		{"GET", "/api/v1/results/1", 200},
		{"GET", "/api/v1/results/99", 404},
		{"GET", "/api/v1/results/99/samples", 404},
		{"GET", "/api/v1/report", 200},
		{"GET", "/api/v1/report?format=markdown", 200},
		{"GET", "/api/v1/report?format=pdf", 400},
		{"GET", "/api/v1/report?model=nothing", 404},
		{"GET", "/api/v1/compare?model=net&a=base&b=newest", 200},
		{"GET", "/api/v1/compare", 400},
		{"GET", "/api/v1/compare?a=98&b=99", 404},
		{"POST", "/api/v1/run?model=net", 202},
		{"POST", "/api/v1/run?model=../x", 400},
		{"POST", "/-/reload", 200},
	} {
		a.ask(c.method, c.target, c.status)
	}
	for id := int64(1); id <= 5; id++ { // a failure and an excluded one among them
		body, _ := a.ask("GET", fmt.Sprint("/api/v1/results/", id), 200)
		var r history.Record
		if err := json.Unmarshal(body, &r); err != nil || r.ID != id {
			t.Errorf("result %d: %v", id, err)
		}
		if r.OK() {
			a.ask("GET", fmt.Sprintf("/api/v1/results/%d/samples", id), 200)
		}
	}
	for _, operation := range []string{"listResults", "getResult", "getSamples", "getReport", "compareResults", "run", "reload"} {
		if !slices.ContainsFunc([]string{" 200", " 202"}, func(status string) bool { return a.seen[operation+status] }) {
			t.Errorf("no good answer of %s was looked at: %v", operation, a.seen)
		}
	}
}

// Following the pages finds every result once, also while new ones come.
func TestThePagesOfTheHistoryAreStable(t *testing.T) {
	s := daemontest.New(t, "")
	for i := range 7 {
		s.Push("net", fmt.Sprint(i+1), fake.Script{})
	}
	d := s.Open()
	if err := d.Pass(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	a := newAPI(t, d.Handler())
	var ids []int64
	query := "?limit=3&model=net"
	for query != "" {
		body, header := a.ask("GET", "/api/v1/history"+query, 200)
		var page struct {
			Results []struct {
				ID     int64
				Values map[string]float64
			}
			NextBefore int64 `json:"next_before"`
		}
		if err := json.Unmarshal(body, &page); err != nil {
			t.Fatal(err)
		}
		for _, r := range page.Results {
			ids = append(ids, r.ID)
			if r.Values["p99_seconds"] <= 0 {
				t.Errorf("result %d has no P99: %v", r.ID, r.Values)
			}
		}
		next, _, _ := strings.Cut(strings.TrimPrefix(header.Get("Link"), "<"), ">")
		if v, _ := url.ParseQuery(strings.TrimPrefix(next, "?")); (next == "") != (page.NextBefore == 0) || next != "" && (v.Get("before") != fmt.Sprint(page.NextBefore) || v.Get("model") != "net") {
			t.Errorf("%s leads to %q and %d", query, next, page.NextBefore)
		}
		if query = next; len(ids) == 3 {
			s.Push("net", "8", fake.Script{})
			if err := d.Pass(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if want := []int64{7, 6, 5, 4, 3, 2, 1}; !slices.Equal(ids, want) {
		t.Errorf("the pages hold %v; want %v", ids, want)
	}
}
