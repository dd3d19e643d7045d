package report_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/report"
	"github.com/plancast/plancast/exporter/report/reporttest"
	"github.com/plancast/plancast/exporter/standing"
)

func TestHeadlines(t *testing.T) {
	v := build(reporttest.Input())
	for name, want := range map[string]string{
		"squeezenet":        "squeezenet on Intel Xeon Processor @ 2.90GHz: P99 40.8 ms with int8, down 16 % (14-18 %), 47.8/s, up 19 % (17-21 %), meets the launch threshold",
		"resnet50":          "resnet50 on Intel Xeon Processor @ 2.90GHz: P99 61 ms with fp32, down 49 % (unpaired), 32/s, misses the launch threshold (P99 latency 61 ms, wanted < 50 ms)",
		"silero-vad":        "silero-vad on Intel Xeon Processor @ 2.90GHz: version 3 failed, unsupported operator; last good result: version 2, P99 2.6 ms, 15 d ago",
		"inception-v1":      "inception-v1 on Intel Xeon Processor @ 2.90GHz: version 1 failed, the worker crashed",
		"shufflenet":        "shufflenet: no result yet; version 1 is pending: still being copied: 5 MiB, changed 1 s ago",
		"densenet":          "densenet on Intel Xeon Processor @ 2.90GHz: P99 125 ms with fp32, change unknown (disturbed), 15.6/s, still being measured",
		reporttest.LongName: reporttest.LongName + " on Intel Xeon Processor @ 2.90GHz: P99 18.2 ms, 107/s, cannot be judged on the spring-release milestone (accuracy deviation not measured)",
	} {
		if got := model(t, v, name).Headline; got != want {
			t.Errorf("headline of %s\n got %s\nwant %s", name, got, want)
		}
	}
}

// fp16 is the fastest that meets both; fp32 meets them with more to spare, and int8
// is faster and too far off.
func TestTheHeadlineIsTheFastestEngineThatMeetsTheThreshold(t *testing.T) {
	for _, c := range []struct {
		p99, deviation string
		want           string
	}{
		{"p99 < 5ms", "accuracy_deviation < 5%", "P99 451 µs with fp16"},
		{"p99 < 5ms", "accuracy_deviation < 90%", "P99 421 µs with int8"},
		{"p99 < 440us", "accuracy_deviation < 5%", "P99 451 µs with fp16"}, // the nearest
	} {
		b := reporttest.NewBuilder(reporttest.Now.Add(-time.Hour))
		for _, e := range []struct {
			precision      engine.Precision
			p99, deviation float64
		}{{engine.FP32, 730e-6, 0}, {engine.FP16, 451e-6, 0.0182}, {engine.INT8, 421e-6, 0.797}} {
			b.Add("net", "1", 1, e.precision, reporttest.Environment("1.32.0"), func(r *history.Record) {
				reporttest.Measured(e.p99)(r)
				r.Measurement.Accuracy.Deviation = e.deviation
			})
		}
		v := build(standing.Evidence{
			Now: reporttest.Now, Records: b.Records,
			Models: []standing.Held{{Name: "net", Precisions: engine.Precisions, Versions: []standing.Version{
				{Version: "1", Digest: reporttest.Digest("net", "1"), State: standing.Accepted},
			}}},
			Targets: []config.Target{{Name: "launch", Select: config.Select{Precision: config.Best}, Criteria: reporttest.Criteria(c.p99, c.deviation)}},
		})
		if got := model(t, v, "net").Headline; !strings.Contains(got, c.want) {
			t.Errorf("%s, %s: %s, want %s", c.p99, c.deviation, got, c.want)
		}
	}
}

func TestAMilestoneOfAnOlderEnvironmentHasAHeadline(t *testing.T) {
	b := reporttest.NewBuilder(reporttest.Now.Add(-time.Hour))
	for _, version := range []string{"1.31.0", "1.32.0"} {
		b.Add("net", "1", 1, engine.FP32, reporttest.Environment(version), reporttest.Measured(0.004))
	}
	v := build(standing.Evidence{
		Now: reporttest.Now, Records: b.Records,
		Models: []standing.Held{{Name: "net", Precisions: []engine.Precision{engine.FP32}, Versions: []standing.Version{
			{Version: "1", Digest: reporttest.Digest("net", "1"), State: standing.Accepted},
		}}},
		Milestones: []config.Milestone{{
			Name: "launch", Select: config.Select{Precision: config.Best}, Criteria: reporttest.Criteria("p99 < 5ms"), Share: 1,
			Environment: b.Records[0].Fingerprint, Deadline: reporttest.Now.AddDate(0, 1, 0),
		}},
	})
	if m := model(t, v, "net"); m.Best != engine.FP32 || !strings.Contains(m.Headline, "P99 4 ms") {
		t.Errorf("%s, best %q", m.Headline, m.Best)
	}
}

func TestMarks(t *testing.T) {
	v := build(reporttest.Input())
	if c := model(t, v, reporttest.LongName).Candidate; c.Mark != report.MarkWithdrawn {
		t.Errorf("a version that is gone: %+v", c)
	}
	if o := model(t, v, "resnet50").OutOfOrder; len(o) != 1 || o[0].Mark != report.MarkOutOfOrder || o[0].Version != "2b" {
		t.Errorf("out of order: %+v", o)
	}
	if r := row(t, model(t, v, "squeezenet"), engine.FP16); r.State != report.RowUnsupported {
		t.Errorf("an unsupported precision is %s", r.State)
	}
	if r := row(t, model(t, v, "densenet"), engine.INT8); r.State != report.RowWaiting || r.LastGood == nil {
		t.Errorf("a precision still to come: %+v", r)
	}
	in := reporttest.Input()
	in.Models[0].Versions[3].Digest = "other"
	if c := model(t, build(in), "squeezenet").Candidate; c.Mark != report.MarkReplaced {
		t.Errorf("replaced: %+v", c)
	}
	in = reporttest.Input()
	in.Models[0].Versions[3].Version = "5"
	if c := model(t, build(in), "squeezenet").Candidate; c.Mark != report.MarkRenamed {
		t.Errorf("renamed: %+v", c)
	}
	if len(v.Gone) != 1 || v.Gone[0] != "deleted-model" {
		t.Errorf("gone: %v", v.Gone)
	}
}

// A change is written with its interval where both engines were timed in turns, and
// is marked where they were not.
func TestChangesInWords(t *testing.T) {
	for name, c := range map[string]struct {
		edit  func(*history.Record)
		text  string
		class string
	}{
		"faster":              {reporttest.Paired("1", 0.62, 0.60, 0.64, bench.Changed), "down 38 % (36-40 %)", "good"},
		"slower":              {reporttest.Paired("1", 1.05, 1.042, 1.061, bench.Changed), "up 5 % (4.2-6.1 %)", "bad"},
		"the same":            {reporttest.Paired("1", 1.001, 0.994, 1.008, bench.Equivalent), "no change (down 0.6 % to up 0.8 %)", ""},
		"not decided":         {reporttest.Paired("1", 1.01, 0.97, 1.05, bench.Inconclusive), "change unclear (down 3 % to up 5 %)", ""},
		"paired with another": {reporttest.Paired("0", 0.62, 0.60, 0.64, bench.Changed), "down 50 % (unpaired)", "good"},
		"not paired":          {func(*history.Record) {}, "down 50 % (unpaired)", "good"},
		"on a busy machine":   {reporttest.Disturbed, "change unknown (disturbed)", ""},
		"as a rebuild changes": {func(r *history.Record) {
			reporttest.Paired("1", 0.95, 0.94, 0.96, bench.Changed)(r)
			r.Measurement.Comparison.Changes[1].WithinRebuild = true
		}, "down 5 % (4.0-6.0 %), no more than building the same candidate twice changes", "good"},
	} {
		t.Run(name, func(t *testing.T) {
			b := reporttest.NewBuilder(reporttest.Now.AddDate(0, 0, -2))
			env := reporttest.Environment("1.32.0")
			b.Add("net", "1", 1, engine.FP32, env, reporttest.Measured(0.002))
			b.Add("net", "2", 2, engine.FP32, env, func(r *history.Record) {
				reporttest.Measured(0.001)(r)
				c.edit(r)
			})
			v := build(standing.Evidence{Now: reporttest.Now, Records: b.Records, Models: []standing.Held{{Name: "net", Precisions: []engine.Precision{engine.FP32}}}})
			change := row(t, model(t, v, "net"), engine.FP32).Result.Change
			if change == nil || change.Text != c.text || change.Class() != c.class {
				t.Errorf("%+v, class %q; want %q, %q", change, change.Class(), c.text, c.class)
			}
		})
	}
}

// An int8 engine in which nothing computes in 8 bits says so in its row, in the
// headline and in notifications, and is no int8 result.
func TestAPrecisionThatBroughtNothingSaysSo(t *testing.T) {
	const why = "INT8 had no effect: none of the 40 layers that multiply runs in 8 bits; the runtime found them faster in FP16, or the model quantizes none of them"
	for name, c := range map[string]struct {
		fp32, int8 float64 // P99; 0 for a failure
		threshold  string
		headline   string
		status     standing.Status
		exit       int
		row        standing.Outcome
		notice     string // the first note of a notification
	}{
		"int8 is asked for": {
			0.03, 0.02, "int8", "P99 30 ms with fp32, 65/s, cannot be judged on the launch threshold (INT8 had no effect)",
			standing.StatusUnknown, 2, standing.Unknown, why,
		},
		"another engine counts": {
			0.03, 0.02, config.Best, "P99 30 ms with fp32, 65/s, meets the launch threshold",
			standing.StatusMet, 0, standing.Unknown, why,
		},
		"no other engine counts": {
			0, 0.02, config.Best, "P99 20 ms (" + why + "), 97.6/s, meets the launch threshold",
			standing.StatusMet, 0, standing.Met, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := reporttest.NewBuilder(reporttest.Now.AddDate(0, 0, -2))
			env, both := reporttest.Environment("1.32.0"), []engine.Precision{engine.FP32, engine.INT8}
			b.Add("net", "1", 1, engine.FP32, env, func(r *history.Record) {
				if reporttest.Measured(c.fp32)(r); c.fp32 == 0 {
					r.Measurement, r.Failure = nil, &history.Failure{Error: engine.Error{Kind: engine.KindCrashed}}
				}
			})
			b.Add("net", "1", 1, engine.INT8, env, func(r *history.Record) {
				reporttest.Measured(c.int8)(r)
				reporttest.Idle(r)
			})
			v := build(standing.Evidence{
				Now: reporttest.Now, Records: b.Records, Models: []standing.Held{{Name: "net", Precisions: both,
					Versions: []standing.Version{{Version: "1", Digest: reporttest.Digest("net", "1"), State: standing.Accepted}}}},
				Targets: []config.Target{{Name: "launch", Select: config.Select{Precision: c.threshold}, Criteria: reporttest.Criteria("p99 < 50ms")}},
			})
			m := model(t, v, "net")
			if !strings.HasSuffix(m.Headline, ": "+c.headline) || m.Status != c.status || v.ExitCode(nil) != c.exit {
				t.Errorf("%s, exit %d:\n%s\n%s", m.Status, v.ExitCode(nil), m.Headline, c.headline)
			}
			notice := ""
			if notes := m.WarningTexts(); len(notes) > 0 {
				notice = notes[0]
			}
			int8 := row(t, m, engine.INT8)
			if int8.Result.NoEffect != why || int8.Verdicts[0].Outcome != c.row || notice != c.notice {
				t.Errorf("the row says %q, %s, and a notification %q; want %q, %s, %q", int8.Result.NoEffect, int8.Verdicts[0].Outcome, notice, why, c.row, c.notice)
			}
			for form, write := range map[string]func(io.Writer) error{
				"text":     func(w io.Writer) error { return report.Text(w, v, report.TextOptions{}) },
				"Markdown": func(w io.Writer) error { return report.Markdown(w, v) },
				"HTML":     func(w io.Writer) error { return report.HTML(w, v, report.HTMLOptions{}) },
			} {
				var out strings.Builder
				if err := write(&out); err != nil {
					t.Fatal(err)
				}
				if !strings.Contains(out.String(), "int8, had no effect") || strings.Count(out.String(), why) < 1 {
					t.Errorf("%s does not say it:\n%s", form, &out)
				}
			}
		})
	}
}
