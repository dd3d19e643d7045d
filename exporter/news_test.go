package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/fake"
	"github.com/plancast/plancast/exporter/history"
)

// webhook notes the JSON messages that it is given, as "id|title".
type webhook struct {
	*httptest.Server
	mu       sync.Mutex
	status   int
	received []map[string]string
	arrived  chan struct{}
	before   func() // called before a message is answered
}

func newWebhook(t *testing.T) *webhook {
	t.Helper()
	h := &webhook{status: http.StatusOK, arrived: make(chan struct{}, 100)}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var m map[string]string
		if err := json.Unmarshal(body, &m); err != nil {
			t.Errorf("%v: %s", err, body)
		}
		h.mu.Lock()
		h.received = append(h.received, m)
		status, before := h.status, h.before
		h.mu.Unlock()
		if before != nil {
			before()
		}
		w.WriteHeader(status)
		h.arrived <- struct{}{}
	}))
	t.Cleanup(func() { h.Close(); http.DefaultClient.CloseIdleConnections() })
	return h
}

func (h *webhook) set(status int, before func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status, h.before = status, before
}

// take returns what was received since the last time.
func (h *webhook) take() []map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.received
	h.received = nil
	return out
}

// notified is a configuration whose vision team has the webhook.
func (h *webhook) notified(t *testing.T, s *site) string {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.Dir, "hook.url"), []byte("generic+"+h.URL+"/hunter2?template=json\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return `
models: [{match: "net*", owner: vision}]
notifications:
  receivers: [{name: hook, url_file: hook.url}]
  routes: [{owners: vision, receivers: [hook]}]
` + launchTarget
}

func TestRunNotifiesOnlyWithTheFlag(t *testing.T) {
	s := newSite(t, "")
	h := newWebhook(t)
	s.Configure(h.notified(t, s))
	s.Push("net", "1", fake.Script{Latency: ms(4)})
	s.Push("other", "1", fake.Script{Latency: ms(4)})
	s.plancast("run", "--config.file", s.File())
	if got := h.take(); len(got) != 0 {
		t.Fatalf("without --notify: %v", got)
	}
	s.Push("net", "2", fake.Script{Latency: ms(3)})
	s.Push("net", "3", fake.Script{Fault: fake.UnsupportedOperator})
	_, out, errs := s.plancast("run", "--config.file", s.File(), "--notify")
	got := h.take()
	if len(got) != 1 || got[0]["title"] != "net version 3 fp32 failed: unsupported operator" || got[0]["event"] != "failure" ||
		!strings.Contains(got[0]["message"], "Operator: Frobnicate") || !strings.Contains(got[0]["message"], "Last good result: version 2") {
		t.Fatalf("received %v\n%s%s", got, out, errs)
	}
	s.Push("net", "4", fake.Script{Latency: ms(2)})
	h.set(http.StatusInternalServerError, nil)
	_, out, errs = s.plancast("run", "--config.file", s.File(), "--notify")
	if !strings.Contains(errs, "500 Internal Server Error") || !strings.Contains(errs, "left=1") || strings.Contains(out+errs, "hunter2") {
		t.Errorf("a receiver that fails: %s", errs)
	}
	h.take()
	h.set(http.StatusOK, nil)
	if _, body := get(t, s.Open().Handler(), "/metrics"); !strings.Contains(body, "plancast_notification_queue_length 1") {
		t.Error("what was not taken is lost")
	}
}

// A predecessor was killed between recording and telling.
func TestRunOfOneModelNotifiesWhatIsLeftOfOthers(t *testing.T) {
	s := newSite(t, "")
	h := newWebhook(t)
	s.Configure(h.notified(t, s))
	s.Push("net", "1", fake.Script{Fault: fake.UnsupportedOperator})
	s.Push("other", "1", fake.Script{Latency: ms(4)})
	if err := os.Mkdir(filepath.Join(s.Dir, "state"), 0o755); err != nil {
		t.Fatal(err)
	}
	store, err := history.Open(filepath.Join(s.Dir, "state", "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	e := engine.Environment{Backend: fake.Name, Device: "none"}
	_, err = store.Append(t.Context(), history.Record{
		Model: "net", Version: "1", Digest: strings.Repeat("ab", 32), Precision: engine.FP32, Backend: e.Backend, Device: e.Device, Environment: e, Fingerprint: "f",
		CandidateTime: time.Now(), Started: time.Now(), Finished: time.Now(),
		Failure: &history.Failure{Error: engine.Error{Kind: engine.KindUnsupportedOperator, Op: "build", Message: "no Frobnicate", Operator: "Frobnicate"}},
	})
	if err := errors.Join(err, store.Close()); err != nil {
		t.Fatal(err)
	}
	_, out, errs := s.plancast("run", "--config.file", s.File(), "--model", "other", "--notify")
	if got := h.take(); len(got) != 1 || got[0]["title"] != "net version 1 fp32 failed: unsupported operator" {
		t.Errorf("received %v\n%s%s", got, out, errs)
	}
}

func TestCheckSaysWhoIsNotified(t *testing.T) {
	s := newSite(t, `
models: [{match: "net*", owner: vision}]
notifications:
  receivers: [{name: hook, url_env: PLANCAST_TEST_NO_URL}, {name: idle, url: "generic://alerts.internal/x"}]
  routes: [{owners: vision, events: [failure, missed], receivers: [hook]}]
`)
	s.Push("net", "1", fake.Script{})
	s.Push("other", "1", fake.Script{})
	status, out, errs := s.plancast("check", "--config.file", s.File())
	for _, want := range []string{
		"net    owner vision  result, environment → nobody; missed, failure → hook",
		"other  no owner      result, missed, environment, failure → nobody",
		"receiver hook cannot be reached: environment variable PLANCAST_TEST_NO_URL is not set",
		"receiver idle: generic", "receiver idle: no route leads to it",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("check lacks %q:\n%s", want, out)
		}
	}
	if status != exitOK {
		t.Errorf("status %d, %s", status, errs)
	}
}

func TestNotifyTestSaysWhatCameOfIt(t *testing.T) {
	s := newSite(t, "")
	if status, _, errs := s.plancast("notify", "test", "--config.file", s.File()); status != exitError || !strings.Contains(errs, "has no notifications.receivers") {
		t.Errorf("without receivers: %d %s", status, errs)
	}
	h := newWebhook(t)
	s.Configure(h.notified(t, s))
	if status, out, errs := s.plancast("notify", "test", "--config.file", s.File()); status != exitOK || !strings.Contains(out, "sent to hook") {
		t.Errorf("%d %s%s", status, out, errs)
	}
	if got := h.take(); len(got) != 1 || !strings.Contains(got[0]["message"], "test message for receiver hook") {
		t.Errorf("received %v", got)
	}
	h.set(http.StatusForbidden, nil)
	if status, out, _ := s.plancast("notify", "test", "--config.file", s.File(), "--receiver", "hook"); status != exitError || !strings.Contains(out, "failed: send to hook (generic): the server answered 403 Forbidden") || strings.Contains(out, "hunter2") {
		t.Errorf("%d %s", status, out)
	}
	if status, _, errs := s.plancast("notify", "test", "--config.file", s.File(), "--receiver", "none"); status != exitError || !strings.Contains(errs, `it has hook`) {
		t.Errorf("%d %s", status, errs)
	}
}

// serving starts plancast serve as a process of its own. marked is closed when
// it says that a message is sent, and marked as such.
func (s *site) serving() (cmd *exec.Cmd, marked <-chan struct{}) {
	s.t.Helper()
	cmd = exec.Command(os.Args[0], "serve", "--config.file", s.File(), "--web.listen-address", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), actAsProgram+"=1")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		sent := false
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if !sent && strings.Contains(lines.Text(), "Notification sent") {
				sent = true
				close(done)
			}
		}
	}()
	return cmd, done
}

func wait(t *testing.T, what <-chan struct{}) {
	t.Helper()
	select {
	case <-what:
	case <-time.After(5 * time.Minute): // only something broken takes as long
		t.Fatal("no message within 5 minutes")
	}
}

// SIGKILL comes while the receiver has the message and has not answered: the
// worst moment. The next plancast sends it again and marks it; the third has
// nothing to send.
func TestAServeThatIsKilledNotifiesAfterItsRestart(t *testing.T) {
	s := newSite(t, "")
	h := newWebhook(t)
	s.Configure(h.notified(t, s))
	s.Push("net", "1", fake.Script{Latency: ms(4)})
	cmd := make(chan *exec.Cmd, 1)
	h.set(http.StatusOK, func() {
		c := <-cmd
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	first, _ := s.serving()
	cmd <- first
	wait(t, h.arrived)
	h.set(http.StatusOK, nil)

	again, marked := s.serving()
	wait(t, marked)
	_ = again.Process.Kill()
	_ = again.Wait()
	got := h.take()
	if len(got) != 2 || got[0]["id"] != got[1]["id"] || got[0]["title"] != "net version 1 meets its threshold" {
		t.Fatalf("received %v", got)
	}
	if left, err := s.Open().Flush(t.Context()); left != 0 || err != nil || len(h.take()) != 0 {
		t.Errorf("after it was marked: %d left, %v", left, err)
	}
	if n := len(s.Records()); n != 1 {
		t.Errorf("%d records", n)
	}
}

func get(t *testing.T, h http.Handler, target string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	return w.Code, w.Body.String()
}

func TestServeShowsHowTheNotificationsFare(t *testing.T) {
	s := newSite(t, "")
	h := newWebhook(t)
	s.Configure(h.notified(t, s))
	d := s.Open()
	_, body := get(t, d.Handler(), "/metrics")
	for _, result := range []string{"sent", "failed", "suppressed", "dropped"} {
		if want := fmt.Sprintf("plancast_notifications_total{receiver=\"hook\",result=%q} 0", result); !strings.Contains(body, want) {
			t.Errorf("before anything happened /metrics lacks %s", want)
		}
	}
	s.Push("net", "1", fake.Script{Latency: ms(4)})
	if err := d.Pass(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, body := get(t, d.Handler(), "/metrics"); !strings.Contains(body, "plancast_notification_queue_length 1") {
		t.Error("the message that waits is not shown")
	}
	if _, err := d.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, body := get(t, d.Handler(), "/metrics"); !strings.Contains(body, `plancast_notifications_total{receiver="hook",result="sent"} 1`) || strings.Contains(body, "hunter2") {
		t.Error("the message that was sent is not counted, or its URL is shown")
	}
}
