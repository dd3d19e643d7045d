package daemon_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/daemon"
	"github.com/plancast/plancast/exporter/daemon/daemontest"
	"github.com/plancast/plancast/exporter/engine/fake"
	"github.com/plancast/plancast/exporter/history"
)

func TestMeasuringAgainOnRequest(t *testing.T) {
	s := daemontest.New(t, launchTarget)
	s.Push("net", "1", fake.Script{Latency: daemontest.Milliseconds(4)})
	s.Push("net", "2", fake.Script{Latency: daemontest.Milliseconds(4)})
	d := s.Open()
	h := d.Handler()
	ask := func(query string) (int, string) { return get(t, h, http.MethodPost, "/api/v1/run?"+query) }
	if code, body := ask("again=true"); code != http.StatusBadRequest || !strings.Contains(body, "not been read yet") {
		t.Errorf("before the first pass: %d, %s", code, body)
	}
	if err := d.Pass(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	for query, says := range map[string]string{
		"again=perhaps": "neither true nor false", "version=1": "need again=true", "because=x": "need again=true",
		"again=true&model=other": "holds no model", "again=true&version=9": `no version \"9\"`, "again=true&precision=fp64": "is not in the configuration",
	} {
		if code, body := ask(query); code != http.StatusBadRequest || !strings.Contains(body, says) {
			t.Errorf("%s: %d, %s; want %q", query, code, body, says)
		}
	}
	// Two requests between passes are one pass, in which each is heard.
	for _, query := range []string{
		"again=true&model=net&version=1&" + url.Values{"because": {"a\nbackup ran"}, "who": {"ann"}}.Encode(), "again=1&model=net&version=1&who=ann&because=a+backup+ran", "again=true",
	} {
		if code, body := ask(query); code != http.StatusAccepted {
			t.Fatalf("%s: %d, %s", query, code, body)
		}
	}
	serveUntil(t, d, func() bool { return len(s.Records()) == 4 })
	store, err := history.OpenReadOnly(daemon.HistoryFile(s.Options().Config))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	trail, err := store.Audit(t.Context(), 0)
	if err != nil || len(trail) != 2 {
		t.Fatalf("trail %+v, %v", trail, err)
	}
	if trail[0].Who != "ann from 192.0.2.1" || trail[0].Because != "a backup ran" || !strings.HasPrefix(trail[1].Who, "web from ") || trail[1].Because != "on request" {
		t.Errorf("trail %+v", trail)
	}
	if _, body := get(t, h, "GET", "/metrics"); !strings.Contains(body, `plancast_iteration{`) || strings.Contains(body, "} 3\n") && strings.Contains(body, "plancast_iteration{") && !strings.Contains(body, "} 2\n") {
		t.Errorf("a repetition became an iteration")
	}
}

// serveUntil runs the daemon's schedule until something has come true.
func serveUntil(t *testing.T, d *daemon.Daemon, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Schedule(ctx) }()
	for !done() {
		select {
		case err := <-ended:
			t.Fatalf("the schedule ended: %v", err)
		default:
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestADaemonThatDoesNotMeasureRepeatsNothing(t *testing.T) {
	s := daemontest.New(t, "")
	s.Push("net", "1", fake.Script{})
	d := s.Open(func(o *daemon.Options) { o.Unmeasured = true })
	if err := d.Pass(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if code, body := get(t, d.Handler(), http.MethodPost, "/api/v1/run?again=true"); code != http.StatusBadRequest || !strings.Contains(body, "--no-measure") {
		t.Errorf("%d, %s", code, body)
	}
}
