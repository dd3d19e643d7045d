package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/log"

	"github.com/plancast/plancast/grafana-plugin/pkg/promtest"
)

// large serves the histories of many models, as Prometheus answers the
// plugin's questions for changes.
func large(b *testing.B, models, iterations int) string {
	b.Helper()
	backend.Logger = log.NewNullLogger()
	type family struct {
		name string
		of   func(promtest.Result) float64
	}
	families := []family{
		{"plancast_iteration_timestamp_seconds", func(r promtest.Result) float64 { return float64(r.Time.Unix()) }},
		{"plancast_iteration", func(r promtest.Result) float64 { return float64(r.Number) }},
		{"plancast_engine_latency_seconds", func(r promtest.Result) float64 { return r.P99 }},
	}
	bodies := make([][]byte, len(families))
	first := now.Add(-360 * 24 * time.Hour)
	for k, f := range families {
		var s strings.Builder
		s.WriteString(`{"status":"success","data":{"resultType":"matrix","result":[`)
		for m := range models {
			if m > 0 {
				s.WriteByte(',')
			}
			fmt.Fprintf(&s, `{"metric":{"model":"model-%04d","precision":"int8","backend":"tensorrt","device":"NVIDIA L4"},"values":[`, m)
			for i, r := range promtest.Improving(uint64(m), iterations, first, 43*time.Hour, 0.09, 0.03, "e") {
				if i > 0 {
					s.WriteByte(',')
				}
				fmt.Fprintf(&s, `[%d,"%g"]`, r.Time.Add(time.Hour).Truncate(time.Hour).Unix(), f.of(r))
			}
			s.WriteString(`]}`)
		}
		s.WriteString(`]}}`)
		bodies[k] = []byte(s.String())
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.FormValue("query")
		w.Header().Set("Content-Type", "application/json")
		for k, f := range families {
			if strings.Contains(q, f.name) {
				_, _ = w.Write(bodies[k])
				return
			}
		}
		_, _ = w.Write([]byte(`{"status":"success","data":{"resultType":"matrix","result":[]}}`))
	}))
	b.Cleanup(server.Close)
	return server.URL
}

func instance(b *testing.B, url string) *Datasource {
	b.Helper()
	clock := now
	d, err := newAt(context.Background(), backend.DataSourceInstanceSettings{URL: url, JSONData: json.RawMessage(`{}`)}, func() time.Time { return clock })
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(d.Dispose)
	return d
}

func ask(b *testing.B, d *Datasource, qs ...query) {
	req := &backend.QueryDataRequest{}
	for i, q := range qs {
		req.Queries = append(req.Queries, q.data(fmt.Sprint(i)))
	}
	r, err := d.QueryData(context.Background(), req)
	if err != nil {
		b.Error(err)
		return
	}
	for id, x := range r.Responses {
		if x.Error != nil || len(x.Frames) == 0 || len(x.Frames[0].Fields) == 0 {
			b.Errorf("%s: %v", id, x.Error)
		}
	}
}

func joint(n int) query {
	return query{"type": "probability", "joint": true, "share": 80, "iterations": n, "criteria": []any{criterion("plancast_engine_latency_seconds", "<", "40ms", "seconds")}}
}

// BenchmarkJoint1000x200 is a milestone over 1,000 series of 200 iterations
// whose histories are cached: computed anew, and asked again by others who
// load the same dashboard.
func BenchmarkJoint1000x200(b *testing.B) { computed(b, 1000, joint(5)) }

// BenchmarkOneSeries is one series of 200 iterations whose history is cached.
func BenchmarkOneSeries(b *testing.B) {
	q := joint(5)
	q["joint"] = false
	computed(b, 1, q)
}

func computed(b *testing.B, models int, q query) {
	d := instance(b, large(b, models, 200))
	ask(b, d, q)
	b.Run("computed", func(b *testing.B) {
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			n++
			q["ready"] = 90 + float64(n)/1e6 // another question about the same histories
			ask(b, d, q)
		}
	})
	b.Run("again", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ask(b, d, q)
		}
	})
}

// Benchmark100Dashboards loads a dashboard of four panels on a 1,000-series
// milestone 100 times at once, nothing cached before: to stay under 300 MB,
// the fake server's own answers in the same process included.
func Benchmark100Dashboards(b *testing.B) {
	url := large(b, 1000, 200)
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(MemoryLimit)) // as main does
	var peak uint64
	for b.Loop() {
		d := instance(b, url)
		done := make(chan struct{})
		var watch sync.WaitGroup
		watch.Go(func() {
			t := time.NewTicker(5 * time.Millisecond)
			defer t.Stop()
			for {
				select {
				case <-done:
					return
				case <-t.C:
					var m runtime.MemStats
					runtime.ReadMemStats(&m)
					peak = max(peak, m.HeapInuse+m.StackInuse)
				}
			}
		})
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				drivers := joint(5)
				drivers["type"] = "drivers"
				each := joint(5)
				each["joint"] = false
				ask(b, d, joint(5), joint(10), drivers, each)
			})
		}
		wg.Wait()
		close(done)
		watch.Wait()
	}
	b.ReportMetric(float64(peak)/1e6, "peak-MB")
}
