package notify

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/report/reporttest"
)

func TestLinksHaveTheFormOfTheService(t *testing.T) {
	m := Message{Text: "text", Change: "https://git.example.org/pull/7", Link: "http://gpu-host:9833/?model=m"}
	slack := "text\n<https://git.example.org/pull/7|Change>\n<http://gpu-host:9833/?model=m|Report>"
	markdown := "text\n[Change](https://git.example.org/pull/7)\n[Report](http://gpu-host:9833/?model=m)"
	plain := "text\nChange: https://git.example.org/pull/7\nReport: http://gpu-host:9833/?model=m"
	for service, want := range map[string]string{
		"slack": slack, "googlechat": slack, "discord": markdown, "mattermost": markdown, "rocketchat": markdown, "teams": markdown, "zulip": markdown,
		"smtp": plain, "generic": plain, "telegram": plain, "matrix": plain,
	} {
		if got := m.withLinks(service); got != want {
			t.Errorf("%s: %q; want %q", service, got, want)
		}
	}
	if got := (Message{Text: "text"}).withLinks("slack"); got != "text" {
		t.Errorf("without links: %q", got)
	}
	queued := Message{Text: "text\nhttp://gpu-host:9833/?model=m", Link: "http://gpu-host:9833/?model=m"}
	if got := queued.withLinks("slack"); got != queued.Text {
		t.Errorf("queued by an older plancast: %q", got)
	}
	for service := range linkForms {
		if _, err := serviceOf(service + "://x"); err != nil {
			t.Errorf("the library has no service %q", service)
		}
	}
}

// Whatever a change.yml has for a link, one link to that address comes of it.
func TestALinkOfAChangeEndsWhereItShould(t *testing.T) {
	whole := map[string]*regexp.Regexp{
		"slack":   regexp.MustCompile(`^text\n<https?://[^\s<>|@]+\|Change>$`),
		"discord": regexp.MustCompile(`^text\n\[Change\]\(https?://[^\s()<>@]+\)$`),
		"smtp":    regexp.MustCompile(`^text\nChange: https?://[^\s<>@]+$`),
	}
	for _, raw := range []string{
		"https://git.example.org/pull/42?tab=files#discussion_r1",
		"https://x.example/a)[free money](https://evil.example",
		"https://x.example/a|b>\u003c!channel>",
		"https://x.example/@everyone",
		"https://x.example/?q=<@U024BE7LH>",
		"https://user:hunter2@x.example/a b",
		"https://x.example/\"onclick=\"x",
		"http://[::1]/(x)",
	} {
		var c change.Change
		if err := c.Set("link", raw); err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		for service, want := range whole {
			if got := (Message{Text: "text", Change: c.Link}).withLinks(service); !want.MatchString(got) || strings.Contains(got, "hunter2") {
				t.Errorf("%s of %q: %q", service, raw, got)
			}
		}
	}
	for _, raw := range []string{"javascript:alert(1)", "slack://x", "https://", "no link"} {
		var c change.Change
		if err := c.Set("link", raw); err == nil {
			t.Errorf("%q becomes the link %q", raw, c.Link)
		}
	}
}

func TestAWebhookGetsTheLinkOfTheChange(t *testing.T) {
	h := newHook(t, http.StatusOK)
	r := history.Record{Model: "m", Version: "2", Failure: &history.Failure{}, Change: &change.Change{Author: reporttest.Hostile, Link: "https://git.example.org/pull/7"}}
	m := failure(r, "", "", here)
	if strings.Contains(m.Text, "://") {
		t.Errorf("a link is in the text: %s", m.Text)
	}
	s := sending(0)
	if err := s.Send(t.Context(), fromFile(t, "generic+"+h.URL+"/?template=json"), m); err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if err := json.Unmarshal([]byte(h.bodies[0]), &got); err != nil || got["change"] != "https://git.example.org/pull/7" || !strings.Contains(got["message"], "\nChange: https://git.example.org/pull/7\n") {
		t.Errorf("%v: %s", err, h.bodies[0])
	}
	if err := s.Send(t.Context(), fromFile(t, "mattermost://"+h.host()+"/token?disabletls=yes"), m); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(h.bodies[1], "[Change](https://git.example.org/pull/7)") {
		t.Errorf("body %s", h.bodies[1])
	}
}
