package prom

import (
	"fmt"

	"github.com/plancast/plancast/terms"
)

// ParseFilters reads matchers as PromQL writes them: {job="plancast",
// device=~"NVIDIA H.*"}. "" has none.
func ParseFilters(text string) ([]Filter, error) {
	if text == "" {
		return nil, nil
	}
	matchers, err := syntax.ParseMetricSelector(text)
	if err != nil {
		return nil, &terms.Invalid{Field: "selector", Reason: fmt.Sprintf("%v, in %s", err, shorten(text))}
	}
	var out []Filter
	for _, m := range matchers {
		out = append(out, Filter{Key: m.Name, Operator: m.Type.String(), Value: m.Value})
	}
	return out, nil
}
