package prom

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/plancast/plancast/terms"
)

// Endless is an expression for the latency of a workload that has a value also while the
// workload is saturated: +Inf, since there is no latency then. Any other expression is
// as it was.
func (e Expr) Endless() Expr {
	latency, quantile := latencyOf(unwrap(e.root))
	if latency == nil {
		return e
	}
	var matchers []string
	for _, m := range latency.LabelMatchers {
		if m.Name != model.MetricNameLabel && m.Name != model.QuantileLabel {
			matchers = append(matchers, m.String())
		}
	}
	// Both sides have no name, and the same labels.
	endless := fmt.Sprintf("(%s{%s} == 1) / 0", terms.SaturatedSeries, strings.Join(matchers, ","))
	value := "(" + e.String() + ")"
	if quantile != "" {
		endless = fmt.Sprintf(`label_replace(%s, %q, %s, "", "")`, endless, model.QuantileLabel, strconv.Quote(quantile))
		value += " * 1"
	}
	out, err := Parse(value + " or " + endless)
	if err != nil {
		return e // its own words, which are right for every result that has a latency
	}
	return out
}

// latencyOf is the selector of an expression that is a quantile of a workload's latency,
// or its mean, for which quantile is ""; nil for any other.
func latencyOf(e parser.Expr) (latency *parser.VectorSelector, quantile string) {
	is := func(e parser.Expr, name string) *parser.VectorSelector {
		s, ok := e.(*parser.VectorSelector)
		if !ok || s.Name != name || !(Expr{s}).Selector() {
			return nil
		}
		return s
	}
	if s := is(e, terms.WorkloadLatencySeries); s != nil {
		for _, m := range s.LabelMatchers {
			if m.Name == model.QuantileLabel && m.Type == labels.MatchEqual {
				return s, m.Value
			}
		}
		return nil, ""
	}
	b, ok := e.(*parser.BinaryExpr)
	if !ok || b.Op != parser.DIV || is(b.RHS, terms.WorkloadLatencySeries+"_count") == nil {
		return nil, ""
	}
	return is(b.LHS, terms.WorkloadLatencySeries+"_sum"), ""
}
