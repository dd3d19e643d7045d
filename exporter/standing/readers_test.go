package standing_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/metrics"
	"github.com/plancast/plancast/exporter/notify"
	"github.com/plancast/plancast/exporter/report"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/units"
)

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
	snapshot, err := metrics.NewSnapshot(s, metrics.Build{}, 0)
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
