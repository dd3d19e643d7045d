package demo_test

import (
	"bytes"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/metrics"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/stack/demo"
)

var now = time.Date(2026, 3, 10, 15, 0, 0, 0, time.UTC)

func written(t *testing.T, o demo.Options) []history.Record {
	t.Helper()
	if err := demo.Write(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	s, err := history.OpenReadOnly(filepath.Join(o.Dir, "state", "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var out []history.Record
	for r, err := range s.Records(t.Context(), history.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

func TestTheSameMomentGivesTheSameHistory(t *testing.T) {
	a, b := written(t, demo.Options{Dir: t.TempDir(), Now: now}), written(t, demo.Options{Dir: t.TempDir(), Now: now})
	if len(a) == 0 || !reflect.DeepEqual(a, b) {
		t.Errorf("%d and %d records differ", len(a), len(b))
	}
	first, last := a[0].Finished, a[len(a)-1].Finished
	if last.After(now) || now.Sub(last) > 24*time.Hour || now.Sub(first) < 100*24*time.Hour {
		t.Errorf("the history goes from %s to %s; want some months that end within the last day of %s", first, last, now)
	}
}

func TestTheSecondHostMeasuresTheSameCandidatesOnAnotherGPU(t *testing.T) {
	pushed := map[[2]string]string{}
	for _, r := range written(t, demo.Options{Dir: t.TempDir(), Now: now}) {
		pushed[[2]string{r.Model, r.Version}] = r.Digest
	}
	seen := map[string]bool{}
	for _, r := range written(t, demo.Options{Host: demo.Second, Dir: t.TempDir(), Now: now}) {
		seen[r.Model] = true
		if want := pushed[[2]string{r.Model, r.Version}]; r.Device != demo.FastGPU || r.Digest != want {
			t.Fatalf("%s version %s is %.12s on %s; want %.12s on %s", r.Model, r.Version, r.Digest, r.Device, want, demo.FastGPU)
		}
	}
	if got := slices.Sorted(maps.Keys(seen)); !slices.Equal(got, slices.Sorted(slices.Values(demo.Both))) {
		t.Errorf("it measures %q, want %q", got, demo.Both)
	}
}

func TestTheConfigurationsAreValid(t *testing.T) {
	dir := t.TempDir()
	written(t, demo.Options{Host: demo.Second, Dir: filepath.Join(dir, "second"), Now: now})
	if err := demo.WriteFleet(filepath.Join(dir, "fleet"), "http://localhost:9090", now); err != nil {
		t.Fatal(err)
	}
	second, err := config.Load(filepath.Join(dir, "second", demo.ConfigFile))
	if err != nil || len(second.Milestones) > 0 {
		t.Errorf("the second host: %d milestones, %v", len(second.Milestones), err)
	}
	fleet, err := config.Load(filepath.Join(dir, "fleet", demo.ConfigFile))
	if err != nil || fleet.Source == nil || len(fleet.Milestones) != 1 || fleet.Milestones[0].Name != demo.FleetMilestone {
		t.Errorf("the fleet: %+v, %v", fleet.Milestones, err)
	}
}

func TestASecondDemoTakesThePlaceOfTheFirst(t *testing.T) {
	dir := t.TempDir()
	n := len(written(t, demo.Options{Dir: dir, Now: now.AddDate(0, 0, -1)}))
	if got := len(written(t, demo.Options{Dir: dir, Now: now})); got != n {
		t.Errorf("%d records after the second; want %d", got, n)
	}
	if err := demo.Write(t.Context(), demo.Options{Dir: dir, Now: now, Days: 3}); err == nil || !strings.Contains(err.Error(), "use 10 or more") {
		t.Errorf("three days: %v", err)
	}
}

// Whatever day it is shown, the demo has what its dashboards and pages promise.
func TestTheDemoShowsEveryStateAndKindOfFailure(t *testing.T) {
	for _, days := range []int{0, 33} {
		at := now.AddDate(0, 0, days)
		dir := t.TempDir()
		records := written(t, demo.Options{Dir: dir, Now: at})
		cfg, err := config.Load(filepath.Join(dir, demo.ConfigFile))
		if err != nil {
			t.Fatal(err)
		}
		in := standing.Evidence{Now: at, Records: records, Milestones: cfg.Milestones}
		kinds, fingerprints := map[string]bool{}, map[string]map[string]bool{}
		for _, m := range history.ByModel(history.Entries(records)) {
			in.Models = append(in.Models, standing.Held{Name: m.Name, Precisions: cfg.Precisions})
		}
		for _, r := range records {
			if !strings.HasSuffix(r.Device, "(demo)") {
				t.Errorf("record %d is on %s, which does not say that it is a demo", r.ID, r.Device)
			}
			if !r.OK() {
				kinds[string(r.Failure.Kind)] = true
			}
			if fingerprints[r.Model] == nil {
				fingerprints[r.Model] = map[string]bool{}
			}
			fingerprints[r.Model][r.Fingerprint] = true
		}
		state, err := standing.Derive(in)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]forecast.State{
			"assistant-launch": forecast.OnTrack, "batch-scoring": forecast.AtRisk, "speech-beta": forecast.IsStalled,
			"translation-preview": forecast.IsAtypical, "voice-activity": forecast.Met,
		} {
			i := slices.IndexFunc(state.Milestones, func(m standing.MilestoneState) bool { return m.Name == name })
			if m := state.Milestones[i]; m.State != want {
				t.Errorf("%s is %+v on %s; want %s", name, m.Forecast, at.Format(time.DateOnly), want)
			}
		}
		if len(kinds) < 6 {
			t.Errorf("only the failures %v", kinds)
		}
		if len(fingerprints["segformer-b0"]) != 2 {
			t.Errorf("segformer-b0 has the environments %v; want a change", fingerprints["segformer-b0"])
		}
	}
}

func TestTelemetryOfThePastLeadsToThatOfNow(t *testing.T) {
	var past bytes.Buffer
	if err := demo.WriteTelemetry(&past, now, 10, time.Hour); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	demo.Telemetry(func() time.Time { return now }).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
	if len(lines) < 50 {
		t.Fatalf("only %d series", len(lines))
	}
	known := map[string][]string{}
	for _, f := range metrics.Families() {
		known[f.Name] = f.Labels
	}
	for _, line := range lines {
		name, rest, _ := strings.Cut(line, "{")
		labels, value, _ := strings.Cut(rest, "} ")
		if n := strings.Count(labels, "="); len(known[name]) != n {
			t.Errorf("%s has %d labels; the exporter's has %q", line, n, known[name])
		}
		want := name + `{job="plancast",instance="demo-gpu",` + labels + "} " + value + " " + strconv.FormatInt(now.Unix(), 10) + "\n"
		if !strings.Contains(past.String(), want) {
			t.Errorf("the past does not end with %s", want)
		}
	}
}
