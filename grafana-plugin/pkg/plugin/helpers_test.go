package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/instancemgmt"
	"github.com/grafana/grafana-plugin-sdk-go/backend/log"
	"github.com/grafana/grafana-plugin-sdk-go/data"
	"github.com/grafana/grafana-plugin-sdk-go/experimental/datasourcetest"
	"go.uber.org/goleak"

	"github.com/plancast/plancast/tsdb/promtest"
)

// plugin is the one that all tests ask: a process can serve only one, as in
// Grafana. Each test has data source instances of its own.
var plugin = sync.OnceValues(func() (datasourcetest.TestPlugin, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return datasourcetest.TestPlugin{}, err
	}
	address := l.Addr().String()
	l.Close()
	served = true
	return datasourcetest.Manage(func(ctx context.Context, s backend.DataSourceInstanceSettings) (instancemgmt.Instance, error) {
		d, err := newAt(ctx, s, func() time.Time { return now })
		if err != nil {
			return nil, err
		}
		return d, nil
	}, datasourcetest.ManageOpts{Address: address})
})

var (
	served    bool // whether the plugin was started
	instances atomic.Int64
)

func TestMain(m *testing.M) {
	backend.Logger = log.NewNullLogger()
	code := m.Run()
	if served {
		if p, err := plugin(); err == nil {
			_ = p.Shutdown()
		}
	}
	if code == 0 {
		if err := goleak.Find(
			// The SDK's instance manager lives as long as the process.
			goleak.IgnoreAnyFunction("github.com/grafana/grafana-plugin-sdk-go/backend/datasource.NewInstanceManager"),
			goleak.IgnoreTopFunction("github.com/patrickmn/go-cache.(*janitor).Run"),
			goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"),
		); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines are left:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// begin and now are the time span of the tests' history.
var (
	begin = time.Date(2026, 8, 3, 9, 0, 0, 0, time.UTC)
	now   = time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)
)

// source is a data source that answers over gRPC.
type source struct {
	t        testing.TB
	plugin   datasourcetest.TestPlugin
	settings backend.DataSourceInstanceSettings
}

// serve runs the plugin the way Grafana does, against the API at url.
func serve(t testing.TB, url string, jsonData map[string]any, secrets map[string]string) *source {
	t.Helper()
	p, err := plugin()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(jsonData)
	if err != nil {
		t.Fatal(err)
	}
	if jsonData == nil {
		raw = []byte(`{}`)
	}
	return &source{t, p, backend.DataSourceInstanceSettings{
		ID: 1, UID: fmt.Sprintf("test-%d", instances.Add(1)), Name: "plancast", Type: ID, URL: url, JSONData: raw, DecryptedSecureJSONData: secrets, Updated: now,
	}}
}

func (s *source) context() backend.PluginContext {
	return backend.PluginContext{Namespace: "default", PluginID: ID, DataSourceInstanceSettings: &s.settings}
}

// query is one question in the editor's JSON.
type query map[string]any

func (q query) data(refID string) backend.DataQuery {
	b, err := json.Marshal(q)
	if err != nil {
		panic(err)
	}
	return backend.DataQuery{
		RefID: refID, JSON: b, MaxDataPoints: 50, Interval: time.Hour,
		TimeRange: backend.TimeRange{From: begin, To: now},
	}
}

// ask sends queries by refId.
func (s *source) ask(queries map[string]query) backend.Responses {
	s.t.Helper()
	req := &backend.QueryDataRequest{PluginContext: s.context(), Headers: map[string]string{}}
	for id, q := range queries {
		req.Queries = append(req.Queries, q.data(id))
	}
	r, err := s.plugin.Client.QueryData(context.Background(), req)
	if err != nil {
		s.t.Fatal(err)
	}
	return r.Responses
}

// one sends one query and expects an answer.
func (s *source) one(q query) data.Frames {
	s.t.Helper()
	r := s.ask(map[string]query{"A": q})["A"]
	if r.Error != nil {
		s.t.Fatalf("%v: %v", q, r.Error)
	}
	return r.Frames
}

const p99 = `plancast_engine_latency_seconds{quantile="0.99"}`

func criterion(expr, comparison, target, unit string) map[string]string {
	return map[string]string{"expr": expr, "comparison": comparison, "target": target, "unit": unit}
}

// engines are two models at two precisions.
func engines() []promtest.Engine {
	var out []promtest.Engine
	for i, m := range []string{"bert-base", "resnet50"} {
		for k, p := range []string{"fp16", "int8"} {
			from := 0.085 + 0.02*float64(i) - 0.015*float64(k)
			out = append(out, promtest.Engine{
				Model: m, Precision: p, Backend: "tensorrt", Device: "NVIDIA L4",
				Results: promtest.Improving(uint64(10*i+k), 24, begin.Add(time.Hour), 56*time.Hour, from, 0.03, "3fa91c07b2de"),
			})
		}
	}
	return out
}

func history() promtest.History {
	return promtest.History{
		Engines: engines(), Until: now, Scrape: 5 * time.Minute,
		Milestones: []promtest.Published{
			{Name: "launch", Criterion: "p99 < 50 ms", Met: func(r promtest.Result) bool { return r.P99 < 0.05 }, Precision: "int8", Deadline: now.AddDate(0, 0, 30)},
		},
		Failures: []promtest.Failure{{Model: "resnet50", Kind: "build_failed", Time: begin.Add(20 * 24 * time.Hour)}},
	}
}

func show(f *data.Frame) string {
	s := f.Name
	for _, x := range f.Fields {
		s += fmt.Sprintf(" %s%v:", x.Name, x.Labels)
		for i := range min(x.Len(), 3) {
			if v, ok := x.ConcreteAt(i); ok {
				s += fmt.Sprint(" ", v)
			}
		}
	}
	if f.Meta != nil {
		for _, n := range f.Meta.Notices {
			s += "\n    " + n.Severity.String() + ": " + n.Text
		}
	}
	return s
}
