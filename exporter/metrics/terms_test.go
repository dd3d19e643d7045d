package metrics

import (
	"regexp"
	"strings"
	"testing"

	"github.com/plancast/plancast/terms"
)

// What package terms says that quantities and iterations are published as is what
// the exporter publishes.
func TestTermsNameWhatIsExported(t *testing.T) {
	names := map[string]bool{}
	for _, f := range Families() {
		names[f.Name] = true
	}
	exported := func(what, expr string) {
		found := regexp.MustCompile(`plancast_[a-z0-9_]+`).FindAllString(expr, -1)
		if len(found) == 0 {
			t.Errorf("%s: %s names no metric", what, expr)
		}
		for _, n := range found {
			base := strings.TrimSuffix(strings.TrimSuffix(n, "_sum"), "_count")
			if !names[n] && !names[base] {
				t.Errorf("%s: the exporter has no %s", what, n)
			}
		}
	}
	for _, q := range terms.Quantities() {
		exported(q.Name, q.Expr)
		if p, ok := q.Pair(); ok {
			for _, expr := range []string{p.Ratio, p.Lower, p.Upper, p.Changed} {
				exported("pairs of "+q.Name, expr)
			}
		}
	}
	for _, s := range []string{terms.IterationSeries, terms.TimestampSeries, terms.EnvironmentSeries, terms.CountingSeries, terms.ComparedSeries} {
		exported("iterations", s)
	}
	for _, s := range []string{terms.CriterionSeries, terms.MemberSeries} {
		exported("milestones", s)
	}
}
