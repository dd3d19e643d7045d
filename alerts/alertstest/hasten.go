package alertstest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

const (
	// Faster is by how much Hasten shortens.
	Faster = 600
	// shortest keeps programs on a loaded machine able to follow.
	shortest = time.Second
)

// waiting are the keys of Prometheus' rules and configuration and of
// Alertmanager's whose values say how long or how often, and nothing about
// what is meant.
var waiting = []string{
	"scrape_interval", "evaluation_interval", // prometheus.yml
	"interval", "for", "keep_firing_for", // rules
	"group_wait", "group_interval", "repeat_interval", // alertmanager.yml
}

// kept are keys whose durations are no waiting: how long an alert stands that
// somebody posted without an end, which Prometheus never does.
var kept = []string{"resolve_timeout"}

// likeDuration is what a duration looks like as a whole value.
var likeDuration = regexp.MustCompile(`^[0-9]+(ms|s|m|h|d|w|y)$`)

// Hasten divides the waiting in a configuration of Prometheus or Alertmanager
// by Faster, down to a second, so that a test sees within seconds what takes
// minutes and hours. Every other byte stays: expressions with their windows
// and limits, labels, annotations, routes, inhibition. A duration under a key
// that it does not know is an error: whoever adds one has to say whether it is
// waiting.
func Hasten(text string) (string, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		return "", err
	}
	lines := strings.Split(text, "\n")
	var walk func(key string, n *yaml.Node) error
	walk = func(key string, n *yaml.Node) error {
		switch n.Kind {
		case yaml.MappingNode:
			// From the end, so that a change leaves the columns before it.
			for i := len(n.Content) - 2; i >= 0; i -= 2 {
				if err := walk(n.Content[i].Value, n.Content[i+1]); err != nil {
					return err
				}
			}
		case yaml.ScalarNode:
			if !slices.Contains(waiting, key) {
				if likeDuration.MatchString(n.Value) && !slices.Contains(kept, key) {
					return fmt.Errorf("line %d: %s is a duration under the unknown key %q: add the key to alertstest.Hasten", n.Line, n.Value, key)
				}
				return nil
			}
			d, err := model.ParseDuration(n.Value)
			if err != nil {
				return fmt.Errorf("line %d: %s: %w", n.Line, key, err)
			}
			if d == 0 {
				return nil
			}
			line := lines[n.Line-1]
			before, after, found := line[:n.Column-1], line[n.Column-1:], false
			if after, found = strings.CutPrefix(after, n.Value); !found {
				return fmt.Errorf("line %d: %s: write %s without quotes", n.Line, key, n.Value)
			}
			lines[n.Line-1] = before + model.Duration(max(time.Duration(d)/Faster, shortest)).String() + after
		default:
			for _, c := range slices.Backward(n.Content) {
				if err := walk(key, c); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := walk("", &doc); err != nil {
		return "", err
	}
	return strings.Join(lines, "\n"), nil
}
