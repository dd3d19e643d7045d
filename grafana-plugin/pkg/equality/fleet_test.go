//go:build cgo

package equality_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/tsdb/promtest"
)

// relabeled adds the samples of an OpenMetrics text to lines, with the labels
// that a scrape adds.
func relabeled(lines map[string][]string, text, labels string) {
	for line := range strings.Lines(text) {
		if name, rest, ok := strings.Cut(line, "{"); ok && !strings.HasPrefix(line, "#") {
			lines[name] = append(lines[name], name+"{"+labels+","+rest)
		}
	}
}

// Two exporters, one store: the fleet daemon, the plugin and, for its own models,
// each exporter say the same.
func TestAMilestoneOverTwoExportersIsTheSameInFleetDaemonAndPlugin(t *testing.T) {
	best := config.Select{Precision: config.Best}
	due := now.AddDate(0, 0, 6)
	milestone := func(name string, where terms.Selector) config.Milestone {
		m := config.Milestone{Name: name, Select: best, Criteria: []forecast.Criterion{fast, faithful}, Share: 0.6, Deadline: due, Ready: 0.9}
		m.Where = where
		return m
	}
	own := []config.Milestone{milestone("own", terms.Selector{})}
	other := func(i int, r *history.Record) bool {
		r.Device, r.Fingerprint = "NVIDIA H200", "aa00c4418d21"
		return true
	}
	var first, second diary
	first.candidates("bert-base", 14, 0.075, nil)
	first.candidates("resnet50", 14, 0.085, nil)
	second.candidates("resnet50", 8, 0.1, other)
	lines := map[string][]string{}
	exporters := map[string]map[string]float64{}
	for host, d := range map[string]*diary{"gpu-1": &first, "gpu-2": &second} {
		text, families := d.scraped(t, own)
		relabeled(lines, text, `instance="`+host+`",job="plancast"`)
		exporters[host] = published(families)
	}

	by := []string{"model", "instance", "device"}
	ms := []config.Milestone{
		milestone("whole fleet", terms.Selector{}),
		milestone("first", terms.Selector{}.With("instance", "gpu-1")),
		milestone("second", terms.Selector{}.With("instance", "gpu-2")),
		milestone("newest devices", terms.Selector{}.With("device", "NVIDIA H*")),
	}
	exported := promtest.Store{URL: promtest.Start(t, openMetrics(lines))}
	families := gathered(t, fleetDaemon(t, exported, by, ms, now))
	want := published(families)
	for host, name := range map[string]string{"gpu-1": "first", "gpu-2": "second"} {
		if want[name] != exporters[host]["own"] {
			t.Errorf("%s: the fleet daemon says %v, the exporter %v", host, want[name], exporters[host]["own"])
		}
	}
	if want["second"] != want["newest devices"] {
		t.Errorf("the same models by host and by device: %v and %v", want["second"], want["newest devices"])
	}

	for _, f := range families {
		if !read.MatchString(f.GetName()) {
			continue
		}
		for _, m := range f.GetMetric() {
			lines[f.GetName()] = append(lines[f.GetName()], line(f.GetName(), `instance="fleet",job="plancast-fleet",`+labels(m), m.GetGauge().GetValue(), now))
		}
	}
	scraped := promtest.Store{URL: promtest.Start(t, openMetrics(lines))}
	again := published(gathered(t, fleetDaemon(t, scraped, by, ms, now)))
	source := dataSource(t, scraped)
	for _, m := range ms {
		q, err := json.Marshal(map[string]any{"type": "probability", "source": "milestone", "milestone": m.Name, "resolution": "30m"})
		if err != nil {
			t.Fatal(err)
		}
		answer, err := source.QueryData(context.Background(), &backend.QueryDataRequest{Queries: []backend.DataQuery{{RefID: "A", JSON: q, TimeRange: backend.TimeRange{From: begin, To: now}}}})
		if err != nil || answer.Responses["A"].Error != nil {
			t.Fatal(m.Name, err, answer.Responses["A"].Error)
		}
		got, _ := answer.Responses["A"].Frames[0].Fields[0].ConcreteAt(0)
		if got != want[m.Name] {
			t.Errorf("%s: the plugin says %v, the fleet daemon %v", m.Name, got, want[m.Name])
		}
		if again[m.Name] != want[m.Name] {
			t.Errorf("%s: %v once the fleet daemon itself is in the store, %v before", m.Name, again[m.Name], want[m.Name])
		}
		if p := want[m.Name]; p == 0 || p == 1 {
			t.Errorf("%s: the fleet daemon says %v, which proves little", m.Name, p)
		}
	}
}

func TestAFleetDaemonReadsWhatIsNewAndSaysTheSame(t *testing.T) {
	var d diary
	d.candidates("bert-base", 14, 0.075, nil)
	ms := []config.Milestone{{Name: "m", Select: config.Select{Precision: config.Best}, Criteria: []forecast.Criterion{fast}, Share: 1, Deadline: now.AddDate(0, 0, 6), Ready: 0.9}}
	text, _ := d.scraped(t, ms)
	store := promtest.Store{URL: promtest.Start(t, text)}
	at := begin.AddDate(0, 0, 9)
	step := openFleet(t, store, []string{"model"}, ms, func() time.Time { return at })
	for ; at.Before(now); at = at.Add(5*time.Hour + 7*time.Minute) {
		step.Read(t.Context())
	}
	at = now
	step.Read(t.Context())
	if got, want := published(gathered(t, step)), fleetOf(t, store, []string{"model"}, ms, now); len(want) == 0 || got["m"] != want["m"] {
		t.Errorf("read in parts %v, at once %v", got, want)
	}
}
