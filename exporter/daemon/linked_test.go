package daemon

import (
	"testing"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/web"
)

func TestNotificationsLeadToWherePlancastIsReached(t *testing.T) {
	for _, c := range []struct{ name, external, configured, want string }{
		{"nobody said where", "", "", ""},
		{"the flag says so", "https://example.org/plancast", "", "https://example.org/plancast/"},
		{"the configuration has precedence", "https://example.org/plancast", "http://gpu-host:9833/", "http://gpu-host:9833/"},
	} {
		d := &Daemon{options: Options{Web: web.Options{External: c.external}}}
		cfg := config.Default()
		cfg.Notifications.ReportURL = c.configured
		if got := d.linked(cfg).Notifications.ReportURL; got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
