package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/plancast/plancast/exporter/baseline"
	"github.com/plancast/plancast/exporter/compare"
	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/units"
)

// baselineHeadline reads "Regressed against main.json: net int8 P99 latency up 12 % (10-14 %)".
func baselineHeadline(b *baseline.Comparison) string {
	s := upperFirst(b.Verdict.Words()) + " against " + outside.Line(b.Name, 200)
	var parts []string
	for _, r := range b.Results {
		for _, row := range r.Rows {
			if row.Decides && r.Verdict == b.Verdict && row.Verdict == b.Verdict && (b.Verdict == compare.Regressed || b.Verdict == compare.Improved) {
				parts = append(parts, fmt.Sprintf("%s %s %s %s", outside.Line(r.B.Model, 100), r.B.Precision, row.Title, comparedChange(row)))
			}
		}
	}
	const most = 3
	if n := len(parts) - most; n > 0 {
		parts = append(parts[:most], fmt.Sprintf("and %d more", n))
	}
	if len(parts) > 0 {
		s += ": " + strings.Join(parts, "; ")
	}
	return s
}

// baselineColumns is the table of engines: no wider than a pull request shows.
var baselineColumns = []string{"Engine", "Version", "P99 before", "P99", "Change", "Throughput", "Accuracy", "Verdict"}

// baselineTable is a line for each engine.
func baselineTable(b *baseline.Comparison) (out [][]string) {
	for _, r := range b.Results {
		change := func(quantity string) string {
			row, ok := r.Row(quantity)
			if !ok {
				return "-"
			}
			return comparedChange(row)
		}
		accuracy := "accuracy_deviation"
		if row, ok := r.Row("top1"); ok && row.A != nil && row.B != nil {
			accuracy = "top1"
		}
		var before, now string
		if row, ok := r.Row("p99"); ok {
			before, now = plainFigure(row.A, row.Unit), plainFigure(row.B, row.Unit)
		}
		out = append(out, []string{
			outside.Line(r.B.Model, 100) + " " + string(r.B.Precision), outside.Line(r.A.Version, 50) + " → " + outside.Line(r.B.Version, 50),
			before, now, change("p99"), change("throughput"), change(accuracy), r.Verdict.Words(),
		})
	}
	return out
}

func plainFigure(f *compare.Figure, u units.Unit) string {
	if f == nil {
		return "-"
	}
	return units.Format(f.Value, u)
}

// baselineLines are the criteria and what is missing.
func baselineLines(b *baseline.Comparison) (out []string) {
	for _, c := range b.Criteria {
		s := fmt.Sprintf("%s: %s of %s %s is %s", c.Target, c.Text, outside.Line(c.Model, 100), c.Precision, c.Outcome)
		if c.Why != "" {
			s += ": " + c.Why
		}
		out = append(out, s)
	}
	for _, name := range b.Missing {
		out = append(out, "The baseline has no result for "+outside.Line(name, 120)+".")
	}
	return out
}

// baselineText writes the baseline before a report for a terminal.
func baselineText(b *baseline.Comparison, p func(format string, args ...any)) {
	p("%s\n", baselineHeadline(b))
	var table strings.Builder
	tw := tabwriter.NewWriter(&table, 0, 8, 2, ' ', 0)
	for i, cells := range append([][]string{baselineColumns}, baselineTable(b)...) {
		line := strings.Join(cells, "\t")
		if i == 0 {
			line = strings.ToUpper(line)
		}
		fmt.Fprintf(tw, "  %s\n", line)
	}
	_ = tw.Flush() // to memory
	p("%s", table.String())
	for _, s := range baselineLines(b) {
		p("  %s\n", s)
	}
	p("\n")
}

// baselineMarkdown writes the baseline for a comment on a change: the verdict on the first
// line, a table of at most eight columns, and the details folded.
func baselineMarkdown(w io.Writer, b *baseline.Comparison) error {
	p := func(format string, args ...any) { fmt.Fprintf(w, format, args...) }
	p("%s **%s**\n\n", verdictMark(b.Verdict), outside.Markdown(baselineHeadline(b)))
	p("| %s |\n|%s\n", strings.Join(baselineColumns, " | "), strings.Repeat(" --- |", len(baselineColumns)))
	for _, cells := range baselineTable(b) {
		for i, s := range cells {
			cells[i] = outside.Markdown(s)
		}
		p("| %s |\n", strings.Join(cells, " | "))
	}
	if lines := baselineLines(b); len(lines) > 0 {
		p("\n")
		for _, s := range lines {
			p("- %s\n", outside.Markdown(s))
		}
	}
	p("\n<details><summary>Every figure</summary>\n\n")
	if err := CompareMarkdown(w, b.Results); err != nil {
		return err
	}
	p("\n</details>\n\n")
	return nil
}
