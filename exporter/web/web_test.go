package web_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/metrics"
	"github.com/plancast/plancast/exporter/report"
	"github.com/plancast/plancast/exporter/report/reporttest"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/exporter/web"
)

// example has the report of package reporttest.
type example struct{}

func (example) Part(of report.Selection) report.View {
	return report.BuildPart(reporttest.State(reporttest.Input()), of)
}
func (example) Healthy() error                   { return nil }
func (example) Ready() (string, error)           { return "it waits for nobody", nil }
func (example) Reload(context.Context) error     { return errors.New("nothing to reload") }
func (example) Request(url.Values, string) error { return nil }

func serve(t *testing.T, prefix string) http.Handler {
	t.Helper()
	s, err := metrics.NewSnapshot(&standing.State{Now: time.Now()}, metrics.Build{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return web.Handler(web.Options{Source: example{}, Metrics: metrics.NewCollector(s), Log: slog.New(slog.DiscardHandler), Prefix: prefix})
}

func ask(h http.Handler, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	return w
}

func TestBelowAPrefixEverythingIsServedThereAndNowhereElse(t *testing.T) {
	h := serve(t, "/plancast")
	for target, code := range map[string]int{
		"/plancast/": 200, "/plancast/metrics": 200, "/plancast/api/v1/report": 200, "/plancast/-/ready": 200, "/plancast/-/healthy": 200,
		"/plancast/?model=none": 404, "/metrics": 404, "/api/v1/report": 404, "/plancaster/": 404,
	} {
		if w := ask(h, target); w.Code != code {
			t.Errorf("%s: %d, want %d", target, w.Code, code)
		}
	}
	for target, to := range map[string]string{"/": "/plancast/", "/plancast": "/plancast/"} {
		if w := ask(h, target); w.Code/100 != 3 || w.Header().Get("Location") != to {
			t.Errorf("%s leads with %d to %q, want %s", target, w.Code, w.Header().Get("Location"), to)
		}
	}
}

// A proxy may serve plancast below any path, and remove it from the request.
func TestEveryLinkOfPlancastsOwnIsRelative(t *testing.T) {
	for _, prefix := range []string{"", "/plancast"} {
		h := serve(t, prefix)
		page := ask(h, prefix+"/").Body.String()
		links := regexp.MustCompile(`(?:href|src|action)="([^"]*)"`).FindAllStringSubmatch(page, -1)
		if len(links) < 5 {
			t.Fatalf("%d links", len(links))
		}
		for _, l := range links {
			if strings.HasPrefix(l[1], "/") || strings.Contains(l[1], "localhost") {
				t.Errorf("the page below %q links to %s", prefix, l[1])
			}
		}
		if next := ask(h, prefix+"/api/v1/report?limit=1").Header().Get("Link"); !strings.HasPrefix(next, "<?") {
			t.Errorf("the next part of the report is at %q", next)
		}
	}
}
