package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/history"
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

// secrets are the parts of the URLs below that must never be seen.
var secrets = []string{"hunter2", "T0KEN", "B0TUSER", "s3cret", "Sesame", "open%20", "supersecrethost"}

// failing are receivers that take nothing, each with secrets wherever its
// service has them.
func failing(t *testing.T) map[string]string {
	t.Helper()
	refused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := refused.Addr().String()
	refused.Close() // nothing listens there any more
	out := map[string]string{}
	hosts := map[string]string{"refused": closed, "no such host": "supersecrethost.invalid"}
	for _, status := range []int{400, 401, 404, 429, 500, 503} {
		h := newHook(t, status)
		// A service that repeats what it was given.
		h.answer = `{"error":"token T0KENhunter2s3cret of B0TUSER at /hunter2/T0KEN?key=Sesame open%20Sesame is wrong"}`
		hosts[fmt.Sprint(status)] = h.host()
	}
	garbage := newHook(t, http.StatusOK)
	garbage.answer = "no: hunter2"
	hosts["garbage"] = garbage.host()
	for name, host := range hosts {
		out["generic "+name] = "generic+http://B0TUSER:hunter2@" + host + "/T0KEN/hunter2?@Authorization=Bearer+T0KENhunter2s3cret&key=open%20Sesame&$field=s3cret"
		out["mattermost "+name] = "mattermost://B0TUSER@" + host + "/T0KENhunter2?disabletls=yes"
		out["rocketchat "+name] = "rocketchat://B0TUSER@" + host + "/T0KENhunter2/s3cret"
		out["gotify "+name] = "gotify://" + host + "/AT0KENhunter2s/?disabletls=yes"
		out["ntfy "+name] = "ntfy://B0TUSER:hunter2@" + host + "/s3cret?scheme=http"
		out["matrix "+name] = "matrix://B0TUSER:hunter2@" + host + "/?rooms=s3cret&disabletls=yes"
		if name == "refused" || name == "no such host" { // the others do not speak SMTP, and the library waits for ever
			out["smtp "+name] = "smtp://B0TUSER:hunter2@" + host + "/?from=s3cret@example.com&to=Sesame@example.com&timeout=1s"
		}
		out["opsgenie "+name] = "opsgenie://" + host + "/T0KENhunter2-s3cret"
		out["bark "+name] = "bark://:T0KENhunter2@" + host + "/?scheme=http"
	}
	// URLs that the library cannot take, in each way it can fail to.
	for i, u := range []string{
		"slack://hook:T0KEN-hunter2-s3cret@webhook", "slack://hunter2", "discord://T0KENhunter2", "telegram://hunter2@telegram?chats=s3cret",
		"teams://hunter2", "pushover://hunter2", "opsgenie://", "zulip://hunter2", "generic://%zz:hunter2@host", "generic+ftp://hunter2",
		"hunter2://x", "T0KEN-hunter2:s3cret", "https://hooks.slack.com/services/T0KEN/B0TUSER/hunter2", "logger://hunter2", "://hunter2", "hunter2", "slack+http://hunter2:x@y",
		"smtp://B0TUSER:hunter2@host", "smtp://B0TUSER:hunter2@host:port/?from=a&to=b", "ntfy://hunter2:%zz@x", "matrix://hunter2", "signal://hunter2", "bark://hunter2?key=%zz",
	} {
		out[fmt.Sprint("bad URL ", i)] = u
	}
	return out
}

// exposed finds a secret in text; of names the URL it is to be from, if not any.
func exposed(text string, of ...string) string {
	for _, s := range secrets {
		if !strings.Contains(strings.Join(of, ""), s) && len(of) > 0 {
			continue
		}
		if strings.Contains(strings.ToLower(text), strings.ToLower(s)) {
			return s
		}
	}
	return ""
}

func TestNoSecretReachesAnErrorALogAMetricOrTheOutbox(t *testing.T) {
	var standard strings.Builder
	log.SetOutput(&standard) // what the library logs by itself
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	urls := failing(t)
	t.Cleanup(func() { http.DefaultTransport.(*http.Transport).CloseIdleConnections() })
	reasons := map[string]string{}
	for name, url := range urls {
		var logged strings.Builder
		store, err := history.Open(filepath.Join(t.TempDir(), "h.db"))
		if err != nil {
			t.Fatal(err)
		}
		cfg := configuration(t, everybody)
		cfg.Notifications.Receivers = []config.Receiver{fromFile(t, url)}
		n, err := New(t.Context(), Options{Store: store, Config: cfg, Send: sending(time.Minute).Send, Now: time.Now,
			Log: slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		if err != nil {
			t.Fatal(err)
		}
		body, err := json.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		if err := store.UpdateOutbox(t.Context(), func(tx *history.OutboxTx) error {
			_, err := tx.Add(history.OutboxEntry{Receiver: "chat", Key: "k", Created: time.Now(), Due: time.Now(), Body: body})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		_, err = n.Flush(t.Context())
		if s := exposed(fmt.Sprintf("%v %s %+v", err, logged.String(), n.Stats()), url); s != "" {
			t.Errorf("%s: %q is in the log: %s", name, s, logged.String())
		}
		sent := n.Stats().Counts["chat"][Sent] > 0
		if !sent && !strings.Contains(logged.String(), "Notification failed") {
			t.Errorf("%s: neither sent nor failed: %s", name, logged.String())
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		if file, err := os.ReadFile(store.Path()); err != nil || exposed(string(file)) != "" {
			t.Errorf("%s: %q is in the outbox, %v", name, exposed(string(file)), err)
		}
		// The error itself, in every form, with all that it wraps.
		err = sending(time.Minute).Send(t.Context(), cfg.Notifications.Receivers[0], message)
		for e := err; e != nil; e = errors.Unwrap(e) {
			if s := exposed(fmt.Sprintf("%v %+v %#v", e, e, e), url); s != "" {
				t.Errorf("%s: %q is in the error: %#v", name, s, e)
			}
		}
		if err == nil != sent {
			t.Errorf("%s: sent %v, then %v", name, sent, err)
		}
		if _, err := Check(cfg.Notifications.Receivers[0]); exposed(fmt.Sprint(err)) != "" {
			t.Errorf("%s: Check: %v", name, err)
		}
		reasons[name] = fmt.Sprint(err)
	}
	if s := exposed(standard.String()); s != "" {
		t.Errorf("%q is in the standard log: %s", s, standard.String())
	}
	for name, want := range map[string]string{
		"generic 500":          "send to chat (generic): the server answered 500 Internal Server Error",
		"generic 404":          "the server answered 404 Not Found: its URL or token is not valid",
		"generic refused":      "the connection was refused: nothing listens there",
		"generic no such host": "its host name",
		"smtp refused":         "the connection was refused",
		"mattermost 503":       "the server answered 503 Service Unavailable",
		"bad URL 12":           `its URL names no service: it begins with that, such as "slack://"`,
		"bad URL 1":            "its URL is not one of service slack",
	} {
		if !strings.Contains(reasons[name], want) {
			t.Errorf("%s says %q; want %q", name, reasons[name], want)
		}
	}
	if testing.Verbose() {
		for name, r := range reasons {
			t.Logf("%-24s %s", name, r)
		}
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
	if err := new(Services).Send(t.Context(), fromFile(t, "generic://example.org"), message); err == nil || !strings.Contains(err.Error(), "no program is set") {
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

func TestTheSendingProcessHasNoVariablesOfTheDaemon(t *testing.T) {
	t.Setenv("PLANCAST_TEST_SECRET", "hunter2")
	file := filepath.Join(t.TempDir(), "environment")
	program := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nenv > "+file+"\ncat > /dev/null\necho '{}'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := &Services{Command: []string{program}}
	if err := s.Send(t.Context(), fromFile(t, "generic://example.org"), message); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil || strings.Contains(string(text), "hunter2") || !strings.Contains(string(text), "PATH=") {
		t.Errorf("%v: %s", err, text)
	}
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

func TestAnAddressThatCannotBeReadIsReportedWithItsPlace(t *testing.T) {
	dir := t.TempDir()
	write := func(text string) config.Receiver { return fromFile(t, text) }
	for _, c := range []struct {
		r    config.Receiver
		want string
	}{
		{config.Receiver{Name: "a", URLEnv: "PLANCAST_NO_SUCH"}, "environment variable PLANCAST_NO_SUCH is not set"},
		{config.Receiver{Name: "a", URLFile: filepath.Join(dir, "none")}, "none cannot be read: no such file"},
		{config.Receiver{Name: "a", URLFile: dir}, "cannot be read: is a directory"},
		{write(" \n"), "is empty"},
		{write("slack://hunter2\nslack://hunter2"), "more than one line"},
	} {
		_, err := Check(c.r)
		if err == nil || !strings.Contains(err.Error(), c.want) || exposed(err.Error()) != "" {
			t.Errorf("error %v; want %q", err, c.want)
		}
	}
	if service, err := Check(write("slack://hook:T00000000-B00000000-XXXXXXXXXXXXXXXXXXXXXXXX@webhook")); err != nil || service != "slack" {
		t.Errorf("%s, %v", service, err)
	}
}

func TestAPanicOfTheLibraryIsAnError(t *testing.T) {
	if err := guarded(func() error { panic("boom") }); err == nil || !strings.Contains(err.Error(), "boom") {
		t.Errorf("error %v", err)
	}
}

func FuzzReasonHoldsNothingOfTheURL(f *testing.F) {
	f.Add("slack://hook:T00-B00-hunter2hunter2@webhook", `Post "https://hooks.slack.com/services/T00/B00/hunter2hunter2": dial tcp: lookup hooks.slack.com: no such host`)
	f.Add("generic+http://u:pa%20ss@h/p?k=v", "500 Internal Server Error pa ss")
	f.Add("smtp://u:p@h", "535 5.7.8 Username and Password not accepted")
	f.Add("a", "\xff\x00")
	f.Fuzz(func(t *testing.T, raw, text string) {
		got := reason(text, raw)
		if len([]rune(got)) > 400 {
			t.Fatalf("%d characters", len([]rune(got)))
		}
		if strings.ContainsAny(got, "\x00\n\r\x1b") {
			t.Fatalf("control characters in %q", got)
		}
		// The secret parts, wherever the library puts them.
		for _, p := range parts(raw) {
			for _, wrap := range []string{"failed: %s", "Post %q: EOF?", "token=%s, try again", "x%sx"} {
				if got := redact(fmt.Sprintf(wrap, p), raw); len(p) >= 3 && strings.Contains(strings.ToLower(got), strings.ToLower(p)) && !strings.Contains(strings.ToLower("failed post token= try again eof? "+hidden), strings.ToLower(p)) {
					t.Fatalf("%q of %q is in %q", p, raw, got)
				}
			}
		}
	})
}
