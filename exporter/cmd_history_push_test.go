package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/plancast/plancast/exporter/report/reporttest"
	"github.com/plancast/plancast/tsdb/promtest"
)

// samplesOf is how many samples a store has of a series.
func samplesOf(t *testing.T, address, series string) string {
	t.Helper()
	q := url.Values{"query": {"sum(count_over_time(" + series + "[30y]))"}, "time": {fmt.Sprint(reporttest.Now.Unix())}}
	resp, err := http.Get(address + "/api/v1/query?" + q.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`"value":\[[0-9.]+,"(\d+)"\]`).FindStringSubmatch(string(text))
	if m == nil {
		return string(text)
	}
	return m[1]
}

func pushHistory(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = run(t.Context(), append([]string{"history", "push"}, args...), testProgram(&out, &errs))
	return status, out.String(), errs.String()
}

func TestAPushThatIsInterruptedGoesOn(t *testing.T) {
	address := promtest.StartReceiver(t, "30y")
	at, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	var requests, allowed atomic.Int64
	proxy := httputil.NewSingleHostReverseProxy(at)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) > allowed.Load() {
			http.Error(w, "expired", http.StatusForbidden)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	defer front.Close()
	file := filepath.Join(t.TempDir(), "push.json")
	args := []string{"--history.file", book(t, 40), "--label", "job=plancast", "--label", "instance=gpu-1:9833", "--resume", file}

	allowed.Store(2)
	status, _, stderr := pushHistory(t, append(args, "--remote-write", front.URL+"/api/v1/write?key=hunter2")...)
	if status != exitError || !strings.Contains(stderr, "403") || !strings.Contains(stderr, "the same command continues") {
		t.Fatalf("refused after two requests: %d %s", status, stderr)
	}
	if strings.Contains(stderr, "hunter2") {
		t.Errorf("the address is in the error: %s", stderr)
	}
	remembered, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(remembered), `"taken":4000`) || strings.Contains(string(remembered), "hunter2") {
		t.Errorf("remembered: %s, %v", remembered, err)
	}
	allowed.Store(1 << 30)
	before := requests.Load()
	status, rest, stderr := pushHistory(t, append(args, "--remote-write", front.URL+"/api/v1/write?key=hunter2")...)
	if status != exitOK {
		t.Fatalf("the same call again: %d %s", status, stderr)
	}
	resumed := requests.Load() - before
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("what it remembers is left behind: %v", err)
	}
	const series = `{__name__=~"plancast_.*",instance="gpu-1:9833"}`
	stored := samplesOf(t, address, series)

	// All of it once more, straight to the store: it has every sample already.
	before = requests.Load()
	status, whole, stderr := pushHistory(t, append(args, "--remote-write", front.URL+"/api/v1/write")...)
	if status != exitOK {
		t.Fatalf("once more: %d %s", status, stderr)
	}
	if n := requests.Load() - before; n != resumed+2 {
		t.Errorf("%d requests after an interruption at the third of %d", resumed, n)
	}
	if again := samplesOf(t, address, series); again != stored {
		t.Errorf("%s samples, and %s when everything is sent again: %s %s", stored, again, rest, whole)
	}
}

func TestAPushSaysWhatTheStoreNeeds(t *testing.T) {
	history := book(t, 3)
	tenant := filepath.Join(t.TempDir(), "store.yml")
	if err := os.WriteFile(tenant, []byte("http_headers: {X-Scope-OrgID: {values: [vision]}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	at := func(address string) func(*testing.T) string { return func(*testing.T) string { return address } }
	mimir := func(limits ...string) func(*testing.T) string {
		return func(t *testing.T) string { return promtest.StartMimir(t, "0s", limits...).Write }
	}
	for _, c := range []struct {
		name    string
		address func(*testing.T) string
		want    string
	}{
		{"samples too old", func(t *testing.T) string { return promtest.StartReceiver(t, "0s") + "/api/v1/write" }, "out_of_order_time_window"},
		{"samples too old for Mimir", mimir(), "out_of_order_time_window"},
		{"samples too old for a limit of Mimir's", mimir("-validation.past-grace-period=1d"), "out_of_order_time_window"},
		{"samples too old for Thanos", func(t *testing.T) string { return promtest.StartThanosReceive(t, "a", "0s").Write }, "--tsdb.out-of-order.time-window"},
		{"no remote write there", func(t *testing.T) string { return promtest.Start(t, "# EOF\n") + "/api/v1/write" }, "--web.enable-remote-write-receiver"},
		{"a password in the address", at("http://ann:hunter2@localhost/"), "must hold no user or password"},
		{"no address", at("localhost"), "is not one such as"},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := []string{"--history.file", history, "--http.config.file", tenant, "--remote-write", c.address(t)}
			// Twice: the first samples of an empty store may have any age.
			status, _, stderr := pushHistory(t, args...)
			if status == exitOK {
				status, _, stderr = pushHistory(t, append(args, "--label", "job=again")...)
			}
			if status != exitError || !strings.Contains(stderr, c.want) || strings.Contains(stderr, "hunter2") {
				t.Errorf("%d %s", status, stderr)
			}
		})
	}
}

func TestAPushToAStoreWithTenantsNamesOne(t *testing.T) {
	status, _, stderr := pushHistory(t, "--history.file", book(t, 3), "--remote-write", promtest.StartMimir(t, "30y").Write)
	if status != exitError || !strings.Contains(stderr, "X-Scope-OrgID") {
		t.Errorf("%d %s", status, stderr)
	}
}
