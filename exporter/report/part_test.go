package report_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/report"
	"github.com/plancast/plancast/exporter/report/reporttest"
)

func TestPagesShowEveryModelOnce(t *testing.T) {
	s := reporttest.State(reporttest.Many(23, 2))
	whole := report.Build(s)
	var got []string
	after := ""
	for pages := 1; ; pages++ {
		v := report.BuildPart(s, report.Selection{After: after, Limit: 10})
		for _, m := range v.Models {
			got = append(got, m.Name)
		}
		if v.Summary != whole.Summary || len(v.Milestones) != len(whole.Milestones) {
			t.Errorf("page %d counts %+v", pages, v.Summary)
		}
		if after = v.Next; after == "" {
			if pages != 3 {
				t.Errorf("%d pages", pages)
			}
			break
		}
	}
	var want []string
	for _, m := range whole.Models {
		want = append(want, m.Name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("models %v; want %v", got, want)
	}
	one := report.BuildPart(s, report.Selection{Model: "model-007"})
	if len(one.Models) != 1 || one.Next != "" || fmt.Sprint(one.Models[0].Headline) != whole.Models[7].Headline {
		t.Errorf("one model: %d, next %q", len(one.Models), one.Next)
	}
}

func TestAPageOfManyModelsShowsSomeAndLinksToTheRest(t *testing.T) {
	s := reporttest.State(reporttest.Many(90, 2))
	for name, c := range map[string]struct {
		after      string
		has, lacks []string
	}{
		"the first page": {"", []string{"?model=model-000", "?model=model-049", `href="?after=model-049"`, "50 of 90 models"}, []string{"?model=model-050", "First models"}},
		"the last page":  {"model-049", []string{"?model=model-050", "?model=model-089", "First models"}, []string{"?model=model-049", "Next models", `class="card`}},
	} {
		var page strings.Builder
		v := report.BuildPart(s, report.Selection{After: c.after, Limit: 50})
		if err := report.HTML(&page, v, report.HTMLOptions{Later: c.after != ""}); err != nil {
			t.Fatal(err)
		}
		for _, x := range c.has {
			if !strings.Contains(page.String(), x) {
				t.Errorf("%s lacks %q", name, x)
			}
		}
		for _, x := range c.lacks {
			if strings.Contains(page.String(), x) {
				t.Errorf("%s has %q", name, x)
			}
		}
	}
}

func TestAListOfModelsHasTheNewestIterationsOfEach(t *testing.T) {
	s := reporttest.State(reporttest.Many(2, 20))
	for _, c := range []struct {
		of   report.Selection
		want int
		more string
	}{
		{report.Selection{}, 20, ""},
		{report.Selection{Iterations: 5}, 5, "?model=model-001"},
		{report.Selection{Iterations: 20}, 20, ""},
	} {
		m := report.BuildPart(s, c.of).Models[1]
		for _, h := range m.History {
			if n := len(h.Points); n != c.want || h.Points[n-1].Iteration != 20 {
				t.Errorf("%+v: %s has %d iterations", c.of, h.Precision, n)
			}
		}
		if m.More != c.more || m.Truncated != (c.more != "") {
			t.Errorf("%+v: more at %q, truncated %v", c.of, m.More, m.Truncated)
		}
	}
}
