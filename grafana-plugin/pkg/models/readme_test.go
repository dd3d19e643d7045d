package models

import (
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// block is the first fenced block of a language in what follows a heading.
func block(t *testing.T, readme, heading, language string) string {
	t.Helper()
	_, text, ok := strings.Cut(readme, "### "+heading+"\n")
	_, text, found := strings.Cut(text, "```"+language+"\n")
	text, _, closed := strings.Cut(text, "```")
	if !ok || !found || !closed {
		t.Fatalf("the README has no block of %s below %q", language, heading)
	}
	return text
}

func TestTheREADMEDocumentsTheQuery(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	readme := string(text)
	q, err := parse(t, block(t, readme, "Query JSON", "json"))
	if err != nil || q.Type != Probability || len(q.Criteria) != 1 || q.Iterations != 5 || q.Deadline.IsZero() || !q.Interval {
		t.Errorf("the example: %v, %+v", err, q)
	}
	for i := range reflect.TypeFor[wire]().NumField() {
		key, _, _ := strings.Cut(reflect.TypeFor[wire]().Field(i).Tag.Get("json"), ",")
		if key != "adhocFilters" && !strings.Contains(readme, "`"+key) { // Grafana sets the filters
			t.Errorf("the README does not mention %s", key)
		}
	}

	var rules struct {
		Groups []struct {
			Rules []struct {
				Data []struct {
					Source string         `yaml:"datasourceUid"`
					Model  map[string]any `yaml:"model"`
				} `yaml:"data"`
			} `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal([]byte(block(t, readme, "Example alert rule", "yaml")), &rules); err != nil {
		t.Fatal(err)
	}
	model, err := json.Marshal(rules.Groups[0].Rules[0].Data[0].Model)
	if err != nil {
		t.Fatal(err)
	}
	if q, err := parse(t, string(model)); err != nil || q.Milestone != "spring" {
		t.Errorf("the alert rule's query: %v, %+v", err, q)
	}
}
