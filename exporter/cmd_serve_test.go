package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
)

// serve runs plancast serve in this process until the test ends, and returns
// where it is reached.
func (s *site) serve(args ...string) (url string) {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	ended, reachable := make(chan int, 1), make(chan struct{})
	log := &lines{on: `msg="Serving the report" url=`, f: func() { close(reachable) }}
	go func() {
		ended <- run(ctx, append([]string{"serve", "--config.file", s.File(), "--web.listen-address", "127.0.0.1:0"}, args...), testProgram(io.Discard, log))
	}()
	s.t.Cleanup(func() {
		cancel()
		if status := <-ended; status != exitOK {
			s.t.Errorf("serve ended with %d", status)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	select {
	case <-reachable:
	case status := <-ended:
		ended <- exitOK
		s.t.Fatalf("serve ended with %d", status)
	}
	_, after, _ := strings.Cut(log.String(), log.on)
	return strings.Fields(after)[0]
}

func TestTheWebAsksForThePassword(t *testing.T) {
	s := newSite(t, "")
	web := filepath.Join(s.Dir, "web.yml")
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(web, fmt.Appendf(nil, "basic_auth_users: {reader: '%s'}\n", hash), 0o600); err != nil {
		t.Fatal(err)
	}
	url := s.serve("--web.config.file", web, "--web.enable-lifecycle")
	for _, c := range []struct {
		name, user, password string
		allowed              bool
	}{
		{"the password", "reader", "secret", true},
		{"no password", "", "", false},
		{"another password", "reader", "Secret", false},
		{"an empty password", "reader", "", false},
		{"the hash", "reader", string(hash), false},
		{"another user", "writer", "secret", false},
	} {
		for path, method := range map[string]string{
			"/": "GET", "/metrics": "GET", "/api/v1/report": "GET", "/-/healthy": "GET", "/-/ready": "GET", "/-/reload": "POST", "/api/v1/run": "POST", "/nowhere": "GET",
		} {
			r, err := http.NewRequestWithContext(t.Context(), method, url+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if c.user != "" {
				r.SetBasicAuth(c.user, c.password)
			}
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if got := answer.StatusCode != http.StatusUnauthorized; got != c.allowed {
				t.Errorf("%s %s with %s: %s", method, path, c.name, answer.Status)
			}
		}
	}
}

// On a machine without a driver the daemon says so once, and has no metric of a
// GPU; on one with a driver it names the GPU, and has.
func TestServeSaysWhetherThereIsAGPU(t *testing.T) {
	s := newSite(t, "")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int, 1)
	var log lines
	go func() {
		done <- run(ctx, []string{"serve", "--config.file", s.File(), "--web.listen-address", "127.0.0.1:0"}, testProgram(io.Discard, &log))
	}()
	url := regexp.MustCompile(`msg="Serving the report" url=(\S+)`)
	found := regexp.MustCompile(`msg="(No GPU telemetry|GPU found)"`)
	for deadline := time.Now().Add(5 * time.Minute); (!url.MatchString(log.String()) || !found.MatchString(log.String())) && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	what := found.FindStringSubmatch(log.String())
	where := url.FindStringSubmatch(log.String())
	if what == nil || where == nil {
		t.Fatalf("the log says neither:\n%s", log.String())
	}
	r, err := http.Get(where[1] + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(r.Body)
	r.Body.Close()
	if has := bytes.Contains(body, []byte("plancast_gpu_")); has != (what[1] == "GPU found") {
		t.Errorf("%s, and metrics of a GPU: %t", what[0], has)
	}
	cancel()
	if status := <-done; status != exitOK {
		t.Errorf("serve ended with %d", status)
	}
	if n := strings.Count(log.String(), "No GPU telemetry"); n > 1 {
		t.Errorf("said %d times", n)
	}
	http.DefaultClient.CloseIdleConnections()
}
