package tsdb

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/tsdb/iterations"
	"github.com/plancast/plancast/tsdb/prom"
)

func TestChunksHoldEverythingOnceWithinTheirLimits(t *testing.T) {
	var all []string
	for i := range 500 {
		all = append(all, strings.Repeat("x", 1+i%90))
	}
	all[7] = strings.Repeat("y", 2*longestFilter) // is a chunk of its own
	for _, most := range []int{0, 1, 3, 1000} {
		var got []string
		for _, some := range chunks(all, most, func(s string) int { return len(s) }) {
			if n := len(strings.Join(some, "")); len(some) > max(most, 1) || n > longestFilter && len(some) > 1 {
				t.Errorf("at most %d: a chunk has %d of %d bytes", most, len(some), n)
			}
			got = append(got, some...)
		}
		if !slices.Equal(got, all) {
			t.Errorf("at most %d: the chunks hold %d of %d", most, len(got), len(all))
		}
	}
}

func TestFiltersSelectTheSubjectsTheyAreMadeOf(t *testing.T) {
	by := []string{"model", "instance"}
	var all []prom.Series
	for _, host := range []string{"a.b:1", "a+b:1", ""} {
		for _, m := range []string{"net|x", "net", "resnet50(v2)"} {
			l := model.Metric{"model": model.LabelValue(m)}
			if host != "" {
				l["instance"] = model.LabelValue(host)
			}
			all = append(all, prom.Series{Labels: l})
		}
	}
	selected := func(l model.Metric) bool {
		return slices.ContainsFunc(selecting(slices.Clone(all), by), func(filters []prom.Filter) bool {
			return !slices.ContainsFunc(filters, func(f prom.Filter) bool {
				return f.Operator != "=~" || !regexp.MustCompile("^(?s:"+f.Value+")$").MatchString(string(l[model.LabelName(f.Key)]))
			})
		})
	}
	for _, s := range all {
		if !selected(s.Labels) {
			t.Errorf("%s is not selected", s.Labels)
		}
	}
	for _, other := range []model.Metric{{"model": "x", "instance": "a.b:1"}, {"model": "net", "instance": "aab:1"}} {
		if selected(other) {
			t.Errorf("%s is selected", other)
		}
	}
}

func TestWhatIsTooFastForTheStepsOfAReadingIsReadAgain(t *testing.T) {
	at := time.UnixMilli
	x := &reading{plans: []prom.Plan{{Start: at(1000), Step: time.Second}, {Start: at(50_000), Step: 100 * time.Millisecond}}, out: &Reading{At: at(60_000)}}
	for name, c := range map[string]struct {
		points []prom.Point
		want   bool
	}{
		"consecutive":                  {[]prom.Point{{T: 2000, V: 1}, {T: 4000, V: 2}, {T: 6000, Gone: true}, {T: 7000, V: 2}, {T: 9000, V: 3}}, false},
		"one was skipped":              {[]prom.Point{{T: 2000, V: 1}, {T: 9000, V: 3}}, true},
		"the first is the look-back's": {[]prom.Point{{T: 1000, V: 7}, {T: 3000, V: 8}}, false},
		"the first came later":         {[]prom.Point{{T: 2000, V: 2}}, true},
		"another environment":          {[]prom.Point{{T: 2000, V: 1}, {T: 4000, V: 2}, {T: 6000, V: 1}}, false},
		"another environment's second": {[]prom.Point{{T: 2000, V: 1}, {T: 4000, V: 2}, {T: 6000, V: 3}, {T: 8000, V: 2}}, true},
		"one held for a step":          {[]prom.Point{{T: 2000, V: 1}, {T: 3000, V: 2}}, true},
		"steps become shorter":         {[]prom.Point{{T: 2000, V: 1}, {T: 52_000, V: 2}, {T: 52_200, V: 3}}, false},
		"the newest is just there":     {[]prom.Point{{T: 2000, V: 1}, {T: 59_900, V: 2}}, true},
	} {
		if got := x.passedOver([]prom.Series{{Points: c.points}}); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestWhatIsAskedOfAStoreIsPromQL(t *testing.T) {
	q := Query{Model: "model", Subject: []string{"model", "instance"}, By: iterations.BySeries, IterationOf: terms.IterationSeries, Resolution: 15 * time.Second}
	for _, text := range []string{q.changedSince(11*time.Minute + 1500*time.Millisecond), q.publishedNow()} {
		e, err := prom.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		filtered, err := e.Filter([]prom.Filter{oneOf("model", []string{"a", ""})})
		if err != nil || strings.Count(filtered.String(), `model=~"|a"`) < 2 {
			t.Errorf("%s: %v", filtered, err)
		}
	}
}

// VictoriaMetrics takes queries of 16 KiB. Changes name each series of an expression five times.
func TestNoQueryIsTooLong(t *testing.T) {
	quantities := terms.Quantities()
	for _, q := range terms.WorkloadQuantities() {
		x, err := terms.QuantityByName(terms.OfWorkload(q.Name, "a-workload-with-a-long-name"))
		if err != nil {
			t.Fatal(err)
		}
		quantities = append(quantities, x)
	}
	q := Query{By: iterations.BySeries}
	for _, x := range quantities {
		e, err := filtered(q.asked(Criterion{Expr: x.Expr}), []prom.Filter{{Key: "model", Operator: "=~", Value: strings.Repeat("x", longestFilter)}})
		if n := 5 * len(e.String()); err != nil || n > 16<<10 {
			t.Errorf("%s: a query may have %d bytes (%v)", x.Name, n, err)
		}
	}
}
