package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/history"
)

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
		if name == "refused" || name == "no such host" { // the others do not speak SMTP, and the library waits forever
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
		"generic 404":          "the server answered 404 Not Found: its URL or token is invalid",
		"generic refused":      "the connection was refused: nothing listens there",
		"generic no such host": "its host name",
		"smtp refused":         "the connection was refused",
		"mattermost 503":       "the server answered 503 Service Unavailable",
		"bad URL 12":           `its URL is a plain web address: for a webhook write generic+ before it`,
		"bad URL 1":            "its URL is not valid for service slack",
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
