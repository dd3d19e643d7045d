package metrics

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/standing"
)

// success is the result value of a measured job; the others are failure kinds.
const success = "success"

func (b *snapshotBuilder) model(m *standing.Model) {
	b.gauge(modelInfo, 1, m.Name, m.Owner)
	t := m.Totals
	b.gauge(builds, float64(t.Measured), m.Name, success)
	for _, k := range engine.Kinds {
		b.gauge(builds, float64(t.Failed[k]), m.Name, string(k))
	}
	if t.Cached {
		b.gauge(timingCacheHits, float64(t.CacheHits), m.Name)
	}
	if !t.LastSuccess.IsZero() {
		b.gauge(lastSuccess, timestamp(t.LastSuccess), m.Name)
	}
	n := map[standing.VersionState]int{}
	for _, v := range m.Versions {
		n[v.State]++
	}
	if c := m.Change(); c != nil {
		b.gauge(candidateChange, float64(m.Current.Iteration), changeLabels(m.Name, m.Current.Version, c)...)
	}
	for _, s := range []standing.VersionState{standing.Accepted, standing.Pending, standing.Refused} {
		b.gauge(candidates, float64(n[s]), m.Name, string(s))
	}
}

// changeLabels are the labels of a candidate's change; nil when nothing is known.
func changeLabels(model, version string, c *change.Change) []string {
	if c == nil {
		return nil
	}
	link := c.Link
	if len(link) > maxLabel {
		link = "" // a part of it leads nowhere
	}
	return bounded([]string{model, version, c.Commit, c.Branch, c.Author, link, c.KindsText()})
}

// engines adds the results in the environment that counts.
func (b *snapshotBuilder) engines(m *standing.Model) {
	s := m.Series
	measured, ok := m.Environment(s)
	if !ok {
		return
	}
	env := measured.Environment
	cores := ""
	if env.Cores > 0 {
		cores = strconv.Itoa(env.Cores)
	}
	b.gauge(environmentInfo, 1, m.Name, measured.Backend, measured.Device, s.Fingerprint, env.BackendVersion, cores, env.Governor, env.Driver, env.CUDA, env.Platform)
	for _, p := range s.Precisions() {
		newest, tried := s.NewestWhere(func(t history.Trial) bool {
			e, ok := t.Entry(p)
			return ok && !e.Unsupported()
		})
		labels := []string{m.Name, string(p), measured.Backend, measured.Device}
		if tried {
			e, _ := newest.Entry(p)
			b.gauge(lastBuildSuccess, oneIf(e.OK()), labels...)
		}
		if e, ok := s.LastGood(p); ok {
			if r, ok := m.Record(e); ok {
				b.engine(r, labels)
			}
			for _, x := range targets(m, e) {
				b.gauge(targetMet, x.met, slices.Concat(labels, x.labels)...)
			}
		}
	}
}

func (b *snapshotBuilder) engine(r history.Record, labels []string) {
	for _, x := range summaries {
		x.of(r, func(v summary) {
			safe := bounded(slices.Concat(labels, v.extra))
			m, err := prometheus.NewConstSummary(descs[x.family.Name], uint64(v.count), v.sum, v.quantiles, safe...)
			b.add(x.family, m, err, safe)
		})
	}
	if l := r.Measurement.Latency; finite(l.Sum) && len(l.Quantiles) > 0 {
		if h, ok := nativeHistogram(l); ok {
			safe := bounded(labels)
			m, err := prometheus.NewConstNativeHistogram(descs[latencyHistogram.Name], h.count, l.Sum, h.buckets, nil, 0, bench.BucketSchema, prometheus.DefNativeHistogramZeroThreshold, r.Finished, safe...)
			b.add(latencyHistogram, m, err, safe)
		}
	}
	for _, g := range gauges {
		g.of(r, func(v float64, extra ...string) { b.gauge(g.family, v, slices.Concat(labels, extra)...) })
	}
	b.gauge(candidateInfo, 1, slices.Concat(labels, []string{r.Version, r.Digest, r.Fingerprint})...)
}

type buckets struct {
	count   uint64
	buckets map[int]int64
}

// nativeHistogram takes the buckets of a latency; it is false when there are
// none. The count is theirs: a histogram must add up.
func nativeHistogram(l bench.Latency) (buckets, bool) {
	h := buckets{buckets: maps.Clone(l.Buckets)}
	for _, n := range l.Buckets {
		if n < 0 {
			return h, false
		}
		h.count += uint64(n)
	}
	return h, h.count > 0
}

// judged is whether an engine meets a criterion: 1 or 0.
type judged struct {
	labels []string // milestone, target, criterion
	met    float64
}

// targets are the answers of an engine to each criterion of each threshold.
func targets(m *standing.Model, e history.Entry) []judged {
	var out []judged
	for _, v := range m.Verdicts {
		t := v.Threshold
		if !t.Counts(e.Precision) || t.Environment != "" && t.Environment != e.Fingerprint {
			continue
		}
		milestone, target := t.Name, ""
		if t.Kind == standing.KindTarget {
			milestone, target = "", t.Name
		}
		used := map[string]int{}
		for _, c := range standing.JudgeEngine(t.Criteria, e).Criteria {
			text := c.String()
			if used[text]++; used[text] > 1 { // two thresholds that read the same
				text += fmt.Sprintf(" (%d)", used[text])
			}
			if c.Outcome == standing.Met || c.Outcome == standing.Missed {
				out = append(out, judged{[]string{milestone, target, text}, oneIf(c.Outcome == standing.Met && standing.Counts(t.Select, e))})
			}
		}
	}
	return out
}
