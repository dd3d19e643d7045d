package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	days    = 120              // of history
	scraped = 20 * time.Minute // before the start, each minute
)

// size is how much a store holds.
type size struct {
	hosts, models, iterations, files int
	every                            time.Duration // between samples of the past; 0 is on both sides of each change
}

// world is the exporters of all hosts: their past, and what they publish now.
type world struct {
	size
	now  time.Time // the end of the past
	pace time.Duration
	*httptest.Server

	mu    sync.Mutex
	extra map[int]time.Time // when a model got a result after the past
}

func newWorld(s size, now time.Time) *world {
	w := &world{size: s, now: now, pace: days * 24 * time.Hour / time.Duration(s.iterations), extra: map[int]time.Time{}}
	w.Server = httptest.NewServer(http.HandlerFunc(w.scrape))
	return w
}

// result is an iteration of a model.
type result struct {
	model, n int
	at       time.Time
}

// of is the nth iteration of a model, from 1; each model has its own moments.
func (w *world) of(model, n int) result {
	return result{model, n, w.now.Add(-time.Duration(w.iterations-n+1)*w.pace + time.Duration(model)*time.Second%(w.pace/2))}
}

// p99 meets the milestone's criterion after 50 iterations for about half of the models, so
// that the others have a forecast to make.
func (r result) p99() float64 {
	return 0.1 * math.Exp(-0.03*float64(r.n)) * (0.75 + float64(r.model%100)/200)
}

// families are those that a fleet daemon asks for.
var families = []struct {
	name, labels string
	value        func(result) float64
}{
	{"plancast_build_duration_seconds", engine, func(r result) float64 { return 60 + float64(r.n) }},
	{"plancast_candidate_info", engine + `,version="%[2]d",digest="%064[3]x",fingerprint="abcdefabcdef"`, one},
	{"plancast_engine_accuracy_deviation_ratio", engine, func(result) float64 { return 0.003 }},
	{"plancast_engine_disturbed", engine, func(result) float64 { return 0 }},
	{"plancast_engine_last_build_success", engine, one},
	{"plancast_engine_latency_seconds", engine + `,quantile="0.5"`, func(r result) float64 { return r.p99() * 0.8 }},
	{"plancast_engine_latency_seconds", engine + `,quantile="0.9"`, func(r result) float64 { return r.p99() * 0.9 }},
	{"plancast_engine_latency_seconds", engine + `,quantile="0.95"`, func(r result) float64 { return r.p99() * 0.95 }},
	{"plancast_engine_latency_seconds", engine + `,quantile="0.99"`, result.p99},
	{"plancast_engine_latency_seconds_count", engine, func(result) float64 { return 1000 }},
	{"plancast_engine_latency_seconds_sum", engine, func(r result) float64 { return 820 * r.p99() }},
	{"plancast_engine_memory_bytes", engine + `,kind="peak"`, func(result) float64 { return 3e8 }},
	{"plancast_engine_size_bytes", engine, func(r result) float64 { return 1e8 - float64(r.n) }},
	{"plancast_engine_throughput_inferences_per_second", engine, func(r result) float64 { return math.Round(60 / r.p99()) }},
	{"plancast_environment_info", `model="model-%[1]d",backend="tensorrt",device="NVIDIA H100",fingerprint="abcdefabcdef",backend_version="10.6.0",driver="580.1",cuda="13.0"`, one},
	{"plancast_iteration", engine, func(r result) float64 { return float64(r.n) }},
	{"plancast_iteration_timestamp_seconds", engine, func(r result) float64 { return float64(r.at.Unix()) }},
}

const engine = `model="model-%[1]d",precision="fp16",backend="tensorrt",device="NVIDIA H100"`

func one(result) float64 { return 1 }

// labels are those of a family for a result.
func (w *world) labels(format string, r result) string {
	return fmt.Sprintf(format, r.model%w.models, r.n, r.model*w.iterations+r.n)
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// scrape answers as the exporter of the host that the path names.
func (w *world) scrape(out http.ResponseWriter, r *http.Request) {
	host, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/host/"))
	if err != nil || host >= w.hosts {
		http.NotFound(out, r)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	to := bufio.NewWriter(out)
	defer func() { _ = to.Flush() }() // who scrapes sees what is missing
	for _, f := range families {
		for m := range w.models {
			now := w.of(host*w.models+m, w.iterations)
			if at, ok := w.extra[now.model]; ok {
				now.n, now.at = now.n+1, at
			}
			fmt.Fprintf(to, "%s{%s} %s\n", f.name, w.labels(f.labels, now), number(f.value(now)))
		}
	}
}

// advance gives some models another result, all on different hosts.
func (w *world) advance(models int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for n := range models {
		w.extra[n%w.hosts*w.models+n/w.hosts] = time.Now().Truncate(time.Second)
	}
}

// targets configure a scrape of all hosts, as Prometheus and VictoriaMetrics read it.
func (w *world) targets() string {
	var b strings.Builder
	fmt.Fprintf(&b, "global: {scrape_interval: %s}\nscrape_configs:\n- job_name: plancast\n  static_configs:\n", interval)
	for host := range w.hosts {
		fmt.Fprintf(&b, "  - {targets: [%q], labels: {instance: \"host-%d:9833\", __metrics_path__: /host/%d}}\n", strings.TrimPrefix(w.URL, "http://"), host, host)
	}
	return b.String()
}

// past writes the past to a file, piece by piece, each a span of time, and has it
// imported; unit is that of the format's timestamps.
func (w *world) past(file string, unit time.Duration, imported func() error) error {
	first := w.now.Add(-time.Duration(w.iterations) * w.pace)
	length := w.now.Sub(first) / time.Duration(w.files)
	for n := range w.files {
		from, to := first.Add(time.Duration(n)*length), first.Add(time.Duration(n+1)*length)
		if n == w.files-1 {
			to = w.now.Add(time.Second)
		}
		f, err := os.Create(file)
		if err != nil {
			return err
		}
		out := bufio.NewWriterSize(f, 1<<20)
		w.write(out, from, to, unit)
		if err := errors.Join(out.Flush(), f.Close(), imported()); err != nil {
			return err
		}
	}
	return os.Remove(file)
}

// write writes the samples of a span: on both sides of each change, or as often as the
// past was scraped.
func (w *world) write(out io.Writer, from, to time.Time, unit time.Duration) {
	for i, f := range families {
		if i == 0 || families[i-1].name != f.name {
			fmt.Fprintf(out, "# TYPE %s unknown\n", f.name)
		}
		for model := range w.hosts * w.models {
			for n := 1; n <= w.iterations; n++ {
				r := w.of(model, n)
				end := r.at.Add(w.pace - time.Minute)
				if n == w.iterations || end.After(w.now) {
					end = w.now
				}
				times := []time.Time{r.at}
				for t := r.at.Add(w.every); w.every > 0 && t.Before(end.Add(-scraped)); t = t.Add(w.every) {
					times = append(times, t)
				}
				for ago := scraped; n == w.iterations && ago > 0; ago -= time.Minute {
					times = append(times, w.now.Add(-ago))
				}
				times = append(times, end)
				for _, t := range times {
					if !t.Before(from) && t.Before(to) {
						fmt.Fprintf(out, "%s{job=\"plancast\",instance=\"host-%d:9833\",%s} %s %d\n", f.name, model/w.models, w.labels(f.labels, r), number(f.value(r)), t.UnixNano()/int64(unit))
					}
				}
			}
		}
	}
	fmt.Fprintln(out, "# EOF")
}
