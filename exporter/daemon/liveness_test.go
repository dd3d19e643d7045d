package daemon

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/plancast/plancast/exporter/metrics"
	"github.com/plancast/plancast/exporter/standing"
)

// A pass that hangs where nothing limits it is seen from outside: by the probe
// and by the metric, while the schedule, the web and the clock go on.
func TestLivenessFollowsTheProgressOfThePass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := metrics.NewSnapshot(&standing.State{}, metrics.Build{}, 0)
		if err != nil {
			t.Fatal(err)
		}
		d := &Daemon{metrics: metrics.NewCollector(s)}
		state := func() string {
			err := d.Healthy()
			m := httptest.NewRecorder()
			d.metrics.Handler(prometheus.NewRegistry(), nil).ServeHTTP(m, httptest.NewRequest(http.MethodGet, "/metrics", nil))
			switch stalled := strings.Contains(m.Body.String(), "plancast_pass_stalled 1\n"); {
			case err == nil && !stalled:
				return "healthy"
			case err != nil && stalled:
				return "stalled"
			default:
				return fmt.Sprint(err) + m.Body.String()
			}
		}
		want := func(want string) {
			t.Helper()
			if got := state(); got != want {
				t.Errorf("after %s: %s; want %s", time.Since(epoch), got, want)
			}
		}
		d.act(func(*activity) {})
		time.Sleep(24 * time.Hour)
		want("healthy") // idle, however long

		d.advance(func(a *activity) { a.patience = time.Hour })
		time.Sleep(59 * time.Minute)
		want("healthy")
		d.advance(func(*activity) {}) // a job reports
		time.Sleep(59 * time.Minute)
		d.act(func(*activity) {}) // the schedule goes on: no sign of the pass
		want("healthy")
		time.Sleep(2 * time.Minute)
		want("stalled")
		d.advance(func(*activity) {}) // it goes on after all
		want("healthy")
		time.Sleep(2 * time.Hour)
		want("stalled")
		d.act(func(a *activity) { a.stalls = time.Time{} }) // it ended
		want("healthy")
	})
}

var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // of the bubble
