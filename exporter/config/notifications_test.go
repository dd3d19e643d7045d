package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func receivers(list []Receiver) string {
	return strings.Join(names(list, func(r Receiver) string { return r.Name }), " ")
}

func TestRoutesChooseByOwnerModelAndEvent(t *testing.T) {
	c, err := Parse(strings.NewReader(`
notifications:
  routes:
    - {owners: vision, receivers: [vision]}
    - {owners: [speech, "lang*"], events: [failure], receivers: [speech]}
    - {models: "resnet*", events: [missed, environment], receivers: [board, vision]}
  receivers:
    - {name: board, url: "generic+http://alerts.internal:8080/plancast?template=json"}
    - {name: vision, url_env: VISION_URL}
    - {name: speech, url_file: speech.url}
`), "plancast.yml")
	if err != nil {
		t.Fatal(err)
	}
	if r := c.Notifications.Receivers; r[0].URL != "generic+http://alerts.internal:8080/plancast?template=json" || r[1].URLEnv != "VISION_URL" || r[2].URLFile != "speech.url" {
		t.Errorf("receivers are %+v", r)
	}
	for _, x := range []struct {
		model, owner string
		events       []Event
		want         string
	}{
		{"resnet50", "vision", []Event{EventResult}, "vision"},
		{"resnet50", "vision", []Event{EventResult, EventMissed}, "board vision"},
		{"resnet50", "", []Event{EventResult}, ""},
		{"resnet50", "", []Event{EventResult, EventEnvironment}, "board vision"},
		{"silero", "speech", []Event{EventResult}, ""},
		{"silero", "speech", []Event{EventFailure}, "speech"},
		{"encoder", "language", []Event{EventFailure}, "speech"},
	} {
		if got := receivers(c.Notifications.For(x.model, x.owner, x.events...)); got != x.want {
			t.Errorf("%s of %q, %v: %q; want %q", x.model, x.owner, x.events, got, x.want)
		}
	}
	c.Notifications.Routes = nil
	if got := receivers(c.Notifications.For("any", "", EventFailure)); got != "board vision speech" {
		t.Errorf("without routes %q; want everybody", got)
	}
}

func TestOnlyOpenURLsMayStandInTheFile(t *testing.T) {
	for url, ok := range map[string]bool{
		"generic://alerts.internal/plancast":                                true,
		"generic+http://10.0.0.7:8080/hook?template=json":                   true,
		"smtp://mail.internal:25/?from=plancast@internal&to=vision@example": true,

		"https://alerts.internal/plancast":                             false, // no service of that name
		"generic://user:hunter2@alerts.internal/":                      false,
		"generic://user@alerts.internal/":                              false,
		"generic://alerts.internal/?@Authorization=Bearer+x":           false,
		"generic://alerts.internal/?token=x":                           false,
		"generic://alerts.internal/?$secret=x":                         false,
		"generic://alerts.internal/hook#token":                         false,
		"generic://hooks.slack.com/services/a/b/c":                     false,
		"generic://discord.com/api/webhooks/1/a":                       false,
		"generic://alerts.internal/T00000000B00000000":                 false,
		"smtp://plancast:hunter2@mail.internal/?from=a@b.c&to=d@e.f":   false,
		"slack://hook:T00000000-B00000000-xxxxxxxx@webhook":            false,
		"telegram://110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PA@telegram/": false,
		"": false, "generic:hunter2": false, "://": false, "generic://\x7f": false,
	} {
		err := openURL(url)
		if (err == nil) != ok {
			t.Errorf("%s: %v", url, err)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "url_file")) {
			t.Errorf("%s: the error repeats the secret or has no way out: %v", url, err)
		}
	}
}

func TestTheReportIsWhereABrowserFindsIt(t *testing.T) {
	for url, ok := range map[string]bool{
		"http://gpu-host:9833/": true, "https://plancast.internal/report": true,
		"": false, "://": false, "gpu-host:9833": false, "ftp://gpu-host/": false, "http:///report": false,
		"http://user@gpu-host/": false, "http://gpu-host/?a=b": false, "http://gpu-host/#model": false,
	} {
		var c Config
		if err := c.reportURL(url); (err == nil) != ok || ok != (c.Notifications.ReportURL == url && url != "") {
			t.Errorf("%q: %v, and the report is at %q", url, err, c.Notifications.ReportURL)
		}
	}
}

func TestTheFileOfASecretIsRelativeToTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "plancast.yml")
	if err := os.WriteFile(file, []byte("notifications: {receivers: [{name: a, url_file: secrets/a.url}]}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Notifications.Receivers[0].URLFile; got != filepath.Join(dir, "secrets", "a.url") {
		t.Errorf("url_file is %s", got)
	}
}
