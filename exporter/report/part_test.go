package report_test

import (
	"fmt"
	"slices"
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
