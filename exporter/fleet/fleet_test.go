package fleet_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/fleet"
	"github.com/plancast/plancast/exporter/web"
	"github.com/plancast/plancast/tsdb/promtest"
)

var (
	begin = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	now   = begin.AddDate(0, 0, 20)
)

// store is a real Prometheus with two models, behind a proxy that can break down.
type store struct {
	*httptest.Server
	down    atomic.Bool
	waits   atomic.Pointer[func()] // what each answer waits for
	partial atomic.Bool            // marks answers as VictoriaMetrics does
	seen    atomic.Pointer[http.Header]
	asked   atomic.Int64
	bytes   atomic.Int64 // that were answered
}

func newStore(t *testing.T) *store {
	t.Helper()
	h := promtest.History{Until: now, Scrape: 5 * time.Minute}
	for i, name := range []string{"bert-base", "resnet50"} {
		h.Engines = append(h.Engines, promtest.Engine{
			Model: name, Precision: "fp16", Backend: "tensorrt", Device: "NVIDIA L4",
			Results: promtest.Improving(uint64(i+1), 12, begin, 36*time.Hour, 0.08, 0.03, "3fa91c07b2de"),
		})
	}
	at, err := url.Parse(promtest.Start(t, withWorkload(h.OpenMetrics())))
	if err != nil {
		t.Fatal(err)
	}
	s := &store{}
	proxy := httputil.NewSingleHostReverseProxy(at)
	proxy.ModifyResponse = func(r *http.Response) error {
		body, err := io.ReadAll(r.Body)
		s.bytes.Add(int64(len(body)))
		r.Body = io.NopCloser(bytes.NewReader(body))
		if err != nil || !s.partial.Load() {
			return err
		}
		body = bytes.Replace(body, []byte(`{"status":"success",`), []byte(`{"status":"success","isPartial":true,`), 1)
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.ContentLength = int64(len(body))
		r.Header.Set("Content-Length", "")
		r.Header.Del("Content-Length")
		return nil
	}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		header := r.Header.Clone()
		s.seen.Store(&header)
		if wait := s.waits.Load(); wait != nil {
			(*wait)()
		}
		if s.down.Load() {
			http.Error(w, "the store is down", http.StatusServiceUnavailable)
			return
		}
		r.Header.Del("Accept-Encoding")
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// withWorkload adds the workload chat, in which each engine is as fast as alone.
func withWorkload(text string) string {
	var b strings.Builder
	b.WriteString("# TYPE plancast_workload_latency_seconds summary\n")
	for l := range strings.Lines(text) {
		if labels, ok := strings.CutPrefix(l, "plancast_engine_latency_seconds{"); ok {
			b.WriteString(`plancast_workload_latency_seconds{workload="chat",` + labels)
		}
	}
	return strings.Replace(text, "# EOF", b.String()+"# EOF", 1)
}

// configured is a configuration that reads a store.
func configured(t *testing.T, url, extra string) config.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "plancast.yml")
	text := `
source: {prometheus: {url: "` + url + `", resolution: 5min` + extra + `}}
milestones:
  - {name: spring, criteria: ["p99 < 40ms"], share: 50%, deadline: 2026-04-10}
  - {name: elsewhere, where: {device: "NVIDIA H*"}, criteria: ["p99 < 40ms"], horizon: 5}
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func open(t *testing.T, cfg config.Config, clock func() time.Time) *fleet.Daemon {
	t.Helper()
	d, err := fleet.New(fleet.Options{Config: cfg, Now: clock, Log: slog.New(slog.DiscardHandler), Web: web.Options{Lifecycle: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func get(d *fleet.Daemon, target string) (int, string) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Host = "localhost"
	d.Handler().ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// line is the sample of a series.
func line(t *testing.T, d *fleet.Daemon, series string) string {
	t.Helper()
	_, text := get(d, "/metrics")
	for l := range strings.Lines(text) {
		if v, ok := strings.CutPrefix(l, series+" "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func TestAFleetDaemonShowsTheModelsOfItsStore(t *testing.T) {
	d := open(t, configured(t, newStore(t).URL, ""), func() time.Time { return now })
	if code, body := get(d, "/-/ready"); code != http.StatusServiceUnavailable || !strings.Contains(body, "has not read the store yet") {
		t.Errorf("before the first reading: %d %s", code, body)
	}
	d.Read(t.Context())
	for target, want := range map[string]string{
		"/-/ready":                      "plancast is ready.",
		"/-/healthy":                    "healthy",
		"/":                             "resnet50 on NVIDIA L4: P99",
		"/api/v1/report":                `"device": "NVIDIA L4"`,
		"/api/v1/report?format=text":    "spring",
		"/api/v1/report?model=resnet50": `"name": "resnet50"`,
	} {
		if code, body := get(d, target); code != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d without %q\n%.3000s", target, code, want, body)
		}
	}
	for series, want := range map[string]string{
		"plancast_fleet_models":                                     "2",
		"plancast_fleet_last_read_success":                          "1",
		`plancast_milestone_models_selected{milestone="spring"}`:    "2",
		`plancast_milestone_models_selected{milestone="elsewhere"}`: "0",
		`plancast_milestone_models_needed{milestone="spring"}`:      "1",
	} {
		if got := line(t, d, series); got != want {
			t.Errorf("%s is %q, want %q", series, got, want)
		}
	}
}

// A candidate counts under its version from its first sample on, not from the next whole
// five minutes on, and the report does not speak of a repository that nobody reads here.
func TestACandidateThatWasJustPublishedHasItsVersion(t *testing.T) {
	at := now.Add(3 * time.Minute)
	h := promtest.History{Until: at, Scrape: time.Minute, Engines: []promtest.Engine{{
		Model: "resnet50", Precision: "fp16", Backend: "tensorrt", Device: "NVIDIA L4",
		Results: []promtest.Result{
			{Number: 6, Time: now.Add(-time.Hour), P99: 0.05, Throughput: 40, Environment: "3fa91c07b2de"},
			{Number: 7, Time: now.Add(time.Minute), P99: 0.04, Throughput: 50, Environment: "3fa91c07b2de"},
		},
	}}}
	d := open(t, configured(t, promtest.Start(t, h.OpenMetrics()), ""), func() time.Time { return at })
	d.Read(t.Context())
	_, text := get(d, "/api/v1/report?format=text")
	if !regexp.MustCompile(`fp16 +7 `).MatchString(text) {
		t.Errorf("version 7 is not that of the newest result:\n%s", text)
	}
	if !strings.Contains(text, "from version of iteration 6") {
		t.Errorf("a change from a candidate whose version the store does not know:\n%s", text)
	}
	if strings.Contains(text, "repository") {
		t.Errorf("a fleet daemon's report speaks of a repository:\n%s", text)
	}
}

func TestWhatIsKnownStaysWhileTheStoreDoesNotAnswer(t *testing.T) {
	s := newStore(t)
	at := now
	d := open(t, configured(t, s.URL, ""), func() time.Time { return at })
	d.Read(t.Context())
	const probability = `plancast_milestone_probability{milestone="spring"}`
	known := line(t, d, probability)
	if known == "" {
		t.Fatal("there is no probability")
	}
	for name, breakDown := range map[string]func(bool){
		"the store is down":                   s.down.Store,
		"a part of the store does not answer": s.partial.Store,
	} {
		at = now.Add(12 * time.Minute)
		breakDown(true)
		d.Read(t.Context())
		if got := line(t, d, probability); got != known {
			t.Errorf("%s: the probability becomes %q, it was %q", name, got, known)
		}
		if got := line(t, d, "plancast_fleet_last_read_success"); got != "0" {
			t.Errorf("%s: the last reading succeeded: %q", name, got)
		}
		if got, want := line(t, d, "plancast_fleet_read_timestamp_seconds"), "1.77417e+09"; got != want {
			t.Errorf("%s: what is shown is from %s, want %s", name, got, want)
		}
		if _, page := get(d, "/"); !strings.Contains(page, "all of this is 12 min old") {
			t.Errorf("%s: the page does not show how old it is", name)
		}
		if code, body := get(d, "/-/ready"); code != http.StatusOK || !strings.Contains(body, "shows what it knew") {
			t.Errorf("%s: ready says %d %s", name, code, body)
		}
		breakDown(false)
		at = now
		d.Read(t.Context())
		if got := line(t, d, "plancast_fleet_last_read_success"); got != "1" {
			t.Errorf("%s, and is back: the last reading succeeded: %q", name, got)
		}
	}
	// While a reading is under way, the last one is the one that ended; its age says how
	// long that was ago.
	under := make(chan struct{})
	seen := sync.OnceFunc(func() {
		for family, want := range map[string]string{"plancast_fleet_last_read_success": "1", "plancast_fleet_read_timestamp_seconds": "1.77417e+09"} {
			if got := line(t, d, family); got != want {
				t.Errorf("while the store is read again: %s is %s, want %s", family, got, want)
			}
		}
		close(under)
	})
	s.waits.Store(&seen)
	at = now.Add(3 * time.Hour)
	d.Read(t.Context())
	<-under
	if got := line(t, d, "plancast_fleet_read_timestamp_seconds"); got == "1.77417e+09" {
		t.Error("a reading that ended is not noted")
	}
}

func TestAfterTheFirstReadingOnlyWhatChangedIsRead(t *testing.T) {
	s := newStore(t)
	at := now.AddDate(0, 0, -5)
	d := open(t, configured(t, s.URL, ""), func() time.Time { return at })
	read := func() (asked, answered int64) {
		t.Helper()
		asked, answered = s.asked.Load(), s.bytes.Load()
		d.Read(t.Context())
		if got := line(t, d, "plancast_fleet_last_read_success"); got != "1" {
			t.Fatalf("the reading failed: %q", got)
		}
		return s.asked.Load() - asked, s.bytes.Load() - answered
	}
	first, _ := read()
	at = at.Add(time.Minute)
	if asked, answered := read(); asked != 2 || answered > 300 {
		t.Errorf("while nothing was new, the store was asked %d times and answered with %d bytes", asked, answered)
	}
	before := line(t, d, `plancast_milestone_probability{milestone="spring"}`)
	at = at.Add(20 * time.Hour) // a result comes every 36 hours
	asked, _ := read()
	if after := line(t, d, `plancast_milestone_probability{milestone="spring"}`); asked < 3 || asked > first+2 || after == before {
		t.Errorf("after results came, the store was asked %d times, at first %d; the probability was %s and is %s", asked, first, before, after)
	}
}

// A new disk behind the same address: no series changes, since there are none.
func TestAStoreThatLostItsPastIsReadAsItIs(t *testing.T) {
	full, empty := newStore(t), promtest.Start(t, "# EOF\n")
	var lost atomic.Bool
	to := func(address string) *httputil.ReverseProxy {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		return httputil.NewSingleHostReverseProxy(u)
	}
	before, after := to(full.URL), to(empty)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if lost.Load() {
			after.ServeHTTP(w, r)
		} else {
			before.ServeHTTP(w, r)
		}
	}))
	defer s.Close()
	at := now
	d := open(t, configured(t, s.URL, ""), func() time.Time { return at })
	d.Read(t.Context())
	lost.Store(true)
	at = at.Add(time.Minute)
	d.Read(t.Context())
	if got := line(t, d, "plancast_fleet_models"); got != "0" {
		t.Errorf("of an empty store it shows %q models", got)
	}
}

func TestAPartialAnswerIsShownAsSuchWhileNothingWholeIsKnown(t *testing.T) {
	s := newStore(t)
	s.partial.Store(true)
	d := open(t, configured(t, s.URL, ""), func() time.Time { return now })
	d.Read(t.Context())
	if got := line(t, d, "plancast_fleet_read_partial"); got != "1" {
		t.Errorf("partial is %q", got)
	}
	if _, page := get(d, "/"); !strings.Contains(page, "parts of the store do not answer") || !strings.Contains(page, "resnet50") {
		t.Error("the page shows no part, or not that it is one")
	}
}

func TestTheConfigurationThatIsShippedSelectsEverything(t *testing.T) {
	cfg, err := config.Load("../../deploy/compose/fleet.yml")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Source.URL, cfg.Source.Resolution = newStore(t).URL, 5*time.Minute
	d := open(t, cfg, func() time.Time { return now })
	d.Read(t.Context())
	if got := line(t, d, `plancast_milestone_models_selected{milestone="fleet-launch"}`); got != "2" {
		t.Errorf("it selects %q models, want 2", got)
	}
}

func TestTheStoreSeesCredentialsAndTenant(t *testing.T) {
	s := newStore(t)
	secret := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secret, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ extra, header, want string }{
		"a tenant":             {", tenant: vision", "X-Scope-Orgid", "vision"},
		"a password in a file": {`, http: {basic_auth: {username: plancast, password_file: "` + secret + `"}}`, "Authorization", "Basic cGxhbmNhc3Q6aHVudGVyMg=="},
		"a token":              {", http: {authorization: {credentials: token}}", "Authorization", "Bearer token"},
		"a header":             {", http: {http_headers: {X-Team: {values: [vision]}}}", "X-Team", "vision"},
	} {
		d := open(t, configured(t, s.URL, c.extra), func() time.Time { return now })
		d.Read(t.Context())
		if got := s.seen.Load().Get(c.header); got != c.want {
			t.Errorf("%s: %s is %q, want %q", name, c.header, got, c.want)
		}
	}
}

func TestASecretIsInNoError(t *testing.T) {
	for _, extra := range []string{
		", http: {authorization: [hunter2]}", ", http: {basic_auth: {username: x, password: hunter2, password_file: y}}", ", http: {bearer_token: {hunter2: 1}}", ", http: {hunter: [}",
	} {
		file := filepath.Join(t.TempDir(), "plancast.yml")
		if err := os.WriteFile(file, []byte(`source: {prometheus: {url: "http://localhost:1"`+extra+`}}`), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := config.Load(file)
		if err == nil {
			_, err = fleet.New(fleet.Options{Config: cfg, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
		}
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", extra, err)
		}
	}
}

func TestAMilestoneOfAFleetIsAboutWorkloadsAsWell(t *testing.T) {
	cfg := configured(t, newStore(t).URL, "")
	chat := cfg.Milestones[0]
	chat.Name, chat.Criteria = "chat", slices.Clone(chat.Criteria)
	chat.Criteria[0].Metric = "p99@chat"
	cfg.Milestones = append(cfg.Milestones, chat)
	d := open(t, cfg, func() time.Time { return now })
	d.Read(t.Context())
	for _, family := range []string{"plancast_milestone_models_ready", "plancast_milestone_probability", "plancast_milestone_attained_ratio"} {
		alone, traffic := line(t, d, family+`{milestone="spring"}`), line(t, d, family+`{milestone="chat"}`)
		if traffic == "" || traffic != alone {
			t.Errorf("%s is %q for the workload and %q for the engine alone", family, traffic, alone)
		}
	}
}
