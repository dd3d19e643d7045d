package plugin

import (
	"context"
	"html"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/tsdb"
	"github.com/plancast/plancast/tsdb/iterations"
)

// changes are what the changes were that led to candidates, by model and iteration.
type changes map[candidate][]said

type candidate struct {
	model     string
	iteration float64
}

// said is a change as an annotation has it, since the database knows of it.
type said struct {
	known time.Time
	text  string // HTML
}

// changes reads what the exporter says of the changes.
func (d *Datasource) changes(ctx context.Context, a *request) (changes, error) {
	q := a.Query
	q.By, q.Environment, q.Models = iterations.ByChange, "", ""
	q.Criteria = []tsdb.Criterion{{Expr: terms.ChangeSeries, Criterion: forecast.Criterion{Metric: "change", Comparison: forecast.AtLeast}}}
	h, err := d.loader.Load(ctx, q.Query, a.at, a.identity)
	if err != nil {
		return nil, err
	}
	out := changes{}
	for _, s := range h.Series {
		of := func(label string) string { return string(s.Labels[model.LabelName(label)]) }
		text := html.EscapeString(terms.ChangeText(of("kinds"), of("author"), of("commit"), of("branch")))
		if link := of("link"); strings.HasPrefix(link, "https://") || strings.HasPrefix(link, "http://") {
			text = strings.TrimSpace(text + ` <a href="` + html.EscapeString(link) + `" rel="noopener noreferrer" target="_blank">see the change</a>`)
		}
		for _, it := range s.Iterations {
			c := candidate{of("model"), it.Value}
			out[c] = append(out[c], said{it.Known, text})
		}
	}
	return out, nil
}

// text adds to the text of an annotation what led to the candidate. Iterations
// are counted again in another environment: of several the nearest in time counts.
func (c changes) text(text, name string, it iterations.Iteration) string {
	var nearest *said
	for i, s := range c[candidate{name, it.Number}] {
		if nearest == nil || s.known.Sub(it.Known).Abs() < nearest.known.Sub(it.Known).Abs() {
			nearest = &c[candidate{name, it.Number}][i]
		}
	}
	if nearest == nil || nearest.text == "" {
		return text
	}
	if text != "" {
		text += "; "
	}
	return text + nearest.text
}
