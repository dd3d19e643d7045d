package plugin

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/tsdb/prom"
)

// recent is how far back names and label values are looked for.
const recent = 30 * 24 * time.Hour

// maxValues bounds a list that is sent to the browser.
const maxValues = 10_000

// routes are what the editor asks for: names to complete, and values of
// variables.
func (d *Datasource) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", d.metricNames)
	mux.HandleFunc("GET /labels", d.labelNames)
	mux.HandleFunc("GET /values", d.values)
	return mux
}

// variables are the lists that a dashboard variable may take: what they are
// called, and where they come from.
var variables = map[string]struct{ label, series string }{
	"milestones": {"milestone", `{__name__=~"plancast_milestone_.+|plancast_engine_target_met"}`},
	"models":     {"model", terms.IterationSeries},
	"precisions": {"precision", terms.IterationSeries},
	"devices":    {"device", terms.IterationSeries},
	"backends":   {"backend", terms.IterationSeries},
}

func (d *Datasource) metricNames(w http.ResponseWriter, r *http.Request) {
	names, err := d.client.LabelValues(r.Context(), "__name__", nil, d.now().Add(-recent), d.now())
	send(w, bounded(names), err)
}

func (d *Datasource) labelNames(w http.ResponseWriter, r *http.Request) {
	match, err := matching(r)
	if err != nil {
		send(w, nil, err)
		return
	}
	names, err := d.client.LabelNames(r.Context(), match, d.now().Add(-recent), d.now())
	names = slices.DeleteFunc(names, func(n string) bool { return strings.HasPrefix(n, "__") })
	send(w, bounded(names), err)
}

// values answers ?of=models, or ?label=precision&match=plancast_iteration.
func (d *Datasource) values(w http.ResponseWriter, r *http.Request) {
	var label string
	var match []string
	if of := r.URL.Query().Get("of"); of != "" {
		v, ok := variables[of]
		if !ok {
			send(w, nil, &terms.Invalid{Field: "of", Reason: "use milestones, models, precisions, devices or backends"})
			return
		}
		label, match = v.label, []string{v.series}
	} else {
		var err error
		if match, err = matching(r); err != nil {
			send(w, nil, err)
			return
		}
		label = r.URL.Query().Get("label")
		if !legalLabel(label) {
			send(w, nil, &terms.Invalid{Field: "label", Reason: "it is not a label name"})
			return
		}
	}
	values, err := d.client.LabelValues(r.Context(), label, match, d.now().Add(-recent), d.now())
	values = slices.DeleteFunc(values, func(v string) bool { return v == "" })
	send(w, bounded(values), err)
}

func legalLabel(name string) bool {
	for i, c := range name {
		if !(c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (i > 0 && c >= '0' && c <= '9')) {
			return false
		}
	}
	return name != ""
}

// matching reads ?match=, which must be a plain selector.
func matching(r *http.Request) ([]string, error) {
	text := strings.TrimSpace(r.URL.Query().Get("match"))
	if text == "" {
		return nil, nil
	}
	e, err := prom.Parse(text)
	if err != nil {
		return nil, err
	}
	if !e.Selector() {
		return nil, &terms.Invalid{Field: "match", Reason: "it is not a selector such as plancast_iteration{precision=\"int8\"}"}
	}
	return []string{e.String()}, nil
}

func bounded(v []string) []string {
	if len(v) > maxValues {
		return v[:maxValues]
	}
	if v == nil {
		return []string{}
	}
	return v
}

func send(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	status := http.StatusOK
	if err != nil {
		r := failed(err)
		status = int(r.Status)
		text := r.Error.Error()
		if r.Status == backend.StatusInternal {
			backend.Logger.Error("a resource call failed", "error", text)
			text = "the plugin failed; its log has the details"
		}
		v = map[string]string{"message": text}
	}
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		backend.Logger.Debug("cannot send a resource answer", "error", err.Error())
	}
}
