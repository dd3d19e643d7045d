package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/config"
)

var message = Message{ID: "result/m/f/d", Title: "m version 2 meets its threshold", Text: "m on L4: P99 42 ms", Model: "m", Version: "2", Owner: "vision", Events: []config.Event{config.EventResult}}

// fromFile is a receiver whose URL lies in a file.
func fromFile(t *testing.T, url string) config.Receiver {
	t.Helper()
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte(url+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Receiver{Name: "chat", URLFile: file}
}

// hook is a webhook that answers with a status and notes what it got.
type hook struct {
	*httptest.Server
	status  int
	answer  string
	bodies  []string
	headers []http.Header
}

func newHook(t *testing.T, status int) *hook {
	t.Helper()
	h := &hook{status: status}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.bodies, h.headers = append(h.bodies, string(body)), append(h.headers, r.Header)
		w.WriteHeader(h.status)
		fmt.Fprint(w, h.answer)
	}))
	t.Cleanup(func() {
		h.Close()
		http.DefaultClient.CloseIdleConnections() // the library sends through it
	})
	return h
}

func (h *hook) host() string { return strings.TrimPrefix(h.URL, "http://") }

func TestAWebhookGetsTheMessage(t *testing.T) {
	h := newHook(t, http.StatusOK)
	s := sending(0)
	if err := s.Send(t.Context(), fromFile(t, "generic+"+h.URL+"/hook"), message); err != nil {
		t.Fatal(err)
	}
	if h.bodies[0] != message.Title+"\n"+message.Text {
		t.Errorf("plain: %q", h.bodies[0])
	}
	t.Setenv("HOOK_URL", "generic+"+h.URL+"/hook?template=json&@Authorization=Bearer+hunter2")
	if err := s.Send(t.Context(), config.Receiver{Name: "chat", URLEnv: "HOOK_URL"}, message); err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if err := json.Unmarshal([]byte(h.bodies[1]), &got); err != nil {
		t.Fatalf("%v: %s", err, h.bodies[1])
	}
	for k, want := range map[string]string{"title": message.Title, "message": message.Text, "id": message.ID, "event": "result", "model": "m", "version": "2", "owner": "vision"} {
		if got[k] != want {
			t.Errorf("%s is %q; want %q", k, got[k], want)
		}
	}
	if h.headers[1].Get("Authorization") != "Bearer hunter2" {
		t.Errorf("headers %v", h.headers[1])
	}
}

func TestASlackLikeChatGetsTheMessage(t *testing.T) {
	h := newHook(t, http.StatusOK)
	if err := sending(0).Send(t.Context(), fromFile(t, "mattermost://"+h.host()+"/hunter2token?disabletls=yes"), message); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(h.bodies[0], "P99 42 ms") || !strings.Contains(h.bodies[0], message.Title) {
		t.Errorf("body %s", h.bodies[0])
	}
}

// smtpServer takes one mail and returns it.
func smtpServer(t *testing.T) (address string, mail <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	out := make(chan string, 1)
	done := make(chan struct{})
	t.Cleanup(func() { l.Close(); <-done })
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(5 * time.Minute))
		say := func(s string) { fmt.Fprintf(c, "%s\r\n", s) }
		say("220 test")
		var mail strings.Builder
		inData := false
		buf := make([]byte, 4096)
		pending := ""
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			pending += string(buf[:n])
			for {
				line, rest, ok := strings.Cut(pending, "\r\n")
				if !ok {
					break
				}
				pending = rest
				switch {
				case inData && line == ".":
					inData = false
					out <- mail.String()
					say("250 taken")
				case inData:
					mail.WriteString(line + "\n")
				case strings.HasPrefix(line, "DATA"):
					inData = true
					say("354 go on")
				case strings.HasPrefix(line, "QUIT"):
					say("221 bye")
					return
				default:
					say("250 ok")
				}
			}
		}
	}()
	return l.Addr().String(), out
}

func TestAMailHasTheTitleAsItsSubject(t *testing.T) {
	address, mail := smtpServer(t)
	url := "smtp://" + address + "/?from=plancast@example.com&to=vision@example.com&encryption=None&starttls=no&auth=None"
	if err := sending(0).Send(t.Context(), config.Receiver{Name: "mail", URL: url}, message); err != nil {
		t.Fatal(err)
	}
	got := <-mail
	if !strings.Contains(got, "Subject: "+message.Title) || !strings.Contains(got, message.Text) || strings.Contains(got, message.Title+"\n"+message.Text) {
		t.Errorf("mail:\n%s", got)
	}
}

func TestNothingIsLeftOfAnAttemptThatIsInterrupted(t *testing.T) {
	arrived, gone := make(chan struct{}, 2), make(chan struct{}, 2)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		arrived <- struct{}{}
		<-r.Context().Done() // its process has ended
		gone <- struct{}{}
	}))
	defer server.Close()
	r := fromFile(t, "generic+"+server.URL+"/hunter2")
	for range 2 { // the one before does not hold up the next
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-arrived; cancel() }()
		if err := sending(time.Hour).Send(ctx, r, message); err == nil || !strings.Contains(err.Error(), "interrupted") {
			t.Fatalf("%v", err)
		}
		<-gone
	}
}

func TestAnAttemptThatIsNotAnsweredEnds(t *testing.T) {
	s := &Services{Command: []string{"sleep", "1000000"}, Timeout: 10 * time.Millisecond}
	if err := s.Send(t.Context(), fromFile(t, "generic://example.org"), message); err == nil || !strings.Contains(err.Error(), "no answer within 10ms") {
		t.Errorf("%v", err)
	}
	if err := new(Services).Send(t.Context(), fromFile(t, "generic://example.org"), message); err == nil || !strings.Contains(err.Error(), "no program is configured") {
		t.Errorf("%v", err)
	}
}

func TestAnAnswerIsReadInPartAndStaysPacked(t *testing.T) {
	written := make(chan int64, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Accept-Encoding"); got != "identity" {
			t.Errorf("it asks for %q", got)
		}
		w.WriteHeader(http.StatusInternalServerError)
		n, _ := io.CopyN(w, endlessText{}, 1<<30) // until nobody reads any more
		written <- n
	}))
	defer server.Close()
	if err := sending(time.Minute).Send(t.Context(), fromFile(t, "generic+"+server.URL), message); err == nil || !strings.Contains(err.Error(), "500") {
		t.Errorf("%v", err)
	}
	if n := <-written; n > 64<<20 {
		t.Errorf("%d bytes of the answer were taken", n)
	}
}

type endlessText struct{}

func (endlessText) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestSendingEndsWithItsContext(t *testing.T) {
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-release }))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := sending(0).Send(ctx, fromFile(t, "generic+"+server.URL), message); err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("error %v", err)
	}
	close(release)
	server.Close()
	http.DefaultClient.CloseIdleConnections()
}

func TestAPanicOfTheLibraryIsAnError(t *testing.T) {
	if err := guarded(func() error { panic("boom") }); err == nil || !strings.Contains(err.Error(), "boom") {
		t.Errorf("error %v", err)
	}
}
