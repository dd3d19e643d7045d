package metrics

import (
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/plancast/plancast/exporter/gpu"
)

// liveCollector collects what changes from scrape to scrape.
type liveCollector struct{ c *Collector }

func (liveCollector) Describe(ch chan<- *prometheus.Desc) { describe(ch, true) }
func (l liveCollector) Collect(ch chan<- prometheus.Metric) {
	a := l.c.activity.Load()
	gauge := func(f Family, v float64) {
		ch <- prometheus.MustNewConstMetric(descs[f.Name], prometheus.GaugeValue, v)
	}
	if a.Fleet == nil {
		l.passes(ch, a)
	} else {
		gauge(fleetOK, oneIf(!a.Fleet.Failed))
		gauge(fleetPartial, oneIf(a.Fleet.Partial))
		if !a.Fleet.Read.IsZero() {
			gauge(fleetTime, timestamp(a.Fleet.Read))
			gauge(fleetDuration, a.Fleet.Duration.Seconds())
		}
	}
	if !a.Reloaded.IsZero() {
		gauge(reloadOK, oneIf(!a.ReloadFailed))
		gauge(reloadTime, timestamp(a.Reloaded))
	}
	if ask := l.c.gpus.Load(); ask != nil {
		for _, s := range (*ask)() {
			l.gpu(ch, s)
		}
	}
	if ask := l.c.size.Load(); ask != nil {
		if n, err := (*ask)(); err == nil {
			gauge(historySize, float64(n))
		}
	}
	if ask := l.c.notified.Load(); ask != nil {
		n := (*ask)()
		gauge(notificationQueue, float64(n.Queued))
		gauge(notificationAge, n.OldestAge.Seconds())
		for receiver, results := range n.Results {
			for result, v := range results {
				ch <- prometheus.MustNewConstMetric(descs[notifications.Name], prometheus.CounterValue, float64(v), receiver, result)
			}
		}
	}
}

// passes hands out how the passes over the repository fare.
func (liveCollector) passes(ch chan<- prometheus.Metric, a *Activity) {
	gauge := func(f Family, v float64) {
		ch <- prometheus.MustNewConstMetric(descs[f.Name], prometheus.GaugeValue, v)
	}
	gauge(queueLength, float64(a.QueueLength))
	for _, j := range a.Running {
		if p := j.Progress; p.Total > 0 {
			ch <- prometheus.MustNewConstMetric(descs[jobProgress.Name], prometheus.GaugeValue, min(max(p.Done/p.Total, 0), 1), j.Model, string(j.Precision), p.Stage)
		}
	}
	if a.LastPass != nil {
		gauge(passDuration, a.LastPass.Duration.Seconds())
		gauge(passTime, timestamp(a.LastPass.Finished))
	}
	gauge(passOK, oneIf(!a.PassFailed))
	gauge(passStalled, oneIf(!a.Stalls.IsZero() && time.Now().After(a.Stalls)))
}

// gpu hands out what is known of one GPU.
func (liveCollector) gpu(ch chan<- prometheus.Metric, s gpu.State) {
	emit := func(f Family, v float64, extra ...string) {
		t := prometheus.GaugeValue
		if f.Type == Counter {
			t = prometheus.CounterValue
		}
		ch <- prometheus.MustNewConstMetric(descs[f.Name], t, v, bounded(slices.Concat([]string{s.GPU, s.UUID, s.Name}, extra))...)
	}
	emit(gpuErrors, float64(s.Errors))
	for xid, n := range s.XIDs {
		emit(gpuXID, float64(n), strconv.FormatUint(xid, 10))
	}
	if !s.Time.IsZero() {
		emit(gpuTime, timestamp(s.Time))
	}
	if s.Values == nil {
		return
	}
	emit(gpuInfo, 1, s.Driver, s.CUDA, string(s.MIG))
	for _, x := range gpuFigures {
		if v, ok := s.Values[x.quantity]; ok && finite(v) {
			emit(x.family, v, x.extra...)
		}
	}
	for r, on := range s.Throttled {
		emit(gpuThrottled, oneIf(on), string(r))
	}
}
