package daemon_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/daemon"
	"github.com/plancast/plancast/exporter/daemon/daemontest"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/fake"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/standing"
)

// pass opens a daemon, makes one pass and gives the state folder back.
func pass(t *testing.T, s *daemontest.Site, inspect func(*daemon.Daemon), change ...func(*daemon.Options)) {
	t.Helper()
	o := s.Options()
	for _, f := range change {
		f(&o)
	}
	d, err := daemon.New(o)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Pass(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if inspect != nil {
		inspect(d)
	}
}

// A run under a wrong configuration leaves a failure in an environment of its
// own; once the configuration is right again, the good result counts.
func TestAWrongConfigurationDoesNotHideTheGoodResult(t *testing.T) {
	s := daemontest.New(t, launchTarget)
	s.Push("net", "1", fake.Script{Latency: daemontest.Milliseconds(4)})
	pass(t, s, nil)
	store, err := history.Open(filepath.Join(s.Dir, "state", "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	for r, err := range store.Records(t.Context(), history.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		r.Fingerprint, r.Measurement = "badc0f16", nil
		r.Failure = &history.Failure{Error: engine.Error{Kind: engine.KindInvalidInput, Message: "dimension batch has no size"}}
		if _, err := store.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		break
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	pass(t, s, func(d *daemon.Daemon) {
		v := d.View()
		if m := v.Models[0]; m.Status != standing.StatusMet || v.ExitCode(nil) != standing.ExitMet {
			t.Errorf("status %s, exit code %d: %s", m.Status, v.ExitCode(nil), m.Headline)
		}
	})
}

func TestAMilestoneRemembersTheModelsThatLeft(t *testing.T) {
	s := daemontest.New(t, "milestones:\n  - {name: spring, criteria: [\"p99 < 5ms\"], horizon: 5}\n")
	for _, name := range []string{"a", "b"} {
		s.Push(name, "1", fake.Script{Latency: daemontest.Milliseconds(4)})
	}
	now := time.Now()
	at := func(o *daemon.Options) { o.Now = func() time.Time { return now } }
	pass(t, s, func(d *daemon.Daemon) {
		if m := d.View().Milestones[0]; !m.Met || m.Total != 2 {
			t.Fatalf("with both models %d of %d are ready", m.Ready, m.Total)
		}
	}, at)
	if err := os.RemoveAll(filepath.Join(s.Dir, "models", "b")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		later time.Duration
		total int
		says  string
	}{
		{time.Hour, 2, "counts as not ready until"},
		{standing.Keep - time.Minute, 2, "counts as not ready until"}, // after a restart
		{2 * time.Minute, 1, "no longer counts"},
	} {
		now = now.Add(c.later)
		pass(t, s, func(d *daemon.Daemon) {
			v := d.View()
			if m := v.Milestones[0]; m.Total != c.total || m.Met != (c.total == 1) {
				t.Errorf("%d of %d ready, met %v; want %d models", m.Ready, m.Total, m.Met, c.total)
			}
			if len(v.Absent) != 1 || !strings.Contains(v.Absent[0].Text, c.says) {
				t.Errorf("absent %+v; want %q", v.Absent, c.says)
			}
		}, at)
	}
	s.Push("b", "2", fake.Script{Latency: daemontest.Milliseconds(4)})
	pass(t, s, func(d *daemon.Daemon) {
		if v := d.View(); len(v.Absent) != 0 || v.Milestones[0].Total != 2 {
			t.Errorf("back again: %+v", v.Absent)
		}
	}, at)
}
