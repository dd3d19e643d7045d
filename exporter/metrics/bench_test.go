package metrics

import (
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/expfmt"

	"github.com/plancast/plancast/exporter/report/reporttest"
)

// BenchmarkScrape300x3 measures scrapes of 300 models at 3 precisions through a
// real HTTP server, the way Prometheus asks for them. It reports the 99th
// percentile of the time to the last byte, and how much the heap grew from the
// first scrapes to the last; run it with -benchtime=10000x for the figure that
// is promised.
func BenchmarkScrape300x3(b *testing.B) {
	for _, form := range []struct {
		name, accept string
		peer         bool
	}{
		{"text", "text/plain;version=0.0.4", false},
		{"openmetrics", "application/openmetrics-text;version=1.0.0", false},
		{"protobuf", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited", false},
		{"promhttp-text", "text/plain;version=0.0.4", true},
	} {
		b.Run(form.name, func(b *testing.B) {
			s := snapshot(b, reporttest.Many(300, 3))
			reg := prometheus.NewRegistry()
			c := NewCollector(s)
			handler := c.Handler(reg, nil)
			if form.peer {
				reg.MustRegister(c)
				handler = promhttp.HandlerFor(reg, promhttp.HandlerOpts{EnableOpenMetrics: true})
			}
			reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
			server := httptest.NewServer(handler)
			defer server.Close()
			client := server.Client()
			client.Transport.(*http.Transport).DisableCompression = true
			scrape := func() (int64, time.Duration) {
				req, err := http.NewRequest(http.MethodGet, server.URL, nil)
				if err != nil {
					b.Fatal(err)
				}
				req.Header.Set("Accept", form.accept)
				req.Header.Set("Accept-Encoding", "gzip")
				start := time.Now()
				res, err := client.Do(req)
				if err != nil {
					b.Fatal(err)
				}
				n, err := io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if err != nil || res.StatusCode != http.StatusOK {
					b.Fatal(res.Status, err)
				}
				return n, time.Since(start)
			}
			var size int64
			for range 20 {
				size, _ = scrape()
			}
			took := make([]time.Duration, 0, b.N)
			before := heap()
			b.ResetTimer()
			for range b.N {
				_, d := scrape()
				took = append(took, d)
			}
			b.StopTimer()
			grown := int64(heap()) - int64(before)
			slices.Sort(took)
			b.ReportMetric(took[min(len(took)-1, len(took)*99/100)].Seconds()*1000, "p99-ms")
			b.ReportMetric(took[len(took)/2].Seconds()*1000, "p50-ms")
			b.ReportMetric(float64(grown), "heap-growth-B")
			b.ReportMetric(float64(size), "wire-B")
			b.ReportMetric(float64(s.Len()), "metrics")
		})
	}
}

// heap is what is alive after two collections: pools give up their contents
// with the second.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkSnapshot300x3 makes a snapshot of 18,000 records and reports what it
// holds on to, with one format ready.
func BenchmarkSnapshot300x3(b *testing.B) {
	in := reporttest.Many(300, 20)
	state := reporttest.State(in)
	before := heap()
	s := snapshot(b, in)
	if _, err := s.exposition(expfmt.NewFormat(expfmt.TypeTextPlain)); err != nil {
		b.Fatal(err)
	}
	held := float64(heap()-before) / (1 << 20)
	runtime.KeepAlive(s)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewSnapshot(state, testBuild, 0); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(held, "held-MiB")
}
