package metrics

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/plancast/plancast/exporter/standing"
)

// replayed are the families of /metrics that depend on the configuration
// besides the records: ExportOptions.Replay writes them.
var replayed = []Family{
	targetMet, modelInfo, builds, timingCacheHits, lastSuccess, modelsReady, modelsNeeded, modelsSelected, milestoneInfo, criterionInfo, modelReady, share, horizon, deadline,
	probability, probabilityLower, probabilityUpper, probabilityWithin, probabilityWithinLower, probabilityWithinUpper,
	readyProbability, attained, expectedIterations, eta, criterionProbability, state, gainRatio, gainModels,
}

// replayEvery is how often a replay looks again while there is no new result:
// deadlines come nearer all the same.
const replayEvery = 24 * time.Hour

// moments are the times at which a replay looks: at each result, or with a
// step at its next multiple, as a scrape would, and daily from the first result to until.
func moments(results []time.Time, until time.Time, step time.Duration) []time.Time {
	if len(results) == 0 {
		return nil
	}
	first := slices.MinFunc(results, time.Time.Compare)
	var out []time.Time
	for _, t := range results {
		if step > 0 && !t.Truncate(step).Equal(t) {
			t = t.Truncate(step).Add(step)
		}
		if step == 0 || !t.After(until) {
			out = append(out, t)
		}
	}
	for t := first.Truncate(replayEvery).Add(replayEvery); t.Before(until); t = t.Add(replayEvery) {
		out = append(out, t)
	}
	slices.SortFunc(out, time.Time.Compare)
	return slices.CompactFunc(out, time.Time.Equal)
}

// from is a value from a moment on; over says that the series ends there.
type from struct {
	at    int64 // milliseconds
	value float64
	over  bool
}

// replay writes what /metrics would have shown at each moment of the past.
func (e *exporter) replay() error {
	series := map[string]map[string][]from{} // by family and series
	for _, f := range replayed {
		series[f.Name] = map[string][]from{}
	}
	for _, t := range moments(e.spool.finished, e.options.Until, e.options.Step) {
		state, err := e.options.Replay(t)
		if err != nil {
			return err
		}
		at := t.UnixMilli()
		now, err := e.values(state)
		if err != nil {
			return err
		}
		for family, values := range now {
			for s, v := range values {
				series[family][s] = append(series[family][s], from{at, v, false})
			}
		}
		for _, all := range series {
			for s, list := range all {
				if last := list[len(list)-1]; last.at != at && !last.over {
					all[s] = append(list, from{at: at, over: true})
				}
			}
		}
	}
	for _, f := range replayed {
		e.header(f)
		for _, name := range slices.SortedFunc(maps.Keys(series[f.Name]), cmp.Compare) {
			list := series[f.Name][name]
			if e.options.Edges { // the same value again is no change
				list = slices.CompactFunc(list, func(a, b from) bool { return a.value == b.value && a.over == b.over })
			}
			for i, s := range list {
				end := e.options.Until.UnixMilli() + 1
				if i+1 < len(list) {
					end = list[i+1].at
				}
				if !s.over {
					e.carry(s.at, end, func(at int64) { e.sample(name, s.value, at) })
				}
			}
		}
	}
	return nil
}

// values returns the values of the replayed families, by family and series.
func (e *exporter) values(state *standing.State) (map[string]map[string]float64, error) {
	s, err := NewSnapshot(state, Build{}, 0)
	if err != nil {
		return nil, err
	}
	reg := prometheus.NewRegistry()
	if err := reg.Register(s.collector()); err != nil {
		return nil, err
	}
	gathered, err := reg.Gather()
	if err != nil {
		return nil, err
	}
	out := map[string]map[string]float64{}
	for _, g := range gathered {
		i := slices.IndexFunc(replayed, func(f Family) bool { return f.Name == g.GetName() })
		if i < 0 {
			continue
		}
		f := replayed[i]
		values := map[string]float64{}
		for _, m := range g.GetMetric() {
			v := m.GetGauge().GetValue()
			if f.Type == Counter {
				v = m.GetCounter().GetValue()
			}
			values[e.series(f.Name, f.Labels, labelValues(m, f.Labels))] = v
		}
		out[f.Name] = values
	}
	return out, nil
}

// labelValues are the values of m in the order of names.
func labelValues(m *dto.Metric, names []string) []string {
	out := make([]string, len(names))
	for _, l := range m.GetLabel() {
		if i := slices.Index(names, l.GetName()); i >= 0 {
			out[i] = l.GetValue()
		}
	}
	return out
}

// ParseLabel reads "name=value", as the labels of an export are given.
func ParseLabel(text string) (name, value string, err error) {
	name, value, ok := strings.Cut(text, "=")
	switch {
	case !ok || value == "":
		return "", "", fmt.Errorf("%q is not a label: write name=value, such as job=plancast", text)
	case !labelName.MatchString(name):
		return "", "", fmt.Errorf("%q cannot be a label name: use letters, digits and \"_\"", name)
	}
	for _, f := range Families() {
		if slices.Contains(f.Labels, name) || name == "quantile" {
			return "", "", fmt.Errorf("%q is a label of plancast's own: use another name", name)
		}
	}
	return name, value, nil
}
