package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/plancast/plancast/exporter/gpu"
	"github.com/plancast/plancast/exporter/standing"
)

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
