package daemon_test

import (
	"bytes"
	"database/sql"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/daemon"
	"github.com/plancast/plancast/exporter/daemon/daemontest"
	"github.com/plancast/plancast/exporter/engine/fake"
	"github.com/plancast/plancast/exporter/standing"
)

// forgetP99 makes the history one of a plancast that did not know of P99.
func forgetP99(t *testing.T, s *daemontest.Site) {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(s.Dir, "state", "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "UPDATE properties SET value = replace(value, 'p99', 'p98') WHERE name = 'quantities'"); err != nil {
		t.Fatal(err)
	}
}

// A daemon starts at once after an upgrade, shows what is known, and what an older
// plancast did not know as soon as it has derived it.
func TestAnUpgradeKeepsNobodyWaiting(t *testing.T) {
	s := daemontest.New(t, launchTarget)
	s.Push("net", "1", fake.Script{Latency: daemontest.Milliseconds(4)})
	pass(t, s, nil)
	forgetP99(t, s)
	var log bytes.Buffer
	pass(t, s, func(d *daemon.Daemon) {
		if m := d.View().Models[0]; m.Status != standing.StatusUnknown {
			t.Errorf("before P99 is derived, status %s: %s", m.Status, m.Headline)
		}
		if err := d.Tidy(t.Context()); err != nil {
			t.Fatal(err)
		}
		if m := d.View().Models[0]; m.Status != standing.StatusMet {
			t.Errorf("then status %s: %s", m.Status, m.Headline)
		}
	}, func(o *daemon.Options) { o.Later, o.Log = true, slog.New(slog.NewTextHandler(&log, nil)) })
	for _, want := range []string{"Deriving older entries again, the newest first", "Derived older entries again"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, log.String())
		}
	}
}

// plancast run judges once, so it derives first.
func TestAnUpgradeIsWholeForASinglePass(t *testing.T) {
	s := daemontest.New(t, launchTarget)
	s.Push("net", "1", fake.Script{Latency: daemontest.Milliseconds(4)})
	pass(t, s, nil)
	forgetP99(t, s)
	pass(t, s, func(d *daemon.Daemon) {
		if m := d.View().Models[0]; m.Status != standing.StatusMet {
			t.Errorf("status %s: %s", m.Status, m.Headline)
		}
	})
}
