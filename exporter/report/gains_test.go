package report_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/report"
	"github.com/plancast/plancast/exporter/report/reporttest"
	"github.com/plancast/plancast/exporter/standing"
)

// taught is evidence of models on which int8 and fusion helped, and of one that
// has had neither and misses its target.
func taught(pruning bool) standing.Evidence {
	b := reporttest.NewBuilder(reporttest.Now.AddDate(0, -1, 0))
	e := standing.Evidence{Now: reporttest.Now, Targets: []config.Target{{Name: "launch", Select: config.Select{Precision: config.Best}, Criteria: reporttest.Criteria("p99 < 50ms")}}}
	add := func(model string, candidates ...map[engine.Precision]float64) {
		held := standing.Held{Name: model}
		for i, c := range candidates {
			version := fmt.Sprint(i + 1)
			held.Versions = append(held.Versions, standing.Version{Version: version, Digest: reporttest.Digest(model, version), State: standing.Accepted})
			held.Precisions = nil
			for _, p := range engine.Precisions {
				v, ok := c[p]
				if !ok {
					continue
				}
				held.Precisions = append(held.Precisions, p)
				b.Add(model, version, i+1, p, reporttest.Environment("1"), func(r *history.Record) {
					reporttest.Measured(v)(r)
					switch {
					case i == 1:
						r.Change = &change.Change{Kinds: []change.Kind{change.Fusion}}
					case i == 2 && pruning:
						r.Change = &change.Change{Kinds: []change.Kind{change.Pruning}}
					}
				})
			}
		}
		e.Models = append(e.Models, held)
	}
	for i, ratio := range []float64{0.39, 0.6, 0.88, 1.05} {
		fp32 := map[engine.Precision]float64{engine.FP32: 0.01, engine.INT8: 0.01 * ratio}
		faster := map[engine.Precision]float64{engine.FP32: 0.009, engine.INT8: 0.009 * ratio}
		add(fmt.Sprint("other", i), fp32, faster, faster)
	}
	add("slow", map[engine.Precision]float64{engine.FP32: 0.1})
	e.Records = b.Records
	return e
}

func TestTheReportSaysWhatKindsBroughtAndWhatIsLeft(t *testing.T) {
	v := report.Build(reporttest.State(taught(false)))
	var lines []string
	for _, g := range v.Gains {
		lines = append(lines, g.Text)
	}
	want := []string{"INT8 made 3 of 4 models faster, by 12 to 61 %; 26 % is expected of another model", "Fusion made 4 of 4 models faster, by 10 %; 8 % is expected of another model"}
	if !slices.Equal(lines, want) {
		t.Errorf("gains %q; want %q", lines, want)
	}
	i := slices.IndexFunc(v.Models, func(m report.ModelView) bool { return m.Name == "slow" })
	room := v.Models[i].Room
	if room == nil || len(room.Untried) != 2 || room.Untried[0].Reaches == nil || *room.Untried[0].Reaches < 0.1 || *room.Untried[0].Reaches > 0.5 {
		t.Fatalf("room %+v", room)
	}
	if !strings.HasPrefix(room.Text, "Not used here yet: INT8, which made 3 of 4 models faster, by 12 to 61 %; alone it reaches p99 < 50 ms with a probability of ") ||
		!strings.Contains(room.Text, ". Or fusion, which made 4 of 4 models faster, by 10 %; alone it reaches p99 < 50 ms with a probability of < 1 %") {
		t.Errorf("room: %s", room.Text)
	}
	for name, write := range map[string]func(*bytes.Buffer) error{
		"text": func(b *bytes.Buffer) error { return report.Text(b, v, report.TextOptions{}) }, "markdown": func(b *bytes.Buffer) error { return report.Markdown(b, v) },
		"HTML": func(b *bytes.Buffer) error { return report.HTML(b, v, report.HTMLOptions{}) }, "JSON": func(b *bytes.Buffer) error { return report.JSON(b, v) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"INT8 made 3 of 4 models faster", "Not used here yet: INT8"} {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s lacks %q", name, want)
			}
		}
	}
}

// A kind that one model had, or that helped nobody, is not advised.
func TestWhatHelpedNobodyIsNotAdvised(t *testing.T) {
	v := report.Build(reporttest.State(taught(true)))
	if got := v.Gains[len(v.Gains)-1].Text; got != "Pruning gained nothing on average over 4 models" {
		t.Errorf("pruning: %s", got)
	}
	for _, m := range v.Models {
		if m.Room != nil && strings.Contains(m.Room.Text, "pruning") {
			t.Errorf("%s: %s", m.Name, m.Room.Text)
		}
	}
}
