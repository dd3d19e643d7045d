package models

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/tsdb/iterations"
)

var now = time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)

func defaults(t testing.TB) Settings {
	t.Helper()
	s, err := LoadSettings(backend.DataSourceInstanceSettings{URL: "http://localhost:9090"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func parse(t testing.TB, text string) (Query, error) {
	t.Helper()
	return ParseQuery(backend.DataQuery{JSON: []byte(text), TimeRange: backend.TimeRange{To: now}}, defaults(t))
}

func TestRefusedSettingsNameTheirPlace(t *testing.T) {
	for _, c := range []struct{ url, json, want string }{
		{"", `{}`, "URL: enter the address"},
		{"localhost:9090", `{}`, "URL: it must be an address"},
		{"ftp://x", `{}`, "URL: it must be an address"},
		{"http://u:p@x", `{}`, "URL: leave user and password out"},
		{"http://x", `{`, "settings: jsonData cannot be read"},
		{"http://x", `{"httpMethod":"PUT"}`, `HTTP method: "PUT" is neither GET nor POST`},
		{"http://x", `{"history":"soon"}`, `history: "soon" is not a duration`},
		{"http://x", `{"resolution":"1ms"}`, `resolution: "1ms" is not a duration of at least 1s`},
		{"http://x", `{"defaultHorizon":-1}`, "default horizon: -1 is not between 1 and 1000"},
		{"http://x", `{"maxSeries":9999999}`, "maximal series: 9999999 is not between"},
		{"http://x", `{"cacheSeconds":-1}`, "cache seconds: -1 is not between"},
	} {
		_, err := LoadSettings(backend.DataSourceInstanceSettings{URL: c.url, JSONData: []byte(c.json)})
		if err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, terms.ErrInvalid) {
			t.Errorf("%s %s: %v, want %q", c.url, c.json, err, c.want)
		}
	}
}

func TestRefusedQueriesNameTheirPlace(t *testing.T) {
	const good = `"expr":"a","comparison":"<","target":"1"`
	for text, want := range map[string]string{
		`{`:                             "query: it cannot be read",
		`{"type":"riddle"}`:             `question: "riddle" is not a query type`,
		`{"criteria":[]}`:               "criteria: state at least one",
		`{"criteria":[{"target":"1"}]}`: "expression: enter a PromQL expression",
		`{"criteria":[{` + good + `},{"expr":"b","target":"x"}]}`:                               `target of criterion 2: "x" is not a number`,
		`{"criteria":[{"expr":"a","target":"soon","unit":"seconds"}]}`:                          `target: "soon" is not a time`,
		`{"criteria":[{"expr":"a","target":"1","unit":"miles"}]}`:                               `unit: "miles" is not a unit`,
		`{"criteria":[{"expr":"a","target":"1","comparison":"=="}]}`:                            `comparison: "==" is not one`,
		`{"criteria":[{` + good + `}],"iterations":0}`:                                          "iterations: 0 is not between",
		`{"criteria":[{` + good + `}],"share":0}`:                                               "share of models",
		`{"criteria":[{` + good + `}],"ready":100}`:                                             "ready probability",
		`{"criteria":[{` + good + `}],"effort":"hard"}`:                                         `effort: "hard" is neither active nor maintenance`,
		`{"criteria":[{` + good + `}],"horizon":"date"}`:                                        `date: "" is not a date`,
		`{"criteria":[{` + good + `}],"horizon":"never"}`:                                       `horizon: "never" is not one`,
		`{"criteria":[{` + good + `}],"by":"guess"}`:                                            `iterations: "guess" is not a way`,
		`{"criteria":[{` + good + `}],"models":"("}`:                                            "models: ",
		`{"criteria":[{` + good + `}],"criterion":"("}`:                                         "criterion: ",
		`{"criteria":[{` + good + `}],"history":"1y2"}`:                                         "history: ",
		`{"criteria":[{` + good + `}],"environmentLabel":"a-b"}`:                                "environment label: ",
		`{"criteria":[{` + good + `}],"adhocFilters":[{"key":"a","operator":"<","value":"b"}]}`: "filter 1: ",
		`{"source":"milestone"}`:                                                                "milestone: choose one",
		`{"type":"when","show":"pie"}`:                                                          `show: "pie" is not one of`,
	} {
		if _, err := parse(t, text); err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, terms.ErrInvalid) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestDefaultsOfAQuery(t *testing.T) {
	q, err := parse(t, `{"criteria":[{"expr":"plancast_engine_latency_seconds{precision=\"int8\", quantile=\"0.99\"}","target":"50ms","unit":"seconds"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	if q.Type != Probability || q.Iterations != 5 || !q.Deadline.IsZero() || q.By != iterations.BySeries || q.Share != 1 || q.Ready != 0.9 ||
		q.History != terms.LookBack || q.TimeOf != terms.TimestampSeries || q.Criteria[0].String() != "P99 latency < 50 ms" {
		t.Errorf("got %+v", q)
	}
}

func TestTitles(t *testing.T) {
	for expr, want := range map[string]string{
		`plancast_engine_latency_seconds{quantile="0.99"}`:                               "P99 latency",
		`plancast_engine_latency_seconds{model="a", quantile="0.95"}`:                    "P95 latency",
		`plancast_engine_latency_seconds{model="a"}`:                                     `plancast_engine_latency_seconds`,
		`plancast_engine_throughput_inferences_per_second{precision="int8"}`:             "throughput",
		`plancast_workload_latency_seconds{quantile="0.99", model="a", workload="chat"}`: "P99 latency of chat",
		`plancast_workload_goodput_requests_per_second{workload="chat"}`:                 "goodput of chat",
		`plancast_workload_goodput_requests_per_second{workload=~"c.*"}`:                 "plancast_workload_goodput_requests_per_second",
		`up`: "up",
		`histogram_quantile(0.99, sum by (le) (rate(x_bucket[5m])))`: "histogram_quantile",
	} {
		if got := Title(expr); got != want {
			t.Errorf("%s: got %q, want %q", expr, got, want)
		}
	}
}

func FuzzParseQuery(f *testing.F) {
	for _, s := range []string{
		`{"type":"probability","criteria":[{"expr":"a","comparison":"<","target":"50ms","unit":"seconds"}],"joint":true,"share":80}`,
		`{"type":"when","show":"distribution","criteria":[{"expr":"a","target":1}],"horizon":"both","deadline":"now+30d","iterations":3}`,
		`{"source":"milestone","milestone":"launch"}`, `{"type":"report"}`, `[]`, `{"share":1e999}`, `{"criteria":[{"expr":"a","target":"NaN"}]}`,
	} {
		f.Add([]byte(s))
	}
	s := defaults(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := ParseQuery(backend.DataQuery{JSON: json.RawMessage(b), TimeRange: backend.TimeRange{To: now}}, s)
		if err != nil {
			if !errors.Is(err, terms.ErrInvalid) {
				t.Errorf("an error without its place: %v", err)
			}
			return
		}
		for _, c := range q.Criteria {
			if err := c.Validate(); err != nil {
				t.Errorf("accepted a criterion that is none: %v", err)
			}
		}
		own := q.Milestone != "" && (q.Share == 0 || q.Ready == 0) // taken from the exporter
		if (q.Share <= 0 || q.Ready <= 0) && !own || q.Share > 1 || q.Ready >= 1 || q.Iterations < 0 || q.Iterations > terms.MaxHorizon || q.History > terms.MaxLookBack {
			t.Errorf("accepted %+v", q)
		}
	})
}
