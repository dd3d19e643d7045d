package report_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/compare"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/report"
	"github.com/plancast/plancast/exporter/report/reporttest"
)

// comparisons are one of each kind: apart, in turns, and not comparable.
func comparisons() []compare.Result {
	b := reporttest.NewBuilder(reporttest.Now)
	one, two := reporttest.Environment("1.31.0"), reporttest.Environment("1.32.0")
	layers := func(precision engine.Precision) *bench.LayerSummary {
		return &bench.LayerSummary{Layers: []engine.Layer{{Name: "conv", Precision: precision}, {Name: "head | <b>", Precision: engine.FP32}}}
	}
	interval := func(r *history.Record) {
		for i, q := range r.Measurement.Latency.Quantiles {
			low, high := q.Value*0.995, q.Value*1.006
			r.Measurement.Latency.Quantiles[i].Low, r.Measurement.Latency.Quantiles[i].High = &low, &high
		}
	}
	b.Add("net", "1", 1, engine.FP32, one, func(r *history.Record) { reporttest.Measured(0.05)(r); interval(r) })
	b.Add("net", "2", 2, engine.FP32, one, func(r *history.Record) {
		reporttest.Measured(0.04)(r)
		interval(r)
		r.Measurement.Layers = layers(engine.FP32)
		r.Change = &change.Change{Kinds: []change.Kind{change.Fusion}, Author: "Ann <b>", Commit: "0123456789ab", Link: "https://git.example.org/pull/7?tab=files"}
	})
	b.Add("net", "3", 3, engine.INT8, one, func(r *history.Record) {
		reporttest.Measured(0.02)(r)
		r.Measurement.Layers = layers(engine.INT8)
		r.Measurement.Disturbance = &bench.Disturbance{Suffered: 2}
	})
	b.Add("net", "4", 1, engine.FP32, two, func(r *history.Record) {
		reporttest.Measured(0.041)(r)
		r.Measurement.Comparison = &bench.Comparison{Version: "2", Digest: reporttest.Digest("net", "2"), Windows: 2, Changes: []bench.Change{
			{Quantity: "p50", Ratio: 1.01, Low: 0.99, High: 1.05}, {Quantity: "p99", Ratio: 1.001, Low: 0.993, High: 1.009, Verdict: bench.Equivalent},
		}}
	})
	b.Add("net", "5", 2, engine.FP32, two, func(r *history.Record) {
		r.Failure = &history.Failure{Error: engine.Error{Kind: engine.KindUnsupportedOperator}}
		r.Excluded = &history.Exclusion{Because: "x"}
	})
	r, o := b.Records, compare.Options{Margin: 0.02}
	return []compare.Result{
		compare.Results(r[0], r[1], o), compare.Results(r[1], r[2], o), compare.Results(r[1], r[3], o), compare.Results(r[0], r[3], o), compare.Results(r[0], r[4], o),
	}
}

func TestEachFormOfAComparison(t *testing.T) {
	list := comparisons()
	for name, write := range map[string]func(*bytes.Buffer) error{
		"comparisons.txt":  func(b *bytes.Buffer) error { return report.CompareText(b, list) },
		"comparisons.md":   func(b *bytes.Buffer) error { return report.CompareMarkdown(b, list) },
		"comparisons.json": func(b *bytes.Buffer) error { return report.CompareJSON(b, list) },
		"comparisons.html": func(b *bytes.Buffer) error {
			return report.CompareHTML(b, report.ComparePage{
				Model: "net", A: "1", B: "newest", Results: list,
				Choices: []report.CompareChoice{{Ref: "newest", Name: "newest"}, {Ref: "1", Name: "version 1 fp32, 2026-01-20"}},
			}, "https://example.org/docs")
		},
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.Bytes())
	}
}

// A table that fits a comment on a change, with what it is about on the first line.
func TestAComparisonFitsAPullRequest(t *testing.T) {
	for _, r := range comparisons() {
		var b bytes.Buffer
		if err := report.CompareMarkdown(&b, []compare.Result{r}); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(b.String(), "\n")
		if !strings.Contains(lines[0], r.Verdict.Words()) {
			t.Errorf("the first line is %q", lines[0])
		}
		for _, line := range lines {
			if n := strings.Count(line, "|") - strings.Count(line, `\|`); strings.HasPrefix(line, "|") && n > 9 {
				t.Errorf("%d columns: %s", n-1, line)
			}
		}
	}
}

// The command is printed where the two can be timed in turns, and nowhere else.
func TestAComparisonSaysHowToTimeBothInTurns(t *testing.T) {
	measured := func(id int64, version string, edits ...func(*history.Record)) history.Record {
		r := history.Record{ID: id, Model: "net", Version: version, Digest: "d" + version, Precision: engine.INT8, Fingerprint: "here"}
		reporttest.Measured(0.05)(&r)
		for _, f := range edits {
			f(&r)
		}
		return r
	}
	const want = "plancast run --again --model net --version 2 --against 1 --precision int8"
	for name, c := range map[string]struct {
		a, b history.Record
		says bool
	}{
		"two versions":         {measured(1, "1"), measured(2, "2"), true},
		"timed in turns":       {measured(1, "1"), measured(2, "2", func(r *history.Record) { r.Measurement.Comparison = &bench.Comparison{Digest: "d1"} }), false},
		"one version":          {measured(1, "1"), measured(2, "1"), false},
		"the same content":     {measured(1, "1"), measured(2, "2", func(r *history.Record) { r.Digest = "d1" }), false},
		"other models":         {measured(1, "1", func(r *history.Record) { r.Model = "other" }), measured(2, "2"), false},
		"other precisions":     {measured(1, "1", func(r *history.Record) { r.Precision = engine.FP32 }), measured(2, "2"), false},
		"another environment":  {measured(1, "1", func(r *history.Record) { r.Fingerprint = "there" }), measured(2, "2"), false},
		"of another history":   {measured(0, "1"), measured(2, "2"), false},
		"a version of a shell": {measured(1, "$(x)"), measured(2, "2"), false},
	} {
		list := []compare.Result{compare.Results(c.a, c.b, compare.Options{Margin: 0.02})}
		for form, write := range map[string]func(io.Writer) error{
			"text":     func(w io.Writer) error { return report.CompareText(w, list) },
			"markdown": func(w io.Writer) error { return report.CompareMarkdown(w, list) },
			"html": func(w io.Writer) error {
				return report.CompareHTML(w, report.ComparePage{Model: "net", Results: list}, "https://example.org/docs")
			},
		} {
			var b bytes.Buffer
			if err := write(&b); err != nil || strings.Contains(b.String(), want) != c.says {
				t.Errorf("%s as %s: %v\n%s", name, form, err, b.String())
			}
		}
	}
}
