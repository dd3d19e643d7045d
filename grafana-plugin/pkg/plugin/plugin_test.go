package plugin

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/tsdb/promtest"
)

var update = flag.Bool("update", false, "regenerate the golden frames")

const int8P99 = `plancast_engine_latency_seconds{quantile="0.99",precision="int8"}`

// expected is the series of an engine as its history was written, for package
// forecast, which is how the exporter asks it.
func expected(e promtest.Engine, target float64) forecast.Series {
	s := forecast.Series{Model: e.Model, Criterion: forecast.Criterion{Metric: "P99 latency", Comparison: forecast.Below, Target: target, Unit: "seconds"}}
	layers := 0
	for i, r := range e.Results {
		o := forecast.Observation{Time: r.Time, Value: r.P99, Environment: r.Environment, Valid: true}
		if e.Precision == "int8" && r.Unquantized > layers {
			layers = r.Unquantized
			o.Concern = fmt.Sprintf("%d layer stayed unquantized", layers)
		}
		// A candidate is finished when all its precisions are.
		for _, other := range engines() {
			if other.Model == e.Model && other.Results[i].Time.After(o.Time) {
				o.Time = other.Results[i].Time
			}
		}
		s.Observations = append(s.Observations, o)
	}
	return s
}

// Each engine learns from the others, in the plugin as here.
func TestTheProbabilityEqualsThatOfTheEvidenceItself(t *testing.T) {
	h := history()
	for _, form := range []struct {
		name   string
		scrape time.Duration
	}{{"scraped every 5 minutes", 5 * time.Minute}, {"written once a result, as an exported history", 0}} {
		t.Run(form.name, func(t *testing.T) {
			h.Scrape = form.scrape
			s := serve(t, promtest.Start(t, h.OpenMetrics()), nil, nil)
			for _, goal := range []struct {
				name string
				q    query
				goal forecast.Goal
			}{
				{"within 5 iterations", query{"iterations": 5}, forecast.Goal{Iterations: 5, Ready: 0.9}},
				{"by a date", query{"horizon": "date", "deadline": "2026-10-31T12:00:00Z"}, forecast.Goal{Deadline: now.AddDate(0, 0, 30), Ready: 0.9}},
			} {
				goal.q["type"], goal.q["criteria"] = "probability", []any{criterion(p99, "<", "40ms", "seconds")}
				frames := s.one(goal.q)
				if len(frames) != len(h.Engines) {
					t.Fatalf("%d answers for %d engines", len(frames), len(h.Engines))
				}
				evidence := make([]forecast.Series, len(h.Engines))
				for i, e := range h.Engines {
					evidence[i] = expected(e, 0.04)
				}
				others := forecast.Records(evidence, now)
				for i, e := range h.Engines {
					want, err := forecast.Single(evidence[i], goal.goal, now, forecast.Options{Others: others[i]})
					if err != nil {
						t.Fatal(err)
					}
					for _, f := range frames {
						l := f.Fields[0].Labels
						if l["model"] != e.Model || l["precision"] != e.Precision {
							continue
						}
						got, ok := f.Fields[0].ConcreteAt(0)
						if !ok || got.(float64) != want.Probability.Value {
							t.Errorf("%s %s %s: got %v, want exactly %v", e.Model, e.Precision, goal.name, got, want.Probability.Value)
						}
					}
				}
			}
		})
	}
}

func TestAScrapeGapIsNoMissingIteration(t *testing.T) {
	h := history()
	h.Engines = h.Engines[1:2]
	r := h.Engines[0].Results
	h.Engines[0].Results = append(r[:10:10], r[11:]...) // iteration 11 failed
	h.Gaps = [][2]time.Time{{begin.Add(20 * 24 * time.Hour), begin.Add(21 * 24 * time.Hour)}}
	s := serve(t, promtest.Start(t, h.OpenMetrics()), nil, nil)
	f := s.one(query{"type": "probability", "criteria": []any{criterion(p99, "<", "40ms", "seconds")}})[0]
	if notes := show(f); !strings.Contains(notes, "based on 23 iterations of the last 365 days; 1 missed") {
		t.Errorf("the evidence is not stated: %s", notes)
	}
}

func TestAnEngineWithoutEffectIsNoResultOfAMilestoneThatNamesItsPrecision(t *testing.T) {
	for _, c := range []struct {
		noEffect, met bool
	}{{false, true}, {true, false}} {
		h := history()
		h.Engines = h.Engines[1:2] // bert-base, int8
		for i := range h.Engines[0].Results {
			h.Engines[0].Results[i].P99 = 0.06
		}
		newest := &h.Engines[0].Results[len(h.Engines[0].Results)-1]
		newest.P99, newest.NoEffect = 0.04, c.noEffect
		s := serve(t, promtest.Start(t, h.OpenMetrics()), nil, nil)
		frames := s.one(query{"type": "probability", "source": "milestone", "milestone": "launch"})
		if p, err := frames[0].FloatAt(0, 0); err != nil || (p == 1) != c.met {
			t.Errorf("without effect %v: probability %v, %v\n%s", c.noEffect, p, err, show(frames[0]))
		}
	}
}

// Two criteria in different units have no axis in common, so a panel may draw one of them.
func TestAForecastDrawsTheCriterionThatItNames(t *testing.T) {
	s := serve(t, promtest.Start(t, history().OpenMetrics()), nil, nil)
	q := query{"type": "forecast", "models": "resnet50", "criteria": []any{
		criterion(int8P99, "<", "36ms", "seconds"), criterion(`plancast_engine_accuracy_deviation_ratio{precision="int8"}`, "<", "0.3%", "ratio"),
	}}
	drawn := func(only string) map[string]string {
		q["criterion"] = only
		out := map[string]string{}
		for _, f := range s.one(q) {
			value := f.Fields[1]
			out[value.Labels["criterion"]+" "+value.Labels["part"]+value.Labels["percentile"]] = show(data.NewFrame("", f.Fields...))
		}
		return out
	}
	all, one := drawn(""), drawn("P99.*")
	if len(all) != 10 || len(one) != 5 {
		t.Fatalf("%d lines of two criteria and %d of one; want 10 and 5", len(all), len(one))
	}
	for line, want := range all {
		if got, ok := one[line]; ok != strings.HasPrefix(line, "P99") || ok && got != want {
			t.Errorf("%s:\n%s\nand with both criteria\n%s", line, got, want)
		}
	}
	q["criterion"] = "p50.*"
	if r := s.ask(map[string]query{"A": q})["A"]; r.Error == nil || !strings.Contains(r.Error.Error(), "criterion: it matches none of P99 latency < 36 ms, ") {
		t.Errorf("a criterion that the query does not have: %v", r.Error)
	}
}

func TestNothingFromTheFutureIsInATrend(t *testing.T) {
	h := history()
	url := promtest.Start(t, h.OpenMetrics())
	whole := serve(t, url, nil, nil).one(query{"type": "trend", "criteria": []any{criterion(int8P99, "<", "40ms", "seconds")}, "models": "resnet50"})[0]
	// What is asked at a past moment, by a query that ends there, is what the trend shows at it.
	k := whole.Fields[0].Len() / 2
	at := whole.Fields[0].At(k).(time.Time)
	s := serve(t, url, nil, nil)
	q := query{"type": "probability", "criteria": []any{criterion(int8P99, "<", "40ms", "seconds")}, "models": "resnet50", "resolution": "10m", "history": "90d"}.data("A")
	q.TimeRange.To = at
	r, err := s.plugin.Client.QueryData(context.Background(), &backend.QueryDataRequest{PluginContext: s.context(), Queries: []backend.DataQuery{q}})
	if err != nil || r.Responses["A"].Error != nil {
		t.Fatal(err, r.Responses["A"].Error)
	}
	then, _ := r.Responses["A"].Frames[0].Fields[0].ConcreteAt(0)
	shown, _ := whole.Fields[1].ConcreteAt(k)
	if then != shown {
		t.Errorf("at %s the trend shows %v, asked then it was %v", at, shown, then)
	}
}

func TestOneFailingQueryHidesNoOther(t *testing.T) {
	s := serve(t, promtest.Start(t, history().OpenMetrics()), nil, nil)
	r := s.ask(map[string]query{
		"A": {"type": "probability", "criteria": []any{criterion(int8P99, "<", "40ms", "seconds")}},
		"B": {"type": "probability", "criteria": []any{criterion("a{", "<", "1", "")}},
		"C": {"type": "riddle"},
		"D": {"type": "probability", "criteria": []any{criterion("rate(plancast_iteration[5m", "<", "1", "")}},
		"E": {"type": "probability", "source": "milestone", "milestone": "no such"},
		"F": {"type": "probability", "by": "sample", "criteria": []any{criterion(int8P99, "<", "40ms", "seconds")}},
	})
	if r["A"].Error != nil || len(r["A"].Frames) != 2 {
		t.Errorf("A: %v", r["A"].Error)
	}
	for id, want := range map[string]string{
		"B": "parse error", "C": `question: "riddle" is not a query type`, "D": "parse error", "E": `published no "no such"`, "F": "every sample would be an iteration",
	} {
		x := r[id]
		if x.Error == nil || !strings.Contains(x.Error.Error(), want) || x.Status != backend.StatusBadRequest || x.ErrorSource != backend.ErrorSourceDownstream {
			t.Errorf("%s: %v, status %d, source %s; want %q", id, x.Error, x.Status, x.ErrorSource, want)
		}
	}
}

func TestHealthSaysWhatWasFound(t *testing.T) {
	up := serve(t, promtest.Start(t, history().OpenMetrics()), nil, nil)
	down := serve(t, "http://127.0.0.1:1", nil, map[string]string{"basicAuthPassword": "hunter2"})
	down.settings.BasicAuthEnabled, down.settings.BasicAuthUser = true, "reader"
	empty := serve(t, "", nil, nil)
	inURL := serve(t, "http://reader:hunter2@localhost:9090", nil, nil)
	for _, c := range []struct {
		s      *source
		status backend.HealthStatus
		want   string
	}{
		{up, backend.HealthStatusOk, `^Prometheus \d+\.\d+\.\S+, \d+ plancast series, newest result .* old$`},
		{down, backend.HealthStatusError, `^http://127\.0\.0\.1:1 cannot be reached: connect: connection refused$`},
		{empty, backend.HealthStatusError, `URL: enter the address`},
		{inURL, backend.HealthStatusError, `leave user and password out of the address`},
	} {
		r, err := c.s.plugin.Client.CheckHealth(context.Background(), &backend.CheckHealthRequest{PluginContext: c.s.context()})
		if err != nil {
			t.Fatal(err)
		}
		if r.Status != c.status || !regexp.MustCompile(c.want).MatchString(r.Message) || strings.Contains(r.Message, "hunter2") {
			t.Errorf("got %s %q, want %s %s", r.Status, r.Message, c.status, c.want)
		}
	}
}

func TestResources(t *testing.T) {
	s := serve(t, promtest.Start(t, history().OpenMetrics()), nil, nil)
	for path, want := range map[string]string{
		"values?of=models":     `["bert-base","resnet50"]`,
		"values?of=precisions": `["fp16","int8"]`,
		"values?of=milestones": `["launch"]`,
		"values?of=devices":    `["NVIDIA L4"]`,
		`values?label=quantile&match=plancast_engine_latency_seconds{model%3D"resnet50"}`: `["0.5","0.99"]`,
		`labels?match=plancast_engine_memory_bytes`:                                       `["backend","device","kind","model","precision"]`,
		"values?of=secrets":                 `{"message":"of: use milestones, models, precisions, devices or backends"}`,
		"values?label=a-b":                  `{"message":"label: it is not a label name"}`,
		"labels?match=sum(plancast_engine)": `{"message":"match: it is not a selector such as plancast_iteration{precision=\"int8\"}"}`,
	} {
		var got backend.CallResourceResponse
		err := s.plugin.Client.CallResource(context.Background(), &backend.CallResourceRequest{
			PluginContext: s.context(), Method: http.MethodGet, Path: strings.SplitN(path, "?", 2)[0], URL: path,
		}, backend.CallResourceResponseSenderFunc(func(r *backend.CallResourceResponse) error {
			got = *r
			return nil
		}))
		if err != nil || strings.TrimSpace(string(got.Body)) != want {
			t.Errorf("%s: got %s, %v, want %s", path, got.Body, err, want)
		}
	}
}
