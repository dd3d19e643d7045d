package fleet_test

import (
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/push"
	"github.com/plancast/plancast/tsdb/promtest"
)

// fill sends the history of a model to a store.
func fill(t *testing.T, store promtest.Store, model string) {
	t.Helper()
	h := promtest.History{Until: now, Scrape: 3 * time.Hour, Engines: []promtest.Engine{{
		Model: model, Precision: "fp16", Backend: "tensorrt", Device: "NVIDIA L4",
		Results: promtest.Improving(1, 12, begin, 36*time.Hour, 0.08, 0.03, "3fa91c07b2de"),
	}}}
	w, err := push.New(t.Context(), push.Options{URL: store.Write, HTTP: store.Client(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(h.OpenMetrics()) {
		series, rest, ok := strings.Cut(l, "} ")
		if !ok {
			continue // a comment
		}
		value, at, _ := strings.Cut(strings.TrimSpace(rest), " ")
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatal(err)
		}
		seconds, err := strconv.ParseFloat(at, 64)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Sample(series+"}", v, int64(seconds*1000)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	store.Flush()
}

func TestAReadingIsPartialOnceAStoreUnderThanosStops(t *testing.T) {
	here, there := promtest.StartThanosReceive(t, "a", "30y"), promtest.StartThanosReceive(t, "b", "30y")
	fill(t, promtest.Store{Write: here.Write}, "bert-base")
	fill(t, promtest.Store{Write: there.Write}, "resnet50")
	cfg := configured(t, promtest.StartThanosQuery(t, here.GRPC, there.GRPC), "")
	at := now
	d := open(t, cfg, func() time.Time { return at })
	d.Read(t.Context())
	if got := line(t, d, "plancast_fleet_models"); got != "2" {
		t.Fatalf("it reads %q models of two stores", got)
	}
	const probability = `plancast_milestone_probability{milestone="spring"}`
	known := line(t, d, probability)

	there.Stop()
	at = at.Add(time.Minute)
	d.Read(t.Context())
	if got := line(t, d, "plancast_fleet_last_read_success"); got != "0" {
		t.Errorf("without one of two stores the reading succeeded: %q", got)
	}
	if got := line(t, d, probability); got != known || known == "" {
		t.Errorf("without one of two stores the probability becomes %q, it was %q", got, known)
	}
	fresh := open(t, cfg, func() time.Time { return at })
	fresh.Read(t.Context())
	if partial, models := line(t, fresh, "plancast_fleet_read_partial"), line(t, fresh, "plancast_fleet_models"); partial != "1" || models != "1" {
		t.Errorf("a new daemon reads %q models, partial: %q", models, partial)
	}
}

func TestAReadingThatAStoreRefusesSaysWhatToChange(t *testing.T) {
	const tenant = ", look_back: 30d, tenant: vision"
	for name, c := range map[string]struct {
		limits []string // of Mimir
		extra  string
		want   string // "" where pieces of a question keep the limit
	}{
		"no tenant":          {nil, "", "name your tenant as source.prometheus.tenant"},
		"too many samples":   {[]string{"-querier.query-engine=prometheus", "-querier.max-samples=1"}, tenant, "too many samples"},
		"too much memory":    {[]string{"-querier.max-estimated-memory-consumption-per-query=100"}, tenant, "configure -querier.max-estimated-memory-consumption-per-query"},
		"too many series":    {[]string{"-querier.max-fetched-series-per-query=1"}, tenant, "configure -querier.max-fetched-series-per-query"},
		"too long a history": {[]string{"-query-frontend.max-total-query-length=1d"}, tenant, "configure -query-frontend.max-total-query-length"},
		"a history that is too long for one query": {[]string{"-query-frontend.max-total-query-length=10d"}, tenant, ""},
		"too long a query":                         {[]string{"-query-frontend.max-query-expression-size-bytes=20"}, tenant, "configure -query-frontend.max-query-expression-size-bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			store := promtest.StartMimir(t, "30y", c.limits...)
			fill(t, store, "bert-base")
			d := open(t, configured(t, store.URL, c.extra), func() time.Time { return now })
			d.Read(t.Context())
			status, body := get(d, "/-/ready")
			if (status == http.StatusOK) != (c.want == "") || !strings.Contains(body, c.want) {
				t.Errorf("%d %s", status, body)
			}
		})
	}
}
