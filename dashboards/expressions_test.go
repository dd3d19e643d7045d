// Package dashboards_test holds the dashboards against everything they depend
// on: the metrics that the code exports and the rules record, their own
// variables and links, the questions of the plugin.
package dashboards_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"github.com/plancast/plancast/exporter/metrics"
)

// known are the metrics that may be asked for, with their labels.
func known(t *testing.T) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	scraped := []string{"job", "instance"}
	for _, f := range metrics.Families() {
		labels := slices.Concat(scraped, f.Labels)
		if f.Type == metrics.Summary {
			labels = append(labels, "quantile")
			out[f.Name+"_sum"], out[f.Name+"_count"] = labels, labels
		}
		out[f.Name] = labels
	}
	var rules struct {
		Groups []struct {
			Rules []struct{ Record, Expr string }
		}
	}
	text, err := os.ReadFile("../alerts/plancast.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &rules); err != nil {
		t.Fatal(err)
	}
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			if r.Record != "" {
				out[r.Record] = []string{"job", "instance", "model", "milestone", "backend", "device"}
			}
		}
	}
	return out
}

// expressions are the PromQL of a dashboard, by where they stand.
func (d dashboard) expressions() map[string]string {
	out := map[string]string{}
	note := func(where string, target object) {
		if e, ok := target["expr"].(string); ok {
			out[where] = e
		}
		criteria, _ := target["criteria"].([]any)
		for i, c := range criteria {
			if e, ok := c.(object)["expr"].(string); ok {
				out[fmt.Sprintf("%s, criterion %d", where, i+1)] = e
			}
		}
	}
	for _, p := range d.Panels {
		for _, target := range p.Targets {
			note(fmt.Sprintf("panel %q, query %v", p.Title, target["refId"]), target)
		}
	}
	for _, v := range d.Templating.List {
		if q, ok := v.Query.(object); ok {
			if text, ok := q["query"].(string); ok {
				if m := regexp.MustCompile(`^label_values\((.*), \w+\)$`).FindStringSubmatch(text); m != nil {
					out["variable "+v.Name] = m[1]
				}
			}
		}
	}
	return out
}

func TestEveryExpressionAsksForWhatExists(t *testing.T) {
	metrics := known(t)
	read := parser.NewParser(parser.Options{})
	for _, d := range dashboards(t) {
		n := 0
		for where, text := range d.expressions() {
			n++
			text = strings.NewReplacer("$__interval", "2h").Replace(text)
			text = variable.ReplaceAllString(text, "x")
			e, err := read.ParseExpr(text)
			if err != nil {
				t.Errorf("%s: %s: %v", d.file, where, err)
				continue
			}
			parser.Inspect(e, func(node parser.Node, _ []parser.Node) error {
				s, ok := node.(*parser.VectorSelector)
				if !ok {
					return nil
				}
				labels, exists := metrics[s.Name]
				if !exists {
					t.Errorf("%s: %s: nobody exports %s", d.file, where, s.Name)
					return nil
				}
				for _, m := range s.LabelMatchers {
					if m.Name != "__name__" && !slices.Contains(labels, m.Name) {
						t.Errorf("%s: %s: %s has no label %s", d.file, where, s.Name, m.Name)
					}
				}
				return nil
			})
		}
		if n == 0 {
			t.Errorf("%s has no expressions", d.file)
		}
	}
}

func TestQuestionsOfThePluginExist(t *testing.T) {
	types := []string{"probability", "trend", "forecast", "when", "report", "drivers", "record", "annotations"}
	for _, d := range dashboards(t) {
		var targets []object
		for _, p := range d.Panels {
			targets = append(targets, p.Targets...)
		}
		for _, a := range d.Annotations.List {
			if a.Target != nil {
				targets = append(targets, a.Target)
			}
		}
		for _, target := range targets {
			if target["expr"] != nil {
				continue
			}
			kind, _ := target["type"].(string)
			if !slices.Contains(types, kind) {
				t.Errorf("%s: the plugin has no question %q", d.file, kind)
			}
			// Criteria in two units would need two axes, with a target on each.
			if kind == "forecast" && target["source"] == "milestone" && target["criterion"] == nil {
				t.Errorf("%s: a forecast draws every criterion of a milestone in one panel", d.file)
			}
		}
	}
}
