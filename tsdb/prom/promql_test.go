package prom

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/plancast/plancast/terms"
)

func TestExpressionsAreRewrittenAsTrees(t *testing.T) {
	e, err := Parse(`sum by (model) (rate(a_total{x="}"}[5m])) / on(model) b offset 1m`)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ got, want string }{
		{e.window(time.Hour).String(), `sum by (model) (rate(a_total{x="}"}[5m])) / on (model) last_over_time(b[1h] offset 1m)`},
		{e.before(time.Minute).String(), `sum by (model) (rate(a_total{x="}"}[5m] offset 1m)) / on (model) b offset 2m`},
	} {
		if c.got != c.want {
			t.Errorf("got  %s\nwant %s", c.got, c.want)
		}
	}
	f, err := e.Filter([]Filter{{Key: "gpu", Operator: "=", Value: `L4"} or up{a="`}})
	if err != nil {
		t.Fatal(err)
	}
	want := `sum by (model) (rate(a_total{gpu="L4\"} or up{a=\"",x="}"}[5m])) / on (model) b{gpu="L4\"} or up{a=\""} offset 1m`
	if f.String() != want {
		t.Errorf("got  %s\nwant %s", f, want)
	}
	for text, reason := range map[string]string{"a[5m]": "range of samples", "1 + 1": "no series", "a{": "parse error", `"x"`: "no series"} {
		if _, err := Parse(text); err == nil || !strings.Contains(err.Error(), reason) || !errors.Is(err, terms.ErrInvalid) {
			t.Errorf("%s: %v, want %q", text, err, reason)
		}
	}
}

func TestEverySelectorOfAnExpressionLooksBack(t *testing.T) {
	for text, want := range map[string]string{
		"abs(a)":                               "abs(last_over_time(a[1h]))",
		"-(a)":                                 "-(last_over_time(a[1h]))",
		"a or b":                               "last_over_time(a[1h]) or last_over_time(b[1h])",
		"topk(scalar(n), a)":                   "topk(scalar(last_over_time(n[1h])), last_over_time(a[1h]))",
		"max_over_time(a[2h:1m])":              "max_over_time(last_over_time(a[1h])[2h:1m])",
		"timestamp(a) + absent(b)":             "timestamp(a) + absent(b)", // they ask about the sample itself
		"histogram_quantile(0.9, rate(a[5m]))": "histogram_quantile(0.9, rate(a[5m]))",
	} {
		e, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.window(time.Hour).String(); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func TestExpressionsThatDependOnTheMoment(t *testing.T) {
	for text, want := range map[string]bool{"a": false, "time() - a": true, "hour() + a": true, "hour(a)": false, "abs(a)": false} {
		e, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if e.timed() != want {
			t.Errorf("%s: %v, want %v", text, e.timed(), want)
		}
	}
}

func TestMacros(t *testing.T) {
	p, err := NewPlan(end, 24*time.Hour, time.Minute, true)
	if err != nil {
		t.Fatal(err)
	}
	got := Macros("a[$__interval] b[${__rate_interval}] c[$__range] $__range_s $__interval_ms", p, 15*time.Second)
	if want := "a[1m] b[1m15s] c[1d] 86400 60000"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzExpressions(f *testing.F) {
	for _, s := range []string{`a{b="c"}`, `sum by (x) (rate(a[5m])) / b`, `max_over_time(a[1h:5m]) > 1 offset 3m`, `a @ end()`, `time() - a`, `{"x.y"}`, `-a`, `absent(a)`} {
		f.Add(s, "v")
	}
	f.Fuzz(func(t *testing.T, text, value string) {
		e, err := Parse(text)
		if err != nil {
			return
		}
		g, err := e.Filter([]Filter{{Key: "k", Operator: "=", Value: value}})
		if err != nil {
			return
		}
		for _, s := range []string{g.window(time.Hour).String(), g.before(time.Minute).String(), g.changes(end, time.Minute)} {
			if _, err := syntax.ParseExpr(s); err != nil && syntaxOf(text) {
				t.Errorf("%q became %q: %v", text, s, err)
			}
		}
		selectors := func(x Expr) (n int) {
			each(x.root, func(*parser.VectorSelector) { n++ })
			return n
		}
		if a, b := selectors(e), selectors(g); a != b {
			t.Errorf("a filter changed %d selectors to %d", a, b)
		}
	})
}

// syntaxOf reports whether the parser reads back what it prints of text: where
// it does not, nothing that is built on it can.
func syntaxOf(text string) bool {
	e, err := syntax.ParseExpr(text)
	if err != nil {
		return false
	}
	_, err = syntax.ParseExpr(e.String())
	return err == nil
}
