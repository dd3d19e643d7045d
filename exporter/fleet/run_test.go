package fleet_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/fleet"
	"github.com/plancast/plancast/exporter/web"
)

// A reload is answered between two readings, so that the second of two in a row
// comes after a reading under the first.
func TestAReloadTakesOtherMilestonesAndABadOneLeavesThem(t *testing.T) {
	s := newStore(t)
	cfg := configured(t, s.URL, "")
	file := filepath.Join(t.TempDir(), "plancast.yml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, err := fleet.New(fleet.Options{
		Config: cfg, ConfigFile: file, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler), Web: web.Options{Lifecycle: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	selected := func(milestone string) string {
		return line(t, d, `plancast_milestone_models_selected{milestone="`+milestone+`"}`)
	}

	const source = "source: {prometheus: {url: \"%\", resolution: 5min}}\n"
	write("milestones: [{name: summer, criteria: [\"p99 < 40ms\"], horizon: 5}]\n" + strings.Replace(source, "%", s.URL, 1))
	for range 2 {
		if err := d.Reload(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if selected("summer") != "2" || selected("spring") != "" {
		t.Errorf("after the reload summer selects %q models, and spring %q", selected("summer"), selected("spring"))
	}
	for name, text := range map[string]string{"an unknown key": "mileposts: []\n", "no source": "milestones: []\n"} {
		write(text)
		if err := d.Reload(ctx); err == nil {
			t.Errorf("%s: the configuration is taken", name)
		}
		if got := line(t, d, "plancast_config_last_reload_successful"); got != "0" {
			t.Errorf("%s: the last reload was successful: %q", name, got)
		}
		if selected("summer") != "2" {
			t.Errorf("%s: the milestones are gone", name)
		}
	}
	for target, want := range map[string]int{"/api/v1/run": http.StatusAccepted, "/api/v1/run?model=resnet50": http.StatusBadRequest} {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, target, bytes.NewReader(nil))
		r.Host = "localhost"
		if d.Handler().ServeHTTP(w, r); w.Code != want {
			t.Errorf("POST %s: %d %s, want %d", target, w.Code, w.Body, want)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := d.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "stopping") {
		t.Errorf("a reload once it has stopped: %v", err)
	}
}

func TestAFleetDaemonNeedsASource(t *testing.T) {
	if _, err := fleet.New(fleet.Options{Config: config.Default(), Now: time.Now, Log: slog.New(slog.DiscardHandler)}); err == nil || !strings.Contains(err.Error(), "names no source") {
		t.Errorf("without a source: %v", err)
	}
}
