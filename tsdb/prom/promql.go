package prom

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/plancast/plancast/terms"
)

// Expr is a PromQL expression that was parsed, so that filters, windows and
// offsets are put into its syntax tree and never into its text.
type Expr struct {
	root parser.Expr
}

var syntax = parser.NewParser(parser.Options{})

// Parse reads an expression that yields series.
func Parse(text string) (Expr, error) {
	root, err := syntax.ParseExpr(text)
	if err != nil {
		return Expr{}, &terms.Invalid{Field: "expression", Reason: fmt.Sprintf("%v, in %s", err, shorten(text))}
	}
	switch root.Type() {
	case parser.ValueTypeVector:
		return Expr{root}, nil
	case parser.ValueTypeMatrix:
		return Expr{}, &terms.Invalid{Field: "expression", Reason: fmt.Sprintf("%s is a range of samples: remove the [range]", shorten(text))}
	default:
		return Expr{}, &terms.Invalid{Field: "expression", Reason: fmt.Sprintf("%s is a %s and has no series: name a metric", shorten(text), root.Type())}
	}
}

func shorten(text string) string {
	if r := []rune(text); len(r) > 120 {
		return string(r[:117]) + "..."
	}
	return text
}

// String is the expression as PromQL.
func (e Expr) String() string { return e.root.String() }

// clone parses the text again: the parser's trees have no copy of their own.
func (e Expr) clone() Expr {
	root, err := syntax.ParseExpr(e.root.String())
	if err != nil {
		// The printer writes what the parser reads; a difference would be a
		// defect of that library, and the original is still right.
		return e
	}
	return Expr{root}
}

// Filter is a matcher on a label, such as an ad hoc filter of a dashboard.
type Filter struct {
	Key      string `json:"key"`
	Operator string `json:"operator"` // =, !=, =~ or !~
	Value    string `json:"value"`
}

// Filter adds a matcher to every selector of the expression.
func (e Expr) Filter(filters []Filter) (Expr, error) {
	if len(filters) == 0 {
		return e, nil
	}
	matchers := make([]*labels.Matcher, len(filters))
	for i, f := range filters {
		op := map[string]labels.MatchType{"=": labels.MatchEqual, "!=": labels.MatchNotEqual, "=~": labels.MatchRegexp, "!~": labels.MatchNotRegexp}[f.Operator]
		m, err := labels.NewMatcher(op, f.Key, f.Value)
		if err != nil {
			return Expr{}, &terms.Invalid{Field: "filter", Reason: fmt.Sprintf("%s%s%q: %v", f.Key, f.Operator, f.Value, err)}
		}
		matchers[i] = m
	}
	out := e.clone()
	each(out.root, func(s *parser.VectorSelector) { s.LabelMatchers = append(s.LabelMatchers, matchers...) })
	return out, nil
}

// each visits every selector, those of ranges and subqueries included.
func each(e parser.Expr, f func(*parser.VectorSelector)) {
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			f(s)
		}
		return nil
	})
}

// timed reports whether the expression calls a function that depends on the
// moment it is evaluated at.
func (e Expr) timed() bool {
	found := false
	parser.Inspect(e.root, func(n parser.Node, _ []parser.Node) error {
		if c, ok := n.(*parser.Call); ok {
			switch c.Func.Name {
			case "time":
				found = true
			case "minute", "hour", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month", "year":
				found = found || len(c.Args) == 0
			}
		}
		return nil
	})
	return found
}

// Selector reports whether the expression is a plain metric with matchers.
func (e Expr) Selector() bool {
	s, ok := unwrap(e.root).(*parser.VectorSelector)
	return ok && s.OriginalOffset == 0 && s.OriginalOffsetExpr == nil && !fixed(s.Timestamp, s.StartOrEnd)
}

// Narrows reports whether an expression is a plain metric that has all matchers of
// another one.
func Narrows(text, of string) bool {
	selector := func(text string) *parser.VectorSelector {
		e, err := Parse(text)
		if err != nil || !e.Selector() {
			return nil
		}
		return unwrap(e.root).(*parser.VectorSelector)
	}
	narrow, wide := selector(text), selector(of)
	return narrow != nil && wide != nil && !slices.ContainsFunc(wide.LabelMatchers, func(m *labels.Matcher) bool {
		return !slices.ContainsFunc(narrow.LabelMatchers, func(n *labels.Matcher) bool { return *n == *m })
	})
}

func unwrap(e parser.Expr) parser.Expr {
	for {
		p, ok := e.(*parser.ParenExpr)
		if !ok {
			return e
		}
		e = p.Expr
	}
}

func fixed(timestamp *int64, at parser.ItemType) bool { return timestamp != nil || at != 0 }

// window makes every instant selector look back over w instead of the server's
// lookback, so that no sample falls between two steps and sparse samples, such
// as those of an imported history, are found.
func (e Expr) window(w time.Duration) Expr {
	out := e.clone()
	out.root = windowed(out.root, w)
	return out
}

func windowed(e parser.Expr, w time.Duration) parser.Expr {
	switch n := e.(type) {
	case *parser.VectorSelector:
		return &parser.Call{
			Func: parser.Functions["last_over_time"],
			Args: parser.Expressions{&parser.MatrixSelector{VectorSelector: n, Range: w}},
		}
	case *parser.AggregateExpr:
		n.Expr = windowed(n.Expr, w)
		if n.Param != nil {
			n.Param = windowed(n.Param, w)
		}
	case *parser.BinaryExpr:
		n.LHS, n.RHS = windowed(n.LHS, w), windowed(n.RHS, w)
	case *parser.ParenExpr:
		n.Expr = windowed(n.Expr, w)
	case *parser.UnaryExpr:
		n.Expr = windowed(n.Expr, w)
	case *parser.SubqueryExpr:
		n.Expr = windowed(n.Expr, w)
	case *parser.Call:
		if n.Func.Name == "timestamp" || n.Func.Name == "absent" {
			return n // these ask about the sample itself
		}
		for i := range n.Args {
			n.Args[i] = windowed(n.Args[i], w)
		}
	}
	return e
}

// before is the expression as it was d earlier.
func (e Expr) before(d time.Duration) Expr {
	out := e.clone()
	var shift func(parser.Node)
	shift = func(n parser.Node) {
		switch n := n.(type) {
		case *parser.VectorSelector:
			if !fixed(n.Timestamp, n.StartOrEnd) {
				n.OriginalOffset += d
			}
			return
		case *parser.SubqueryExpr: // its offset moves what is inside
			if !fixed(n.Timestamp, n.StartOrEnd) {
				n.OriginalOffset += d
			}
			return
		}
		for child := range parser.ChildrenIter(n) {
			shift(child)
		}
	}
	shift(out.root)
	return out
}

// goneLabel marks the points at which a series ends, in the answer to changes.
const goneLabel = "plancast_gone"

// changes is an expression whose range query answers with the points at which
// a series of e appears, takes another value, or ends, instead of one point
// for every step. The state at start is always part of the answer.
func (e Expr) changes(start time.Time, step time.Duration) string {
	now := "(" + e.String() + ")"
	then := "(" + e.before(step).String() + ")"
	at := strconv.FormatFloat(float64(start.UnixMilli())/1000, 'f', -1, 64)
	return fmt.Sprintf(`(%s unless ((%s == %s) unless on() (vector(time()) == %s))) or label_replace(%s unless %s, %q, "1", "", "")`,
		now, now, then, at, then, now, goneLabel)
}

// Quote writes a label value so that it is one string for PromQL whatever it
// holds.
func Quote(value string) string { return strconv.Quote(value) }

// Selecting writes a selector with equality matchers.
func Selecting(metric string, pairs ...string) string {
	var b strings.Builder
	b.WriteString(metric)
	for i := 0; i+1 < len(pairs); i += 2 {
		if i == 0 {
			b.WriteByte('{')
		} else {
			b.WriteByte(',')
		}
		b.WriteString(pairs[i] + "=" + Quote(pairs[i+1]))
	}
	if len(pairs) > 1 {
		b.WriteByte('}')
	}
	return b.String()
}

// Macros replaces what is written for Grafana and not for Prometheus: the step
// and the length of the history.
func Macros(text string, p Plan, resolution time.Duration) string {
	if !strings.Contains(text, "$") {
		return text
	}
	rate := max(p.Step+resolution, 4*resolution)
	replace := func(name, value string) {
		text = strings.ReplaceAll(text, "${"+name+"}", value)
		text = strings.ReplaceAll(text, "$"+name, value)
	}
	ms := func(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
	replace("__rate_interval_ms", ms(rate))
	replace("__rate_interval", model.Duration(rate).String())
	replace("__interval_ms", ms(p.Step))
	replace("__interval", model.Duration(p.Step).String())
	replace("__range_ms", ms(p.Length()))
	replace("__range_s", strconv.FormatInt(int64(p.Length()/time.Second), 10))
	replace("__range", model.Duration(p.Length()).String())
	return text
}

// Lasting is the expression with every sample held on to for a while: what was
// known last, although it may no longer be scraped. The duration is PromQL's.
func (e Expr) Lasting(d string) string {
	w, err := terms.ParseDuration(d)
	if err != nil {
		return e.String()
	}
	return e.window(w).String()
}
