package standing_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/metrics"
	"github.com/plancast/plancast/exporter/notify"
	"github.com/plancast/plancast/exporter/report"
	"github.com/plancast/plancast/exporter/report/reporttest"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/units"
)

var now = time.Date(2026, 6, 1, 9, 0, 0, 0, time.UTC)

// world makes evidence in which anything may happen: failures, precisions that
// a backend cannot give, figures that were not measured, candidates tried again,
// out of order or not through, changes of environment, models that left or never
// came, several milestones with shares, horizons, deadlines and criteria.
type world struct {
	*rand.Rand
	seed uint64
	standing.Evidence
}

func newWorld(seed uint64) *world {
	w := &world{seed: seed, Rand: rand.New(rand.NewPCG(seed, 12)), Evidence: standing.Evidence{Now: now}}
	precisions := [][]engine.Precision{{engine.FP32}, {engine.FP32, engine.INT8}, {engine.FP32, engine.FP16, engine.INT8}}[w.IntN(3)]
	for m := range 1 + w.IntN(5) {
		name := fmt.Sprintf("model-%c", 'a'+m)
		environments := w.model(name, precisions)
		if w.IntN(5) == 0 {
			if w.IntN(2) == 0 {
				w.Left = map[string]time.Time{name: now.AddDate(0, 0, -w.IntN(60))}
			}
			continue // it left the repository
		}
		h := standing.Held{Name: name, Precisions: precisions}
		if w.IntN(2) == 0 {
			h.Fingerprint = environments[w.IntN(len(environments))]
		}
		w.Models = append(w.Models, h)
	}
	for i := range 1 + w.IntN(2) {
		m := config.Milestone{Name: fmt.Sprintf("milestone-%d", i), Select: w.selection(), Criteria: w.criteria(), Share: []float64{1, 0.8, 0.5, 0.2}[w.IntN(4)], Ready: 0.9}
		if w.IntN(2) == 0 {
			m.Horizon = 1 + w.IntN(8)
		}
		if m.Horizon == 0 || w.IntN(2) == 0 {
			m.Deadline = now.AddDate(0, 0, w.IntN(90)-10)
		}
		if w.IntN(8) == 0 {
			m.Environment = "env-0"
		}
		w.Milestones = append(w.Milestones, m)
	}
	if w.IntN(2) == 0 {
		w.Targets = append(w.Targets, config.Target{Name: "gate", Select: w.selection(), Criteria: w.criteria()})
	}
	slices.SortStableFunc(w.Records, func(a, b history.Record) int { return a.Finished.Compare(b.Finished) })
	for i := range w.Records {
		w.Records[i].ID = int64(i + 1)
	}
	return w
}

func (w *world) selection() config.Select {
	s := config.Select{Precision: []string{config.Best, config.Best, "fp32", "int8"}[w.IntN(4)]}
	switch w.IntN(5) {
	case 0:
		s.Models = []string{"model-a", "model-b"}
	case 1:
		s.Models = []string{"model-[ac]", "model-e"}
	case 2:
		s.Models = []string{"nothing*"}
	}
	return s
}

func (w *world) criteria() []forecast.Criterion {
	all := reporttest.Criteria("p99 < 50ms", "accuracy_deviation < 0.5%", "throughput >= 30/s", "memory <= 100MiB")
	w.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:1+w.IntN(3)]
}

// model writes the history of one model, of 0 to 40 candidates, and returns the
// environments that it may be measured in.
func (w *world) model(name string, precisions []engine.Precision) []string {
	environments := []string{"env-0"}
	n := w.IntN(40)
	if w.IntN(6) == 0 {
		n = w.IntN(3)
	}
	at := now.AddDate(0, 0, -w.IntN(500)).Add(-time.Duration(n) * 24 * time.Hour)
	if w.IntN(3) > 0 {
		at = now.Add(-time.Duration(n+1) * 24 * time.Hour)
	}
	level, iteration, unknown := 0.02+0.15*w.Float64(), 0, []float64{0, 0.1, 0.5, 1}[w.IntN(4)]
	for i := 1; i <= n; i++ {
		if w.IntN(12) == 0 {
			environments = append(environments, fmt.Sprintf("env-%d", len(environments)))
			iteration = 0
		}
		iteration++
		at = at.Add(time.Duration(1+w.IntN(24)) * time.Hour)
		if w.IntN(3) == 0 {
			level *= 0.8 + 0.3*w.Float64()
		}
		number := iteration
		if w.IntN(25) == 0 {
			number, iteration = 0, iteration-1 // out of order
		}
		for k, p := range precisions {
			if w.IntN(15) == 0 {
				continue // given up, or still to come
			}
			r := history.Record{
				Model: name, Version: fmt.Sprint(i), Digest: fmt.Sprint(w.seed, name, i), Precision: p, Iteration: number,
				Backend: "fake", Device: "device", Environment: engine.Environment{Backend: "fake", Device: "device"},
				Fingerprint: environments[len(environments)-1], Started: at, Finished: at.Add(time.Duration(k) * time.Minute),
			}
			if w.IntN(20) == 0 {
				r.Finished = at.Add(30 * time.Hour) // tried again, after its successor
			}
			switch {
			case p == engine.FP16 && w.IntN(4) > 0:
				r.Failure = &history.Failure{Error: engine.Error{Kind: engine.KindUnsupportedPrecision}}
			case w.IntN(10) == 0:
				r.Failure = &history.Failure{Error: engine.Error{Kind: engine.Kinds[w.IntN(len(engine.Kinds))]}}
			default:
				r.Measurement = w.measurement(level*(1-0.2*float64(k)), unknown)
				if p == engine.INT8 && w.IntN(6) == 0 {
					r.Measurement.Layers = &bench.LayerSummary{Total: 59, NoEffect: "none of the 59 layers that multiply does so in 8 bits"}
				}
			}
			w.Records = append(w.Records, r)
		}
	}
	return append(environments, "env-new")
}

func (w *world) measurement(p99, unknown float64) *bench.Measurement {
	m := &bench.Measurement{Throughput: 1 / p99, Stable: true, Latency: bench.Latency{Queries: 700, Mean: p99 * 0.8, Sum: p99 * 560}}
	if w.IntN(12) > 0 {
		m.Latency.Quantiles = []bench.Quantile{{Q: 0.99, Value: p99}}
	}
	if w.Float64() >= unknown {
		m.Accuracy = &bench.Accuracy{Deviation: 0.008 * w.Float64()}
	}
	if w.IntN(3) > 0 {
		peak := int64(90<<20 + w.IntN(20<<20))
		m.Memory.PeakBytes = &peak
	}
	return m
}

// answer is what one reader says of a milestone.
type answer struct {
	met                   bool
	ready, needed, models int
	state                 forecast.State
	probability           string
}

// answers are those of all milestones, and the environment of each model.
type answers struct {
	milestones   map[string]answer
	environments map[string]string
}

func ofState(s *standing.State) answers {
	a := answers{map[string]answer{}, map[string]string{}}
	for _, m := range s.Milestones {
		x := answer{m.Met, m.ModelsReady, m.ModelsNeeded, m.ModelsTotal, m.State, "none"}
		if m.Forecast != nil && m.Forecast.Probability != nil {
			x.probability = fmt.Sprint(m.Forecast.Probability.Value)
		}
		a.milestones[m.Name] = x
	}
	for _, m := range s.Models {
		a.environments[m.Name] = m.Series.Fingerprint
	}
	return a
}

func ofView(v report.View) answers {
	a := answers{map[string]answer{}, map[string]string{}}
	for _, m := range v.Milestones {
		x := answer{m.Met, m.Ready, m.Needed, m.Total, m.State, "none"}
		if m.Forecast != nil && m.Forecast.Probability != nil {
			x.probability = fmt.Sprint(m.Forecast.Probability.Value)
		}
		a.milestones[m.Name] = x
	}
	for _, m := range v.Models {
		a.environments[m.Name] = ""
		if m.Environment != nil {
			a.environments[m.Name] = m.Environment.Fingerprint
		}
	}
	return a
}

func ofJSON(t testing.TB, v report.View) answers {
	var text bytes.Buffer
	if err := report.JSON(&text, v); err != nil {
		t.Fatal(err)
	}
	var back report.View
	if err := json.Unmarshal(text.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	return ofView(back)
}

func ofMetrics(t testing.TB, s *standing.State) answers {
	snapshot, err := metrics.NewSnapshot(s, metrics.Build{})
	if err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(metrics.NewCollector(snapshot))
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	a := answers{map[string]answer{}, map[string]string{}}
	label := func(m *dto.Metric, name string) string {
		for _, l := range m.GetLabel() {
			if l.GetName() == name {
				return l.GetValue()
			}
		}
		return ""
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			milestone, v := label(m, "milestone"), m.GetGauge().GetValue()
			x, ok := a.milestones[milestone]
			if !ok {
				x.probability = "none"
			}
			switch f.GetName() {
			case "plancast_milestone_models_ready":
				x.ready = int(v)
			case "plancast_milestone_models_needed":
				x.needed = int(v)
			case "plancast_milestone_models_selected":
				x.models = int(v)
			case "plancast_milestone_probability":
				x.probability = fmt.Sprint(v)
			case "plancast_milestone_state":
				if v == 1 {
					x.state = forecast.State(label(m, "state"))
					x.met = x.state == forecast.Met
				}
			case "plancast_environment_info":
				a.environments[label(m, "model")] = label(m, "fingerprint")
				continue
			case "plancast_model_info":
				if name := label(m, "model"); a.environments[name] == "" {
					a.environments[name] = ""
				}
				continue
			default:
				continue
			}
			a.milestones[milestone] = x
		}
	}
	return a
}

// readersAgree is the law: whoever presents the state gives the same answers.
func readersAgree(t testing.TB, seed uint64) {
	t.Helper()
	w := newWorld(seed)
	s, err := standing.Derive(w.Evidence)
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	standing.Agree(t, s)
	v := report.Build(s)
	want := ofState(s)
	for reader, got := range map[string]answers{"the report": ofView(v), "its JSON": ofJSON(t, v), "the metrics": ofMetrics(t, s)} {
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s says\n %+v, and the state is\n %+v", reader, got, want)
		}
	}
	for _, m := range v.Milestones {
		if m.Forecast != nil && (m.Forecast.Met != m.Met || m.Forecast.State != m.State) {
			t.Errorf("%s is met %v, %s, and its forecast says %v, %s", m.Name, m.Met, m.State, m.Forecast.Met, m.Forecast.State)
		}
	}
	if seed%4 == 0 {
		withoutOne(t, w, s)
	}
	if t.Failed() {
		t.Fatalf("seed %d", seed)
	}
}

// withoutOne deletes a model from the repository: no milestone gets better odds.
func withoutOne(t testing.TB, w *world, s *standing.State) {
	if len(w.Models) == 0 {
		return
	}
	e := w.Evidence
	i := w.IntN(len(e.Models))
	gone := e.Models[i].Name
	e.Models = slices.Delete(slices.Clone(e.Models), i, i+1)
	if !slices.ContainsFunc(e.Records, func(r history.Record) bool { return r.Model == gone }) {
		return // nothing was ever known of it
	}
	e.Left = nil
	less, err := standing.Derive(e)
	if err != nil {
		t.Fatal(err)
	}
	standing.Agree(t, less)
	for i, m := range less.Milestones {
		before := s.Milestones[i]
		if m.ModelsTotal < before.ModelsTotal || m.ModelsReady > before.ModelsReady || m.Met && !before.Met {
			t.Errorf("%s without %s: %d of %d ready, before %d of %d", m.Name, gone, m.ModelsReady, m.ModelsTotal, before.ModelsReady, before.ModelsTotal)
		}
	}
}

// A daemon reads of a long history what the state rests on, and adds what is
// recorded: the state is that of the whole history.
func TestAHistoryIsLoadedAsWhatItIsAltogether(t *testing.T) {
	for seed := range uint64(40) {
		w := newWorld(seed)
		store, err := history.Open(filepath.Join(t.TempDir(), "history.db"))
		if err != nil {
			t.Fatal(err)
		}
		var stored []history.Record
		for _, r := range w.Records {
			r, err := store.Append(t.Context(), r) // which counts iterations anew
			if errors.Is(err, history.ErrDuplicate) {
				continue
			} else if err != nil {
				t.Fatal(err)
			}
			stored = append(stored, r)
		}
		if w.Records = stored; len(stored) == 0 {
			continue
		}
		n := w.IntN(len(stored))
		var tracker standing.Tracker
		for e, err := range store.Entries(t.Context(), history.Filter{BeforeID: stored[n].ID, Since: standing.LookBack(now), Standing: true}) {
			if err != nil {
				t.Fatal(err)
			}
			if e.ID < stored[n].ID {
				tracker.Load(e)
			}
		}
		for _, id := range tracker.Lacks() {
			r, err := store.Record(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			tracker.Supply(r)
		}
		for _, r := range stored[n:] {
			tracker.Add(r)
		}
		if lacks := tracker.Lacks(); len(lacks) > 0 {
			t.Errorf("seed %d: records %v are not at hand", seed, lacks)
		}
		loaded, err := tracker.Derive(w.Evidence)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		whole, err := standing.Derive(w.Evidence)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if got, want := fmt.Sprint(ofState(loaded)), fmt.Sprint(ofState(whole)); got != want {
			t.Errorf("seed %d, loaded before record %d:\n got %s\nwant %s", seed, stored[n].ID, got, want)
		}
		store.Close()
	}
}

// notified is what receivers read about a state: the text of each message.
type notified struct {
	*notify.Notifier
	texts []string
	last  int64 // ID of the newest record that was observed
}

func newNotified(t testing.TB) *notified {
	store, err := history.Open(filepath.Join(t.TempDir(), "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	cfg, err := config.Parse(strings.NewReader("notifications: {receivers: [{name: chat, url_env: CHAT_URL}]}"), "plancast.yml")
	if err != nil {
		t.Fatal(err)
	}
	n := &notified{}
	n.Notifier, err = notify.New(t.Context(), notify.Options{
		Store: store, Config: cfg, Now: func() time.Time { return now }, Log: slog.New(slog.DiscardHandler),
		Describe: func(m *standing.Model, s *standing.State) notify.Words { return report.Describe(m, s) },
		Send: func(_ context.Context, _ config.Receiver, m notify.Message) error {
			n.texts = append(n.texts, m.Text)
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// agrees checks the messages about the newest candidate of each model.
func (n *notified) agrees(t testing.TB, s *standing.State) (messages int) {
	for _, m := range s.Models {
		if m.Current == nil {
			continue
		}
		n.last++
		n.texts = nil
		fresh := []history.Record{{ID: n.last, Model: m.Name, Digest: m.Current.Digest, Fingerprint: m.Series.Fingerprint, Measurement: &bench.Measurement{}}}
		if err := n.Observe(t.Context(), s, fresh); err != nil {
			t.Fatal(err)
		}
		if _, err := n.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, text := range n.texts {
			messages++
			for _, x := range s.Milestones {
				if _, ok := m.Verdict(standing.KindMilestone, x.Name); !ok {
					continue
				}
				if met := strings.Contains(text, "milestone "+x.Name+" is met"); met != x.Met {
					t.Errorf("%s is met %v, and a message reads\n%s", x.Name, x.Met, text)
				}
				if p := x.Forecast.Probability; !x.Met && p != nil && !strings.Contains(text, " "+units.Percent(p.Value)) {
					t.Errorf("%s has the probability %v, and a message reads\n%s", x.Name, p, text)
				}
			}
		}
	}
	return messages
}

func TestReadersAgree(t *testing.T) {
	n := uint64(2000)
	if testing.Short() {
		n = 200
	}
	for seed := range n {
		readersAgree(t, seed)
	}
}

func TestNotificationsAgree(t *testing.T) {
	n, messages := newNotified(t), 0
	for seed := range uint64(60) {
		s, err := standing.Derive(newWorld(seed).Evidence)
		if err != nil {
			t.Fatal(err)
		}
		messages += n.agrees(t, s)
	}
	if messages < 20 {
		t.Errorf("only %d messages", messages)
	}
}

func FuzzReadersAgree(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { readersAgree(t, seed) })
}
