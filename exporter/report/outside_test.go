package report_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/report"
	"github.com/plancast/plancast/exporter/report/reporttest"
)

// No number of a broken measurement may reach a reader or break the JSON form.
func TestNumbersThatAreNoneAreLeftOut(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	in := reporttest.Input()
	in.Records = []history.Record{{ID: 1, Model: "squeezenet", Version: "1", Precision: engine.FP32, Iteration: 1, Finished: reporttest.Now,
		Measurement: &bench.Measurement{
			Throughput: inf, Accuracy: &bench.Accuracy{Deviation: nan, Top1: &nan, Top1Agreement: &inf},
			Latency: bench.Latency{Mean: nan, Quantiles: []bench.Quantile{{Q: 0.5, Value: inf}, {Q: 0.99, Value: nan, Upper: &inf}}},
		}}}
	for ext, write := range forms {
		var b bytes.Buffer
		if err := write(&b, build(in)); err != nil {
			t.Errorf("%s: %v", ext, err)
		}
		if strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "∞") {
			t.Errorf("%s shows a number that is none", ext)
		}
	}
}

func TestOutsideTextIsHarmless(t *testing.T) {
	v := build(reporttest.Input())
	for ext, write := range forms {
		var b bytes.Buffer
		if err := write(&b, v); err != nil {
			t.Fatal(err)
		}
		s := b.String()
		if !utf8.ValidString(s) {
			t.Errorf("%s is not UTF-8", ext)
		}
		for _, bad := range []string{"\x1b", "\u202e"} {
			if strings.Contains(s, bad) {
				t.Errorf("%s holds %q", ext, bad)
			}
		}
		if (ext == "html" || ext == "json") && strings.Contains(s, "<script>") {
			t.Errorf("%s holds a script", ext)
		}
		if ext == "ascii.txt" && strings.IndexFunc(s, func(r rune) bool { return r > 126 }) >= 0 {
			t.Errorf("%s is not ASCII", ext)
		}
	}
}

func TestPageIsWellFormedAndLean(t *testing.T) {
	var b bytes.Buffer
	if err := report.HTML(&b, build(reporttest.Input()), report.HTMLOptions{}); err != nil {
		t.Fatal(err)
	}
	s := b.String()
	if strings.Contains(s, "<script") || strings.Contains(s, " style=") || strings.Contains(s, "ZgotmplZ") {
		t.Error("the page has a script, an inline style, or a value its template refused")
	}
	d := xml.NewDecoder(strings.NewReader(strings.TrimPrefix(s, "<!DOCTYPE html>")))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	ids := map[string]bool{}
	var open []string
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
		switch e := tok.(type) {
		case xml.StartElement:
			open = append(open, e.Name.Local)
			for _, a := range e.Attr {
				if a.Name.Local == "id" {
					if ids[a.Value] {
						t.Errorf("id %q appears twice", a.Value)
					}
					ids[a.Value] = true
				}
			}
		case xml.EndElement:
			open = open[:len(open)-1]
		}
	}
	for _, want := range []string{"<main", "<nav", "<footer", "<caption>", "<title id=", "<desc id=", `http-equiv="refresh"`} {
		if !strings.Contains(s, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	idle := reporttest.Input()
	idle.Activity.Running = nil
	b.Reset()
	if err := report.HTML(&b, build(idle), report.HTMLOptions{}); err != nil || strings.Contains(b.String(), `http-equiv="refresh"`) {
		t.Errorf("an idle page reloads itself (%v)", err)
	}
}

func TestManyModelsStayReadable(t *testing.T) {
	v := build(reporttest.Many(300, 3))
	var b bytes.Buffer
	if err := report.HTML(&b, v, report.HTMLOptions{}); err != nil {
		t.Fatal(err)
	}
	if b.Len() > 400<<10 {
		t.Errorf("the page of 300 models has %d KiB", b.Len()>>10)
	}
	if !strings.Contains(b.String(), `href="?model=model-123"`) {
		t.Error("the overview does not lead to a model's own page")
	}
	b.Reset()
	if err := report.HTML(&b, v, report.HTMLOptions{Model: "model-123"}); err != nil {
		t.Fatal(err)
	}
	if s := b.String(); !strings.Contains(s, "<svg class=\"chart\"") || strings.Contains(s, "model-124") {
		t.Error("a model's own page shows that model with its chart, and no other")
	}
	b.Reset()
	if err := report.HTML(&b, v, report.HTMLOptions{Model: "no <such>"}); err != nil || !strings.Contains(b.String(), "no model named “no &lt;such&gt;”") {
		t.Errorf("an unknown model is reported (%v)", err)
	}
}

func TestJSONRoundTrips(t *testing.T) {
	v := build(reporttest.Input())
	var b bytes.Buffer
	if err := report.JSON(&b, v); err != nil {
		t.Fatal(err)
	}
	var back report.View
	d := json.NewDecoder(&b)
	d.DisallowUnknownFields()
	if err := d.Decode(&back); err != nil {
		t.Fatal(err)
	}
	if back.SchemaVersion != report.SchemaVersion || len(back.Models) != len(v.Models) {
		t.Errorf("schema %d, %d models", back.SchemaVersion, len(back.Models))
	}
}
