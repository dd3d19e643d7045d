package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/log"
	"github.com/prometheus/common/model"

	"github.com/plancast/plancast/tsdb/promtest"
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
// whose histories are cached: computed again, and asked again by others who
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

// BenchmarkYearAt15s asks a real Prometheus for a year that was scraped every
// 15 seconds, 2.1 million samples a series, with nothing cached. Its peer pulls
// the raw samples of the one series that holds the value. points/op is how many
// samples crossed the network.
func BenchmarkYearAt15s(b *testing.B) {
	const scrape, results = 15 * time.Second, 200
	from := now.AddDate(-1, 0, 0)
	history := promtest.Improving(1, results, from.Add(time.Hour), 43*time.Hour, 0.09, 0.03, "e")
	upstream := promtest.StartFrom(b, func(w io.Writer) error {
		for _, f := range []struct {
			name string
			of   func(promtest.Result) float64
		}{
			{`plancast_engine_latency_seconds{model="m",quantile="0.99"}`, func(r promtest.Result) float64 { return r.P99 }},
			{`plancast_iteration{model="m"}`, func(r promtest.Result) float64 { return float64(r.Number) }},
			{`plancast_iteration_timestamp_seconds{model="m"}`, func(r promtest.Result) float64 { return float64(r.Time.Unix()) }},
		} {
			fmt.Fprintf(w, "# TYPE %s gauge\n", f.name[:strings.IndexByte(f.name, '{')])
			k := 0
			for t := history[0].Time; !t.After(now); t = t.Add(scrape) {
				for k+1 < results && !history[k+1].Time.After(t) {
					k++
				}
				if _, err := fmt.Fprintf(w, "%s %g %d\n", f.name, f.of(history[k]), t.Unix()); err != nil {
					return err
				}
			}
		}
		_, err := io.WriteString(w, "# EOF\n")
		return err
	})
	target, err := url.Parse(upstream)
	if err != nil {
		b.Fatal(err)
	}
	var points atomic.Int64
	sample := regexp.MustCompile(`\[\d+(\.\d+)?,"`)
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Set("Accept-Encoding", "identity") // to be counted
		},
		ModifyResponse: func(r *http.Response) error {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return err
			}
			points.Add(int64(len(sample.FindAllIndex(body, -1))))
			r.Body = io.NopCloser(bytes.NewReader(body))
			return nil
		},
	})
	b.Cleanup(server.Close)
	count := func(name string, f func(b *testing.B)) {
		b.Run(name, func(b *testing.B) {
			points.Store(0)
			for b.Loop() {
				f(b)
			}
			b.ReportMetric(float64(points.Load())/float64(b.N), "points/op")
		})
	}
	q := joint(5)
	count("plugin", func(b *testing.B) { ask(b, instance(b, server.URL), q) })
	count("raw", func(b *testing.B) {
		r, err := http.PostForm(server.URL+"/api/v1/query", url.Values{"query": {`plancast_engine_latency_seconds[1y]`}, "time": {fmt.Sprint(now.Unix())}})
		if err != nil {
			b.Fatal(err)
		}
		defer r.Body.Close()
		var all struct {
			Data struct{ Result model.Matrix }
		}
		if err := json.NewDecoder(r.Body).Decode(&all); err != nil || len(all.Data.Result) != 1 {
			b.Fatal(err, len(all.Data.Result))
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
