package metrics

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/gpu"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/exporter/standing"
)

// Build says which plancast is running.
type Build struct {
	Version   string
	Revision  string
	GoVersion string
}

// Snapshot is what one scrape sees: immutable, safe for any number of
// scrapes at once.
type Snapshot struct {
	build Build
	parts []*part
	cache expositions
}

// Len is the number of metrics in the snapshot.
func (s *Snapshot) Len() (n int) {
	for _, p := range s.parts {
		n += p.size
	}
	return n
}

// Activity is what the daemon does now. It changes often, so it is no part of
// a snapshot.
type Activity struct {
	QueueLength int
	Running     []standing.Job
	LastPass    *standing.Pass // nil before the first pass has ended
	PassFailed  bool           // the last pass could not go on

	Stalls       time.Time // when the running pass counts as stalled unless it progresses; zero while none runs
	ReloadFailed bool      // the last reading of the configuration
	Reloaded     time.Time // when the configuration in force was read

	Fleet *Fleet // of a fleet daemon, which makes no passes; nil for an exporter
}

// Fleet is how the store fares that a fleet daemon reads.
type Fleet struct {
	Read     time.Time     // when it was last read whole; zero before
	Duration time.Duration // of that reading
	Failed   bool          // the last reading
	Partial  bool          // what is shown lacks parts of the store
}

// Collector hands out the newest snapshot and the current activity. Make it
// with NewCollector.
type Collector struct {
	current  atomic.Pointer[Snapshot]
	activity atomic.Pointer[Activity]
	notified atomic.Pointer[func() Notifications]
	gpus     atomic.Pointer[func() []gpu.State]
	size     atomic.Pointer[func() (int64, error)]
}

// Notifications is how the notifications fare.
type Notifications struct {
	Results   map[string]map[string]uint64 // counts by receiver and result
	Queued    int
	OldestAge time.Duration
}

// NewCollector returns a collector of s.
func NewCollector(s *Snapshot) *Collector {
	c := &Collector{}
	c.Set(s)
	c.SetActivity(Activity{})
	return c
}

// Set replaces the snapshot. Scrapes under way finish with the earlier one. The
// formats that were served before are made ready first, so that no scrape
// waits for them.
func (c *Collector) Set(s *Snapshot) {
	if old := c.current.Load(); old != nil {
		for _, f := range old.served() {
			_, _ = s.exposition(f) // an error comes again, and is reported, with the scrape
		}
	}
	for _, p := range s.parts {
		p.forget()
	}
	c.current.Store(s)
}

// SetActivity says what the daemon does now.
func (c *Collector) SetActivity(a Activity) { c.activity.Store(&a) }

// SetNotifications says whom to ask, at each scrape, how the notifications
// fare; without it their metrics are absent.
func (c *Collector) SetNotifications(ask func() Notifications) { c.notified.Store(&ask) }

// SetGPUs says whom to ask, at each scrape, what is known of the GPUs; without it
// their metrics are absent. ask must not wait for a GPU.
func (c *Collector) SetGPUs(ask func() []gpu.State) { c.gpus.Store(&ask) }

// SetHistory says whom to ask, at each scrape, how many bytes the history takes on
// disk; without it, or with an error, the metric is absent.
func (c *Collector) SetHistory(size func() (int64, error)) { c.size.Store(&size) }

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	metricsCollector(nil).Describe(ch)
	liveCollector{}.Describe(ch)
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	c.current.Load().collector().Collect(ch)
	liveCollector{c}.Collect(ch)
}

func describe(ch chan<- *prometheus.Desc, live bool) {
	for _, f := range Families() {
		if f.live == live {
			ch <- descs[f.Name]
		}
	}
}

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

// NewSnapshot makes the metrics of a state, at most so many series of models; 0 is no
// limit. The snapshot is never nil: what is wrong with one series, as the error says,
// does not hold up the others.
func NewSnapshot(state *standing.State, build Build, most int) (*Snapshot, error) {
	return (&Snapshot{build: build}).Next(state, most)
}

// Next is NewSnapshot for a later state. What did not change of a model is neither
// made nor encoded again.
func (s *Snapshot) Next(state *standing.State, most int) (*Snapshot, error) {
	known := map[*standing.Model]*part{}
	for _, p := range s.parts {
		known[p.model] = p
	}
	var models []*part
	left := 0
	if state.By == nil { // the series of a fleet's models are their exporters'
		models, left = modelParts(state.Models, known, most)
	}
	build := s.build // and not s, which would keep each snapshot alive through the one after it
	next := &Snapshot{build: build, parts: append(models, newPart(nil, func(b *snapshotBuilder) { b.rest(state, build, left) }))}
	var errs []error
	for _, p := range next.parts {
		errs = append(errs, p.err)
	}
	if left > 0 {
		errs = append(errs, fmt.Errorf("%d of %d models have no series: together they have more than %d: remove what is no model from the repository, or raise metrics.max_series", left, len(state.Models), most))
	}
	return next, errors.Join(errs...)
}

// modelParts are the parts of models, in their order. When together they have more
// than most series, as many as there is room for are left, those with a result first;
// left is how many models have no series therefore.
func modelParts(list []*standing.Model, known map[*standing.Model]*part, most int) (parts []*part, left int) {
	if most > 0 {
		list = slices.Clone(list)
		slices.SortStableFunc(list, func(x, y *standing.Model) int { return min(y.Totals.Measured, 1) - min(x.Totals.Measured, 1) })
	}
	size := 0
	for i, m := range list {
		p := known[m]
		if p == nil {
			p = modelPart(m)
		}
		if size += p.size; most > 0 && size > most {
			return parts, len(list) - i
		}
		parts = append(parts, p)
	}
	return parts, 0
}

// collector hands out the metrics of all parts.
func (s *Snapshot) collector() metricsCollector {
	var all metricsCollector
	for _, p := range s.parts {
		all = append(all, p.metrics()...)
	}
	return all
}

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
		b.errs = append(b.errs, fmt.Errorf("%s with labels %q is left out: %w", f.Name, labels, err))
	case b.known[key]:
		b.errs = append(b.errs, fmt.Errorf("%s with labels %q is there twice: the second is left out", f.Name, labels))
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

// success is the result value of a measured job; the others are failure kinds.
const success = "success"

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
