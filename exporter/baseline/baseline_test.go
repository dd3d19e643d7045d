package baseline_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/baseline"
	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/compare"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/report"
	"github.com/plancast/plancast/exporter/standing"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// measured is a record whose P99, in milliseconds, is known within half a percent.
func measured(model, version string, p99 float64, p engine.Precision) history.Record {
	v := p99 / 1e3
	low, high, mlow, mhigh := 0.995*v, 1.005*v, 0.597*v, 0.603*v
	return history.Record{
		Model: model, Version: version, Digest: model + version, Precision: p, Fingerprint: "here", Started: noon, Finished: noon, CandidateTime: noon,
		Environment: engine.Environment{Backend: "onnxruntime"},
		Measurement: &bench.Measurement{Stable: true, Throughput: 500 / p99, Latency: bench.Latency{Queries: 5000, Mean: 0.6 * v, StdDev: 0.01 * v, Quantiles: []bench.Quantile{
			{Q: 0.5, Value: 0.6 * v, Low: &mlow, High: &mhigh}, {Q: 0.99, Value: v, Low: &low, High: &high},
		}}},
	}
}

func target(t *testing.T, precision string, criteria ...string) config.Target {
	t.Helper()
	out := config.Target{Name: "gate", Select: config.Select{Precision: precision}}
	for _, text := range criteria {
		c, err := compare.ParseCriterion(text)
		if err != nil {
			t.Fatal(err)
		}
		out.Relative = append(out.Relative, c)
	}
	return out
}

var options = compare.Options{Margin: 0.02}

func TestWhatARunIsHeldTo(t *testing.T) {
	base := []history.Record{measured("net", "1", 10, engine.FP32), measured("net", "1", 6, engine.INT8)}
	for _, c := range []struct {
		name     string
		own      []history.Record
		targets  []config.Target
		verdict  compare.Verdict
		outcomes []standing.Outcome
		exit     int
	}{
		{"faster", []history.Record{measured("net", "2", 8, engine.FP32)}, nil, compare.Improved, nil, 0},
		{"slower, and nobody asks", []history.Record{measured("net", "2", 12, engine.FP32)}, nil, compare.Regressed, nil, 1},
		{"slower by less than allowed", []history.Record{measured("net", "2", 10.4, engine.FP32)}, []config.Target{target(t, "fp32", "p99 <= base + 10%")}, compare.Regressed, []standing.Outcome{standing.Met}, 0},
		{"slower by more", []history.Record{measured("net", "2", 12, engine.FP32)}, []config.Target{target(t, "fp32", "p99 <= base + 10%")}, compare.Regressed, []standing.Outcome{standing.Missed}, 1},
		{"at the limit", []history.Record{measured("net", "2", 11, engine.FP32)}, []config.Target{target(t, "fp32", "p99 <= base + 10%")}, compare.Regressed, []standing.Outcome{standing.Undecided}, 2},
		{"the best of each side", []history.Record{measured("net", "2", 12, engine.FP32), measured("net", "2", 6, engine.INT8)}, []config.Target{target(t, config.Best, "p99 <= base + 5%")}, compare.Regressed, []standing.Outcome{standing.Met}, 0},
		{"a model without a base", []history.Record{measured("new", "1", 5, engine.FP32)}, []config.Target{target(t, "fp32", "p99 <= base")}, compare.Undecided, []standing.Outcome{standing.Unknown}, 2},
		{"nothing in common, and nobody asks", []history.Record{measured("new", "1", 5, engine.FP32)}, nil, compare.Undecided, nil, 2},
		{"a new model beside one with a base", []history.Record{measured("net", "2", 8, engine.FP32), measured("new", "1", 5, engine.FP32)}, nil, compare.Improved, nil, 0},
		{"an engine that is not there", []history.Record{measured("net", "2", 5, engine.FP32)}, []config.Target{target(t, "fp16", "p99 <= base")}, compare.Improved, []standing.Outcome{standing.Unknown}, 2},
	} {
		b := baseline.Compare("main.json", base, c.own, c.targets, options)
		if b.Verdict != c.verdict || len(b.Criteria) != len(c.outcomes) {
			t.Errorf("%s: %s, %+v; want %s", c.name, b.Verdict, b.Criteria, c.verdict)
			continue
		}
		for i, o := range c.outcomes {
			if x := b.Criteria[i]; x.Outcome != o || (o == standing.Undecided || o == standing.Unknown) != (x.Why != "") {
				t.Errorf("%s: %+v; want %s", c.name, x, o)
			}
		}
		if got := (report.View{Baseline: &b}).ExitCode(nil); got != c.exit {
			t.Errorf("%s: status %d; want %d", c.name, got, c.exit)
		}
	}
}

// What a baseline is read from gives the same comparison.
func TestEverySourceOfABaseline(t *testing.T) {
	dir := t.TempDir()
	s, err := history.Open(filepath.Join(dir, "history.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var exported bytes.Buffer
	for _, r := range []history.Record{measured("net", "1", 10, engine.FP32), measured("net", "2", 20, engine.FP32)} {
		r.Change = &change.Change{Branch: map[string]string{"1": "main", "2": "feature"}[r.Version]}
		r, err := s.Append(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if r.Version == "1" {
			if err := json.NewEncoder(&exported).Encode(r); err != nil {
				t.Fatal(err)
			}
		}
	}
	records := []history.Record{measured("net", "1", 10, engine.FP32)}
	records[0].ID, records[0].Iteration = 1, 1
	state, err := standing.Derive(standing.Evidence{Now: noon, Records: records, Models: []standing.Held{{Name: "net"}}})
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := report.JSON(&text, report.Build(state)); err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/plancast/api/v1/report" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(text.Bytes())
	}))
	defer web.Close()
	for name, content := range map[string][]byte{"report.json": text.Bytes(), "export.jsonl": exported.Bytes(), "empty": nil, "other.json": []byte(`{"a": 1}`), "newer.json": []byte(`{"schema_version": 99}`)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	own := []history.Record{measured("net", "3", 8, engine.FP32)}
	for source, says := range map[string]string{
		filepath.Join(dir, "report.json"): "", filepath.Join(dir, "export.jsonl"): "", web.URL + "/plancast": "", web.URL + "/plancast/": "", "version:1": "", "branch:main": "",
		filepath.Join(dir, "empty"): "it has no result", filepath.Join(dir, "other.json"): "neither a report", filepath.Join(dir, "newer.json"): "schema version is 99",
		filepath.Join(dir, "none"): "name a file, a URL, version:N or branch:NAME", "version:9": "it has no result", "branch:none": "it has no result", web.URL: "it answered 404",
		"http://ann:secret@127.0.0.1:1/": "ann:xxxxx@",
	} {
		base, err := baseline.Sources{History: s, Report: report.Records}.Load(t.Context(), source)
		if (err != nil) != (says != "") || err != nil && (!strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: %v; want %q", source, err, says)
			continue
		}
		if err != nil {
			continue
		}
		b := baseline.Compare(source, base, own, []config.Target{target(t, "fp32", "p99 <= 85% of base", "throughput >= base + 20%")}, options)
		if len(b.Results) != 1 || b.Verdict != compare.Improved || b.Results[0].A.Version != "1" || b.Criteria[0].Outcome != standing.Met || b.Criteria[1].Outcome != standing.Met {
			t.Errorf("%s: %+v", source, b)
		}
	}
}

func TestNothingIsItsOwnBaseline(t *testing.T) {
	old, own := measured("net", "1", 10, engine.FP32), measured("net", "2", 8, engine.FP32)
	old.ID, own.ID, own.Finished = 1, 2, noon.Add(time.Hour)
	b := baseline.Compare("branch:main", []history.Record{old, own}, []history.Record{own}, nil, options)
	if len(b.Results) != 1 || b.Results[0].A.ID != 1 {
		t.Errorf("%+v", b.Results)
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"schema_version": 1, "models": [{"name": "net", "rows": [{"precision": "fp32", "result": {"p99": {"value_s": 0.1}}}]}]}`))
	f.Add([]byte(`{"model": "net", "failure": {"kind": "timeout"}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		records, err := baseline.Sources{Report: report.Records}.Read(bytes.NewReader(text))
		if err != nil {
			return
		}
		baseline.Compare("x", records, records, nil, options)
	})
}
