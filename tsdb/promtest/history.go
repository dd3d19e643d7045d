package promtest

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Result is one iteration of one engine as the exporter publishes it.
type Result struct {
	Number      int
	Time        time.Time
	P99         float64 // seconds
	Throughput  float64
	Deviation   float64 // ratio
	Environment string
	Unquantized int
	NoEffect    bool // of an int8 engine: nothing in it computes in 8 bits
	// Author and Link say what the change was that led to the candidate; where
	// they are set, it is published with this result.
	Author, Link string
}

// Engine is a model at a precision, and its results.
type Engine struct {
	Model, Precision, Backend, Device string
	Results                           []Result
}

// History is what a Prometheus has scraped.
type History struct {
	Engines []Engine
	Until   time.Time
	// Scrape is the time between two scrapes; 0 writes each result once, like
	// an exported history.
	Scrape time.Duration
	// Gaps are times without a scrape: [from, to) pairs.
	Gaps [][2]time.Time
	// Milestones are published beside the engines.
	Milestones []Published
	Failures   []Failure
}

// Published is what the exporter publishes of one.
type Published struct {
	Name      string
	Criterion string // "p99 < 50 ms"
	Met       func(Result) bool
	Precision string
	Deadline  time.Time
}

// met is 1 where a result meets the criterion, else 0.
func met(m Published, r Result) float64 {
	if m.Met(r) {
		return 1
	}
	return 0
}

// Failure is a failed build.
type Failure struct {
	Model string
	Kind  string
	Time  time.Time
}

type sample struct {
	t time.Time
	v float64
}

// OpenMetrics writes the history as text for promtool.
func (h History) OpenMetrics() string {
	families := map[string]map[string][]sample{}
	add := func(family, labels string, t time.Time, v float64) {
		if families[family] == nil {
			families[family] = map[string][]sample{}
		}
		families[family][labels] = append(families[family][labels], sample{t, v})
	}
	skipped := func(t time.Time) bool {
		for _, g := range h.Gaps {
			if !t.Before(g[0]) && t.Before(g[1]) {
				return true
			}
		}
		return false
	}
	publish := func(e Engine, r Result, t time.Time) {
		if skipped(t) {
			return
		}
		l := fmt.Sprintf("model=%q,precision=%q,backend=%q,device=%q", e.Model, e.Precision, e.Backend, e.Device)
		add("plancast_engine_latency_seconds", l+`,quantile="0.99"`, t, r.P99)
		add("plancast_engine_latency_seconds", l+`,quantile="0.5"`, t, r.P99*0.8)
		add("plancast_engine_latency_seconds_sum", l, t, r.P99*0.82*1000)
		add("plancast_engine_latency_seconds_count", l, t, 1000)
		add("plancast_engine_throughput_inferences_per_second", l, t, r.Throughput)
		add("plancast_engine_accuracy_deviation_ratio", l, t, r.Deviation)
		add("plancast_engine_memory_bytes", l+`,kind="peak"`, t, 3e8)
		add("plancast_iteration", l, t, float64(r.Number))
		add("plancast_iteration_timestamp_seconds", l, t, float64(r.Time.UnixMilli())/1000)
		add("plancast_engine_last_build_success", l, t, 1)
		add("plancast_candidate_info", l+fmt.Sprintf(`,version="%d",digest="d%d",fingerprint=%q`, r.Number, r.Number, r.Environment), t, 1)
		if r.Author != "" {
			add("plancast_candidate_change", fmt.Sprintf(`model=%q,version="%d",author=%q,link=%q,kinds="quantization"`, e.Model, r.Number, r.Author, r.Link), t, float64(r.Number))
		}
		if e.Precision == "int8" {
			add("plancast_engine_unquantized_layers", l, t, float64(r.Unquantized))
			effective := 1.0
			if r.NoEffect {
				effective = 0
			}
			add("plancast_engine_precision_effective", l, t, effective)
		}
		for _, m := range h.Milestones {
			if m.Precision == e.Precision {
				add("plancast_engine_target_met", fmt.Sprintf("%s,milestone=%q,criterion=%q", l, m.Name, m.Criterion), t, met(m, r))
			}
		}
	}
	begin := h.Until
	for _, e := range h.Engines {
		for _, r := range e.Results {
			if r.Time.Before(begin) {
				begin = r.Time
			}
		}
	}
	if h.Scrape == 0 {
		for _, e := range h.Engines {
			for _, r := range e.Results {
				publish(e, r, r.Time)
			}
		}
	} else {
		for t := begin.Truncate(h.Scrape).Add(h.Scrape); !t.After(h.Until); t = t.Add(h.Scrape) {
			for _, e := range h.Engines {
				k := -1
				for i, r := range e.Results {
					if !r.Time.After(t) {
						k = i
					}
				}
				if k < 0 {
					continue
				}
				publish(e, e.Results[k], t)
				for _, m := range h.Milestones {
					if m.Precision == e.Precision {
						add("plancast_milestone_model_ready", fmt.Sprintf(`milestone=%q,model=%q,present="true"`, m.Name, e.Model), t, met(m, e.Results[k]))
					}
				}
			}
			for _, m := range h.Milestones {
				add("plancast_milestone_info", fmt.Sprintf("milestone=%q,precision=%q", m.Name, m.Precision), t, 1)
				add("plancast_milestone_criterion_info", fmt.Sprintf("milestone=%q,criterion=%q", m.Name, m.Criterion), t, 1)
				if !m.Deadline.IsZero() {
					add("plancast_milestone_deadline_timestamp_seconds", fmt.Sprintf("milestone=%q", m.Name), t, float64(m.Deadline.Unix()))
				}
			}
			failed := map[string]float64{}
			for _, f := range h.Failures {
				l := fmt.Sprintf("model=%q,result=%q", f.Model, f.Kind)
				if failed[l] += 0; !f.Time.After(t) {
					failed[l]++
				}
			}
			for l, n := range failed {
				add("plancast_builds", l, t, n)
			}
		}
	}
	var b strings.Builder
	for _, family := range slices.Sorted(maps.Keys(families)) {
		name := family
		switch family {
		case "plancast_engine_latency_seconds_sum", "plancast_engine_latency_seconds_count":
			// Samples without a type: their family is not complete.
			fmt.Fprintf(&b, "# TYPE %s unknown\n", family)
		case "plancast_builds":
			fmt.Fprintf(&b, "# TYPE %s counter\n", family)
			name += "_total"
		default:
			fmt.Fprintf(&b, "# TYPE %s gauge\n", family)
		}
		for _, labels := range slices.Sorted(maps.Keys(families[family])) {
			for _, s := range families[family][labels] {
				fmt.Fprintf(&b, "%s{%s} %s %s\n", name, labels, strconv.FormatFloat(s.v, 'g', -1, 64),
					strconv.FormatFloat(float64(s.t.UnixMilli())/1000, 'f', -1, 64))
			}
		}
	}
	b.WriteString("# EOF\n")
	return b.String()
}

// Improving makes the results of an engine that gets faster in steps, the way
// optimizations come: a gain now and then, and noise. The same seed gives the
// same results.
func Improving(seed uint64, n int, first time.Time, every time.Duration, from, floor float64, environment string) []Result {
	rnd := rand.New(rand.NewPCG(seed, 99))
	out := make([]Result, n)
	level := from
	for i := range out {
		if i > 0 && rnd.Float64() < 0.4 {
			level = floor + (level-floor)*(0.75+0.2*rnd.Float64())
		}
		v := level * math.Exp(0.01*rnd.NormFloat64())
		jitter := time.Duration(rnd.Int64N(int64(every / 4)))
		out[i] = Result{
			Number: i + 1, Time: first.Add(time.Duration(i)*every + jitter).Truncate(time.Second), P99: math.Round(v*1e7) / 1e7,
			Throughput: math.Round(60/v) + 0.0, Deviation: math.Round(1e5*(0.002+0.004*rnd.Float64())) / 1e5,
			Environment: environment, Unquantized: rnd.IntN(2),
		}
	}
	return out
}
