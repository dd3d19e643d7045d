package daemon_test

import (
	"bytes"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/plancast/plancast/exporter/daemon"
	"github.com/plancast/plancast/exporter/daemon/daemontest"
	"github.com/plancast/plancast/exporter/web"
)

func TestEveryAnswerKeepsABrowserFromMisusingIt(t *testing.T) {
	h := daemontest.New(t, "").Open().Handler()
	for _, c := range []struct {
		method, target string
		code           int
	}{
		{"GET", "/", 200}, {"GET", "/?model=none", 404}, {"GET", "/compare", 200}, {"GET", "/compare?model=none", 404}, {"GET", "/api/v1/compare", 400}, {"GET", "/api/v1/compare?a=1&b=2", 404}, {"GET", "/metrics", 200}, {"GET", "/api/v1/report", 200}, {"GET", "/api/v1/report?format=pdf", 400},
		{"GET", "/-/healthy", 200}, {"GET", "/-/ready", 503}, {"GET", "/-/reload", 405}, {"POST", "/api/v1/run", 202}, {"GET", "/nowhere", 404}, {"POST", "/", 405},
		{"GET", "/?" + strings.Repeat("x", 5000), 414},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(c.method, c.target, nil)
		r.Host = "localhost:9833"
		h.ServeHTTP(w, r)
		if w.Code != c.code {
			t.Errorf("%s %.30s: %d; want %d", c.method, c.target, w.Code, c.code)
		}
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s %.30s: %s is %q; want %q", c.method, c.target, name, got, want)
			}
		}
		policy := w.Header().Values("Content-Security-Policy")
		if len(policy) != 1 || !strings.Contains(policy[0], "default-src 'none'") || !strings.Contains(policy[0], "frame-ancestors 'none'") {
			t.Errorf("%s %.30s: Content-Security-Policy is %q", c.method, c.target, policy)
		}
	}
}

// counted counts what is read of a body.
type counted struct {
	io.Reader
	n int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	return n, err
}

func TestABodyIsNeitherReadNorKept(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("model", "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Write(make([]byte, 40<<20)); err != nil { // more than is held in memory
		t.Fatal(err)
	}
	form.Close()
	h := daemontest.New(t, "").Open().Handler()
	for _, target := range []string{"/", "/?model=x", "/metrics", "/api/v1/report", "/api/v1/report?format=text", "/-/healthy", "/-/ready", "/-/reload", "/api/v1/run"} {
		for _, method := range []string{"GET", "POST"} {
			sent := &counted{Reader: bytes.NewReader(body.Bytes())}
			r := httptest.NewRequest(method, target, sent)
			r.Host = "localhost"
			r.Header.Set("Content-Type", form.FormDataContentType())
			h.ServeHTTP(httptest.NewRecorder(), r)
			if sent.n > 8<<10 {
				t.Errorf("%s %s: %d bytes of the body are read", method, target, sent.n)
			}
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("temporary files: %v, %v", left, err)
	}
}

// A page elsewhere whose name was made to point to plancast is its own origin:
// only the host that it names gives it away.
func TestTheLifecycleAPINeedsAHostThatPlancastKnows(t *testing.T) {
	own, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	d := daemontest.New(t, "").Open(func(o *daemon.Options) { o.Web.Hosts = []string{"plancast.example.org", "gpu-1:9833", ":9834"} })
	h := d.Handler()
	for host, allowed := range map[string]bool{
		"localhost": true, "LOCALHOST:9833": true, "127.0.0.1:9833": true, "[::1]:9833": true, "192.0.2.7": true, own: true, own + ":9833": true,
		"plancast.example.org": true, "Plancast.Example.org:443": true, "gpu-1": true, "gpu-1:80": true,
		"attacker.example": false, "attacker.example:9833": false, "localhost.attacker.example": false, "127.0.0.1.attacker.example": false,
		"plancast.example.org.attacker.example": false, "x.plancast.example.org": false,
	} {
		for _, target := range []string{"/-/reload", "/api/v1/run"} {
			r := httptest.NewRequest(http.MethodPost, target, nil)
			r.Host = host
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if got := w.Code != http.StatusForbidden; got != allowed {
				t.Errorf("POST %s to %s: %d %s", target, host, w.Code, w.Body)
			}
			if !allowed && !strings.Contains(w.Body.String(), "--web.external-url") {
				t.Errorf("the refusal shows no way out: %s", w.Body)
			}
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Host = "attacker.example"
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != http.StatusOK {
		t.Errorf("a scrape by another name: %d", w.Code)
	}
}

func TestTheServerHasALimitOnEverything(t *testing.T) {
	s := web.Server(daemontest.New(t, "").Open().Handler())
	if s.ReadHeaderTimeout <= 0 || s.ReadTimeout <= 0 || s.WriteTimeout <= 0 || s.IdleTimeout <= 0 {
		t.Errorf("times are without limit: %+v", s)
	}
	server := httptest.NewUnstartedServer(nil)
	server.Config = s
	server.Start()
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Long", strings.Repeat("x", 64<<10))
	answer, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of 64 KiB: %s", answer.Status)
	}
}

// endless has a connection for everybody who asks.
type endless struct {
	net.Listener
	closed atomic.Bool
}

func (l *endless) Accept() (net.Conn, error) {
	if l.closed.Load() {
		return nil, net.ErrClosed
	}
	a, b := net.Pipe()
	b.Close()
	return a, nil
}

func (l *endless) Close() error {
	l.closed.Store(true)
	return nil
}

func TestConnectionsAreLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := web.Limit(&endless{})
		var open []net.Conn
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				open = append(open, c)
			}
		}()
		synctest.Wait()
		most := len(open)
		if most < 16 || most > 200 {
			t.Errorf("%d connections at once", most)
		}
		open[0].Close()
		synctest.Wait()
		if len(open) != most+1 {
			t.Errorf("%d after one was closed; want one more", len(open))
		}
		l.Close()
		<-done
	})
}
