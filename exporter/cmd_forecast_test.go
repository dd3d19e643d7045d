package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/alecthomas/kingpin/v2"

	"github.com/plancast/plancast/exporter/engine/fake"
	"github.com/plancast/plancast/forecast"
)

// A deadline without a zone means what it means in the configuration that the
// history belongs to, and UTC where there is none.
func TestADeadlineIsInTheZoneOfItsHistory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "plancast.yml")
	if err := os.WriteFile(file, []byte("repository: {url: models}\ntimezone: Asia/Tokyo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"configuration": {[]string{"--config.file", file}, "Asia/Tokyo"},
		"CSV":           {[]string{"--config.file", file, "--csv", "-"}, "UTC"},
		"Prometheus":    {[]string{"--config.file", file, "--prometheus.url", "http://localhost:9090"}, "UTC"},
		"history alone": {[]string{"--history.file", "history.db"}, "UTC"},
	} {
		app := kingpin.New("plancast", "")
		_, command := registerForecast(app)
		if _, err := app.Parse(joinDashes(append([]string{"forecast"}, c.args...))); err != nil {
			t.Fatal(err)
		}
		zone, err := command.(*forecastCommand).zone()
		if err != nil || zone.String() != c.want {
			t.Errorf("%s: %v, %v; want %s", name, zone, err, c.want)
		}
	}
}

func TestForecastAndBacktestReadEverySource(t *testing.T) {
	s := newSite(t, launchTarget)
	for i := range 14 {
		s.Push("net", strconv.Itoa(i+1), fake.Script{Latency: ms(20 - float64(i))})
	}
	for i := range 4 {
		s.Push("other", strconv.Itoa(i+1), fake.Script{Latency: ms(20 - float64(i))})
	}
	if status, _, errs := s.plancast("run", "--config.file", s.File()); status != exitMissed {
		t.Fatalf("run: status %d\n%s", status, errs)
	}
	csv := filepath.Join(s.Dir, "history.csv")
	var text strings.Builder
	text.WriteString("time,value\n")
	for i := range 14 {
		fmt.Fprintf(&text, "2026-01-%02d,%dms\n", i+1, 20-i)
	}
	if err := os.WriteFile(csv, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"forecast", "--config.file", s.File(), "--model", "net", "--criterion", "p99 < 5ms", "--horizon", "5"}, exitOK, "of the way to 5 ms"},
		{[]string{"forecast", "--config.file", s.File(), "--model", "net", "--criterion", "p99 < 5ms", "--format", "json"}, exitOK, `"siblings": 1`},
		{[]string{"forecast", "--csv", csv, "--unit", "seconds", "--criterion", "latency < 5ms", "--deadline", "2027-01-31", "--format", "json"}, exitOK, `"by_deadline"`},
		{[]string{"forecast", "--csv", csv, "--unit", "seconds", "--criterion", "latency < 5ms", "--format", "svg"}, exitOK, "<svg"},
		{[]string{"forecast", "--csv", csv, "--sibling", csv, "--sibling", csv, "--unit", "seconds", "--criterion", "latency < 5ms", "--format", "json"}, exitOK, `"siblings": 2`},
		{[]string{"forecast", "--csv", csv, "--sibling", "none.csv", "--unit", "seconds", "--criterion", "latency < 5ms"}, exitError, "--sibling none.csv: open none.csv"},
		{[]string{"forecast", "--config.file", s.File(), "--model", "net", "--sibling", csv, "--criterion", "p99 < 5ms"}, exitError, "--sibling goes with --csv or --prometheus.url"},
		{[]string{"forecast", "--csv", csv, "--unit", "seconds", "--criterion", "latency < 5ms", "--effort", "hard"}, exitError, "active"},
		{[]string{"forecast", "--config.file", s.File(), "--model", "none", "--criterion", "p99 < 5ms"}, exitError, "has no records for model none"},
		{[]string{"forecast", "--config.file", s.File(), "--model", "net"}, exitError, "--criterion is needed"},
		{[]string{"forecast", "--config.file", s.File(), "--model", "net", "--criterion", "p98 < 5ms"}, exitError, `unknown quantity "p98"`},
		{[]string{"forecast", "--csv", csv, "--unit", "seconds", "--criterion", "p99 < 5ms", "--deadline", "soon"}, exitError, "--deadline"},
		{[]string{"forecast", "--csv", csv, "--unit", "seconds", "--criterion", "p99 > 5ms"}, exitError, "asks for a worse P99 latency"},
		{[]string{"forecast", "--csv", csv, "--unit", "seconds", "--criterion", "p99 < 0ms"}, exitError, "can never be met"},
		{[]string{"forecast", "--csv", csv, "--unit", "seconds", "--criterion", "latency < 5ms", "--horizon", "0"}, exitError, "--horizon 0: write 1 to 1000"},
		{[]string{"backtest", "--config.file", s.File()}, exitOK, "questions on 1 histor"},
		{[]string{"backtest", "--csv", csv, "--format", "json"}, exitError, "line 2"},
		{[]string{"backtest", "--config.file", s.File(), "--metric", "p98"}, exitError, `unknown quantity "p98"`},
	} {
		status, out, errs := s.plancast(c.args...)
		if status != c.status || !strings.Contains(out+errs, c.want) {
			t.Errorf("plancast %s: status %d; want %d and %q\n%s%s", strings.Join(c.args, " "), status, c.status, c.want, out, errs)
		}
	}
	worked := func(effort ...string) float64 {
		_, out, errs := s.plancast(append([]string{"forecast", "--csv", csv, "--unit", "seconds", "--criterion", "latency < 5ms", "--format", "json"}, effort...)...)
		var f forecast.Forecast
		if err := json.Unmarshal([]byte(out), &f); err != nil {
			t.Fatalf("%v: %v\n%s%s", effort, err, out, errs)
		}
		return f.Basis.Worked
	}
	if a, inferred, m := worked("--effort=active"), worked(), worked("--effort=maintenance"); a <= inferred || m >= inferred {
		t.Errorf("probability that people work on it: active %v, inferred %v, maintenance %v", a, inferred, m)
	}
	p := testProgram(io.Discard, io.Discard)
	var out bytes.Buffer
	p.stdout, p.stdin = &out, strings.NewReader(`{"points": [[0, 10], [1, 9], [2, 9]], "direction": "lower", "target": 8, "horizon": 3}`+"\nnonsense\n")
	if status := run(t.Context(), []string{"forecast", "--jsonl"}, p); status != exitOK || strings.Count(out.String(), "\n") != 2 || !strings.Contains(out.String(), `"probability"`) {
		t.Errorf("jsonl: status %d, %s", status, out.String())
	}
}

func TestAForecastAsksAsTheTenantOfItsFile(t *testing.T) {
	var tenant atomic.Value
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tenant.Store(r.Header.Get("X-Scope-OrgID"))
		http.Error(w, "no org id", http.StatusUnauthorized)
	}))
	defer store.Close()
	file := filepath.Join(t.TempDir(), "store.yml")
	if err := os.WriteFile(file, []byte("http_headers: {X-Scope-OrgID: {values: [vision]}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	status := run(t.Context(), []string{
		"forecast", "--prometheus.url", store.URL, "--query", "x", "--unit", "seconds", "--criterion", "x < 5ms", "--http.config.file", file,
	}, testProgram(&out, &errs))
	if status != exitError || tenant.Load() != "vision" || !strings.Contains(errs.String(), "correct the file of --http.config.file") {
		t.Errorf("status %d as tenant %v: %s", status, tenant.Load(), &errs)
	}
}
