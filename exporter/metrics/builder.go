package metrics

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/exporter/standing"
)

var familyByName = func() map[string]Family {
	m := map[string]Family{}
	for _, f := range Families() {
		m[f.Name] = f
	}
	return m
}()

var descs = func() map[string]*prometheus.Desc {
	m := map[string]*prometheus.Desc{}
	for _, f := range Families() {
		m[f.Name] = prometheus.NewDesc(f.Name, f.Help, f.Labels, nil)
	}
	return m
}()

type snapshotBuilder struct {
	metrics []prometheus.Metric
	known   map[string]bool // series, by family and labels
	errs    []error
}

// add takes a metric, unless something is wrong with it.
func (b *snapshotBuilder) add(f Family, m prometheus.Metric, err error, labels []string) {
	key := f.Name + "\xff" + strings.Join(labels, "\xff")
	switch {
	case err != nil:
		b.errs = append(b.errs, fmt.Errorf("%s with labels %q is omitted: %w", f.Name, labels, err))
	case b.known[key]:
		b.errs = append(b.errs, fmt.Errorf("%s with labels %q appears twice: the second is omitted", f.Name, labels))
	default:
		b.known[key] = true
		b.metrics = append(b.metrics, m)
	}
}

// gauge adds a value, or nothing when it is none.
func (b *snapshotBuilder) gauge(f Family, v float64, labels ...string) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return
	}
	labels = bounded(labels)
	t := prometheus.GaugeValue
	if f.Type == Counter {
		t = prometheus.CounterValue
	}
	m, err := prometheus.NewConstMetric(descs[f.Name], t, v, labels...)
	b.add(f, m, err, labels)
}

// rest adds what is about no single model; left models have no series.
func (b *snapshotBuilder) rest(state *standing.State, build Build, left int) {
	b.gauge(buildInfo, 1, build.Version, build.Revision, build.GoVersion)
	if state.By == nil {
		b.gauge(models, float64(len(state.Models)), "accepted")
		b.gauge(models, float64(len(state.Refused)), "refused")
		b.gauge(models, float64(left), "left_out")
		for _, g := range state.Gains {
			b.gauge(gainRatio, g.Mean-1, string(g.Kind))
			b.gauge(gainModels, float64(g.Models), string(g.Kind))
		}
	} else {
		b.fleet(state)
	}
	for _, m := range state.Milestones {
		b.milestone(m, state.By)
	}
	b.track(state.Track)
}

// maxLabel bounds a label value, in bytes.
const maxLabel = 200

// bounded makes outside text fit for label values.
func bounded(labels []string) []string {
	out := make([]string, len(labels))
	for i, s := range labels {
		out[i] = outside.Label(s, maxLabel)
	}
	return out
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

func timestamp(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

func formatQuantile(q float64) string { return strconv.FormatFloat(q, 'g', -1, 64) }
