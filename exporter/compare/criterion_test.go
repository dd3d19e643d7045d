package compare_test

import (
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/compare"
)

func TestRelativeCriteria(t *testing.T) {
	for text, want := range map[string]string{
		"p99 <= base + 5%":              "p99 <= base + 5 %",
		"p99<base+5%":                   "p99 < base + 5 %",
		"p99 <= 105% of base":           "p99 <= base + 5 %",
		"throughput >= 98% of base":     "throughput >= base - 2 %",
		"throughput >= base":            "throughput >= base",
		"top1 >= base - 0.5 %":          "top1 >= base - 0.5 %",
		"memory <= base + 0.1":          "memory <= base + 10 %",
		"accuracy_deviation <= base":    "accuracy_deviation <= base",
		"top1 >= 99% of base":           "top1 >= 99 % of base",
		"p99 <= base + 5ms":             "",
		"p99 >= base + 5%":              "",
		"p99 <= 5% of":                  "",
		"p99 <= base * 2":               "",
		"speed <= base":                 "",
		"base":                          "",
		"build_duration <= base + 5%":   "",
		"throughput >= base - 100%":     "",
		"p99 <= base + 99999%":          "",
		"throughput >= 98% of base + 1": "",
	} {
		c, err := compare.ParseCriterion(text)
		switch {
		case want == "" && err == nil:
			t.Errorf("%q became %s", text, c)
		case want != "" && (err != nil || c.String() != want):
			t.Errorf("%q became %s, %v; want %q", text, c, err, want)
		}
		if again, err := compare.ParseCriterion(c.String()); want != "" && (err != nil || again != c) {
			t.Errorf("%q read again is %s, %v", text, again, err)
		}
		if want != "" && !compare.Relative(text) {
			t.Errorf("%q is not taken for relative", text)
		}
	}
	if compare.Relative("p99 < 5ms") {
		t.Error("an absolute criterion is taken for a relative one")
	}
}

func TestACriterionIsJudgedByTheInterval(t *testing.T) {
	for _, c := range []struct {
		name, criterion string
		p99             float64
		half            float64
		want            compare.Answer
	}{
		{"well within", "p99 <= base + 5%", 10, 0.005, compare.Holds},
		{"well beyond", "p99 <= base + 5%", 12, 0.005, compare.Broken},
		{"at the limit", "p99 <= base + 5%", 10.5, 0.005, compare.Open},
		{"within, known loosely", "p99 <= base + 5%", 10, 0.2, compare.Open},
		{"throughput kept", "throughput >= 98% of base", 10, 0.003, compare.Holds},
		{"throughput lost", "throughput >= 98% of base", 12, 0.003, compare.Broken},
		{"memory is exact", "memory <= base", 10, 0.005, compare.Holds},
		{"accuracy is exact", "accuracy_deviation <= base + 0.1%", 10, 0.005, compare.Holds},
		{"accuracy lost", "accuracy_deviation <= 50% of base", 10, 0.005, compare.Broken},
		{"no such figure", "top1 >= base", 10, 0.005, compare.Open},
	} {
		x, err := compare.ParseCriterion(c.criterion)
		if err != nil {
			t.Fatal(err)
		}
		r := compare.Results(measured("1", 10, c.half), measured("2", c.p99, c.half), margin)
		if got, why := r.Judge(x); got != c.want || (got == compare.Open) != (why != "") {
			t.Errorf("%s: %s, %q; want %s", c.name, got, why, c.want)
		}
	}
	x, _ := compare.ParseCriterion("p99 <= base + 50%")
	if got, why := compare.Results(measured("1", 10, 0.001), measured("2", 10, 0.001, disturbed), margin).Judge(x); got != compare.Open || !strings.Contains(why, "disturbed") {
		t.Errorf("disturbed: %s, %q", got, why)
	}
}

func FuzzParseCriterion(f *testing.F) {
	for _, s := range []string{"p99 <= base + 5%", "throughput >= 98% of base", "top1 >= base - 0.5%"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := compare.ParseCriterion(s); err == nil && (c.Factor <= 0 || !c.Comparison.Valid()) {
			t.Errorf("%q became %+v", s, c)
		}
	})
}
