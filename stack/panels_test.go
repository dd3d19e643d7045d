package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/stack/demo"
	"github.com/plancast/plancast/stack/local"
)

type object = map[string]any

// board is a dashboard as far as its questions go.
type board struct {
	UID        string
	Time       struct{ From, To string }
	Templating struct {
		List []struct {
			Name, Type string
			Query      any
			Multi      bool
			Sort       int
		}
	}
	Annotations struct{ List []struct{ Target object } }
	Panels      []struct {
		Title, TimeFrom string
		Targets         []object
	}
}

// The smoke test runs beside the stack: make stack-test. It asks every question
// of every panel, as a visitor who opens the dashboards for the first time
// would: through Grafana, or Prometheus' own without one.
func TestEveryPanelHasData(t *testing.T) {
	prometheus, grafana := os.Getenv("PROMETHEUS_URL"), os.Getenv("GRAFANA_URL")
	if prometheus == "" || os.Getenv("PLANCAST_URL") == "" {
		t.Skip("no stack is running: make stack-test")
	}
	for _, b := range boards(t) {
		chosen := map[string]string{}
		if b.UID == "plancast-engines" {
			chosen["model"] = demo.Generative // the only one with a result in each panel
		}
		t.Run(b.UID, func(t *testing.T) {
			askAll(t, b, chosen, prometheus, grafana)
		})
		if b.UID == "plancast-milestones" {
			t.Run(b.UID+" of the fleet", func(t *testing.T) {
				askAll(t, b, map[string]string{"milestone": demo.FleetMilestone}, prometheus, grafana)
			})
		}
	}
}

// The fleet daemon's milestone counts the models of every host, each as one of its own.
func TestAMilestoneCoversBothHosts(t *testing.T) {
	prometheus, fleet := os.Getenv("PROMETHEUS_URL"), os.Getenv("FLEET_URL")
	if prometheus == "" || fleet == "" {
		t.Skip("no stack is running: make stack-test")
	}
	want := strconv.Itoa(len(demo.Hosts) * len(demo.Both))
	await(t, local.Patience, func() (complaints []string) {
		for query, want := range map[string]string{
			`plancast_milestone_models_selected{milestone="` + demo.FleetMilestone + `",instance="` + demo.Fleet + `"}`: want,
			`count(count by (model, device) (plancast_engine_target_met{milestone="` + demo.FleetMilestone + `"}))`:     want,
			`count(plancast_milestone_probability{milestone="` + demo.FleetMilestone + `"})`:                            "1",
		} {
			if got, err := value(prometheus, query); err != nil || got != want {
				complaints = append(complaints, fmt.Sprintf("%s is %q, want %s (%v)", query, got, want, err))
			}
		}
		return complaints
	})
	var report struct {
		Models []struct{ Labels map[string]string }
	}
	if err := get(fleet+"/api/v1/report", &report); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, m := range report.Models {
		seen[m.Labels["instance"]]++
	}
	for _, host := range demo.Hosts {
		if seen[string(host)] < len(demo.Both) {
			t.Errorf("the fleet's report has %d models of %s: %v", seen[string(host)], host, seen)
		}
	}
}

// value is that of the only series that a query finds.
func value(base, query string) (string, error) {
	var answer struct {
		Data struct{ Result []struct{ Value [2]any } }
	}
	if err := get(base+"/api/v1/query?"+url.Values{"query": {query}}.Encode(), &answer); err != nil {
		return "", err
	}
	if n := len(answer.Data.Result); n != 1 {
		return "", fmt.Errorf("%d series", n)
	}
	return fmt.Sprint(answer.Data.Result[0].Value[1]), nil
}

func boards(t *testing.T) (out []board) {
	t.Helper()
	files, err := filepath.Glob("../dashboards/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no dashboards: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var b board
		if err := json.Unmarshal(text, &b); err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

// askAll asks every question of a dashboard until each has data. chosen are values of
// variables that a visitor has chosen.
func askAll(t *testing.T, b board, chosen map[string]string, prometheus, grafana string) {
	t.Helper()
	sources := os.Getenv("GRAFANA_SOURCES")
	v := variables{prometheus: prometheus, values: map[string]string{"prometheus": sources + "prometheus", "plancast": sources + "plancast"}, chosen: chosen}
	v.choose(t, b)
	answered := 0
	// What is scraped has to be there for the rules to be evaluated a second time.
	await(t, local.Patience, func() (complaints []string) {
		answered = 0
		for _, p := range b.Panels {
			for _, target := range p.Targets {
				target = v.in(target).(object)
				if grafana == "" && target["expr"] == nil {
					continue
				}
				answered++
				now := time.Now()
				from, to := now.AddDate(0, 0, -90), now.AddDate(0, 0, 30)
				if p.TimeFrom != "" {
					from, to = now.Add(-time.Hour), now
				}
				var err error
				if grafana == "" {
					err = askPrometheus(prometheus, target, from, to)
				} else {
					err = askGrafana(grafana, target, from, to)
				}
				if err != nil {
					complaints = append(complaints, fmt.Sprintf("panel %q, query %v: %v", p.Title, target["refId"], err))
				}
			}
		}
		for _, a := range b.Annotations.List {
			if grafana != "" && a.Target["type"] == "annotations" {
				target := v.in(a.Target).(object)
				target["datasource"] = object{"uid": v.values["plancast"]}
				if err := askGrafana(grafana, target, time.Now().AddDate(0, 0, -90), time.Now()); err != nil {
					complaints = append(complaints, fmt.Sprintf("annotations: %v", err))
				}
			}
		}
		return complaints
	})
	t.Logf("%d queries answered with data", answered)
}

// variables are what a fresh dashboard chooses, but for what is chosen.
type variables struct {
	prometheus     string
	values, chosen map[string]string
}

func (v variables) choose(t *testing.T, b board) {
	t.Helper()
	for _, x := range b.Templating.List {
		if value, ok := v.chosen[x.Name]; ok {
			v.values[x.Name] = value
			continue
		}
		switch q := x.Query.(type) {
		case string:
			if x.Type == "textbox" {
				v.values[x.Name] = q
			}
		case object:
			match, label := "plancast_milestone_probability", "milestone"
			if text, ok := q["query"].(string); ok {
				m := labelValues.FindStringSubmatch(v.text(text))
				if m == nil {
					t.Fatalf("variable %s asks %q", x.Name, text)
				}
				match, label = m[1], m[2]
			}
			var answer struct{ Data []string }
			if err := get(v.prometheus+"/api/v1/label/"+label+"/values?"+url.Values{"match[]": {match}}.Encode(), &answer); err != nil || len(answer.Data) == 0 {
				t.Fatalf("variable %s has no values: %v", x.Name, err)
			}
			slices.Sort(answer.Data)
			if x.Sort == 2 {
				slices.Reverse(answer.Data)
			}
			v.values[x.Name] = answer.Data[0]
			if x.Multi {
				v.values[x.Name] = "(" + strings.Join(answer.Data, "|") + ")"
			}
		}
	}
	v.values["__interval"] = "4h"
}

func (v variables) text(s string) string {
	return reference.ReplaceAllStringFunc(s, func(m string) string {
		if value, ok := v.values[reference.FindStringSubmatch(m)[1]]; ok {
			return value
		}
		return m
	})
}

// in is any part of a query with the variables' values.
func (v variables) in(x any) any {
	switch x := x.(type) {
	case string:
		return v.text(x)
	case object:
		out := object{}
		for k, y := range x {
			out[k] = v.in(y)
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i, y := range x {
			out[i] = v.in(y)
		}
		return out
	}
	return x
}

func get(address string, into any) error {
	r, err := http.Get(address)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	return json.NewDecoder(r.Body).Decode(into)
}

func askPrometheus(base string, target object, from, to time.Time) error {
	q := url.Values{"query": {target["expr"].(string)}}
	path := "/api/v1/query?"
	if target["instant"] != true {
		path = "/api/v1/query_range?"
		q.Set("start", strconv.FormatInt(from.Truncate(4*time.Hour).Unix(), 10))
		q.Set("end", strconv.FormatInt(to.Unix(), 10))
		q.Set("step", "4h")
	}
	var answer struct {
		Error string
		Data  struct{ Result []any }
	}
	if err := get(base+path+q.Encode(), &answer); err != nil {
		return err
	}
	if answer.Error != "" || len(answer.Data.Result) == 0 {
		return fmt.Errorf("no data: %s\n\t%s", answer.Error, target["expr"])
	}
	return nil
}

// askGrafana asks the way a panel does.
func askGrafana(base string, target object, from, to time.Time) error {
	target["intervalMs"], target["maxDataPoints"] = (4 * time.Hour).Milliseconds(), 700
	body, err := json.Marshal(object{"from": strconv.FormatInt(from.UnixMilli(), 10), "to": strconv.FormatInt(to.UnixMilli(), 10), "queries": []object{target}})
	if err != nil {
		return err
	}
	req, err := http.NewRequest(http.MethodPost, strings.TrimSuffix(base, "/")+"/api/ds/query", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if token := os.Getenv("GRAFANA_TOKEN"); token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	var answer struct {
		Message string
		Results map[string]struct {
			Error  string
			Frames []struct{ Data struct{ Values [][]any } }
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&answer); err != nil {
		return err
	}
	for _, result := range answer.Results {
		if result.Error != "" {
			return fmt.Errorf("%s", result.Error)
		}
		for _, f := range result.Frames {
			for _, column := range f.Data.Values {
				if slices.ContainsFunc(column, func(x any) bool { return x != nil }) {
					return nil
				}
			}
		}
	}
	return fmt.Errorf("no data (%s %s)", r.Status, answer.Message)
}
