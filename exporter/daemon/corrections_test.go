package daemon_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/daemon/daemontest"
	"github.com/plancast/plancast/exporter/engine/fake"
	"github.com/plancast/plancast/exporter/history"
)

// What another process excludes and restores is shown by a daemon that runs:
// page, metrics and milestone.
func TestACorrectionIsShownAtOnce(t *testing.T) {
	s := daemontest.New(t, launchTarget+`
milestones:
  - {name: spring, criteria: ["p99 < 5ms"], horizon: 3}
`)
	for i, latency := range []float64{4, 4.5, 40} { // the third is noise
		s.Push("net", fmt.Sprint(i+1), fake.Script{Latency: daemontest.Milliseconds(latency)})
		s.Push("other", fmt.Sprint(i+1), fake.Script{Latency: daemontest.Milliseconds(4)})
	}
	d := s.Open()
	if err := d.Pass(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	shown := func() (met, iteration string) {
		_, body := get(t, d.Handler(), "GET", "/metrics")
		for _, line := range strings.Split(body, "\n") {
			name, value, _ := strings.Cut(line, "} ")
			switch {
			case strings.HasPrefix(name, "plancast_milestone_models_ready{"):
				met = value
			case strings.HasPrefix(name, `plancast_iteration{model="net"`) || strings.HasPrefix(name, "plancast_iteration{") && strings.Contains(name, `model="net"`):
				iteration = value
			}
		}
		return met, iteration
	}
	if met, iteration := shown(); met != "1" || iteration != "3" {
		t.Fatalf("%s models ready, iteration %s", met, iteration)
	}
	other, err := history.Open(filepath.Join(s.Dir, "state", "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	by := history.Author{Who: "ann", Because: "a backup ran", At: time.Unix(1, 0)}
	for _, c := range []struct {
		name           string
		do             func() (int, error)
		met, iteration string
	}{
		{"excluded", func() (int, error) { return other.Exclude(t.Context(), history.Filter{Model: "net", Version: "3"}, by) }, "2", "2"},
		{"restored", func() (int, error) { return other.Restore(t.Context(), history.Filter{Model: "net"}, by) }, "1", "3"},
		{"the whole model", func() (int, error) { return other.Exclude(t.Context(), history.Filter{Model: "net"}, by) }, "1", ""},
	} {
		if n, err := c.do(); err != nil || n == 0 {
			t.Fatalf("%s: %d, %v", c.name, n, err)
		}
		if err := d.TakeCorrections(t.Context()); err != nil {
			t.Fatal(err)
		}
		if met, iteration := shown(); met != c.met || iteration != c.iteration {
			t.Errorf("%s: %s models ready, iteration %q; want %s and %q", c.name, met, iteration, c.met, c.iteration)
		}
	}
	if got := s.Records(); len(got) != 6 {
		t.Errorf("records %q", got)
	}
}
