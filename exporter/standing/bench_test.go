package standing

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/forecast"
)

// long is what a daemon holds of a history of 1,000,000 records: 300 models at
// three precisions, a candidate a day for three years, of which the entries since
// LookBack are loaded.
type long struct {
	*rand.Rand
	tracker  Tracker
	evidence Evidence
	id       int64
	levels   []float64
	entries  int
	shared   map[string]string // strings, as the store shares them
}

const (
	longModels = 300
	longDays   = 1111
)

var longStart = time.Date(2023, 6, 1, 6, 0, 0, 0, time.UTC)

func newLong(days int) *long {
	l := &long{Rand: rand.New(rand.NewPCG(1, 2)), levels: make([]float64, longModels), shared: map[string]string{}}
	now := longStart.AddDate(0, 0, days)
	l.evidence = Evidence{
		Now: now,
		Milestones: []config.Milestone{{
			Name: "launch", Select: config.Select{Precision: config.Best}, Criteria: []forecast.Criterion{fast}, Share: 0.8, Ready: 0.9, Deadline: now.AddDate(0, 3, 0),
		}},
		Targets: []config.Target{{Name: "gate", Select: config.Select{Precision: config.Best}, Criteria: []forecast.Criterion{fast, faithful}}},
	}
	since := LookBack(now)
	first := int(since.Sub(longStart).Hours()/24) - 1 // what is older is not loaded
	for m := range longModels {
		l.levels[m] = 0.04 + 0.2*l.Float64()
		l.evidence.Models = append(l.evidence.Models, Held{Name: fmt.Sprintf("model-%03d", m), Precisions: engine.Precisions, Fingerprint: "3fa91c07b2de"})
	}
	l.id = int64(first * longModels * 3)
	for day := first; day < days; day++ {
		for m := range longModels {
			for k, p := range engine.Precisions {
				r := l.record(m, day, k, p)
				if r.Finished.Before(since) {
					continue
				}
				l.tracker.Load(history.EntryOf(r))
				l.entries++
				if day >= days-2 {
					l.tracker.Supply(r)
				}
			}
		}
	}
	return l
}

func (l *long) record(m, day, k int, p engine.Precision) history.Record {
	l.id++
	if k == 0 && l.IntN(4) == 0 {
		l.levels[m] *= 0.98
	}
	at := longStart.AddDate(0, 0, day).Add(time.Duration(m*180+k*60) * time.Second)
	p99 := l.levels[m] * (1 - 0.2*float64(k)) * math.Exp(0.02*l.NormFloat64())
	share := func(s string) string {
		if _, ok := l.shared[s]; !ok {
			l.shared[s] = s
		}
		return l.shared[s]
	}
	return history.Record{
		ID: l.id, Model: share(fmt.Sprintf("model-%03d", m)), Version: share(strconv.Itoa(day + 1)), Digest: share(fmt.Sprintf("%064d", m*10000+day)), Precision: p, Backend: "tensorrt", Device: "NVIDIA H200",
		Fingerprint: "3fa91c07b2de", Iteration: day + 1, Started: at, Finished: at.Add(time.Minute),
		Measurement: &bench.Measurement{
			Latency:    bench.Latency{Queries: 700, Sum: 560 * p99, Mean: 0.8 * p99, Quantiles: []bench.Quantile{{Q: 0.5, Value: p99 * 0.8}, {Q: 0.99, Value: p99}}},
			Throughput: 1 / p99, Stable: true, Accuracy: &bench.Accuracy{Deviation: 0.001}, Plan: engine.Plan{SizeBytes: 5 << 20}, Layers: &bench.LayerSummary{},
		},
	}
}

func heapMiB() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

// processorTime is what the process used of all cores: other work on the machine
// does not change it.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkLongHistory derives the state after each record of a day, in a history
// of 1,000,000 records, and reports what the history and its states hold.
func BenchmarkLongHistory(b *testing.B) {
	before := heapMiB()
	l := newLong(longDays)
	start := time.Now()
	if _, err := l.tracker.Derive(l.evidence); err != nil {
		b.Fatal(err)
	}
	took := time.Since(start)
	held := heapMiB() - before
	i, used := 0, processorTime()
	b.ResetTimer()
	for b.Loop() {
		m, k := i/3%longModels, i%3
		r := l.record(m, longDays+i/3/longModels, k, engine.Precisions[k])
		l.evidence.Now = r.Finished
		l.tracker.Add(r)
		if _, err := l.tracker.Derive(l.evidence); err != nil {
			b.Fatal(err)
		}
		i++
	}
	b.StopTimer()
	b.ReportMetric(float64(processorTime()-used)/1e6/float64(i), "processor-ms/op")
	b.ReportMetric(held, "held-MiB")
	b.ReportMetric(float64(l.entries), "entries")
	b.ReportMetric(float64(took.Milliseconds()), "first-ms")
	runtime.KeepAlive(l)
}
