package report

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"regexp"
	"strings"
	"text/tabwriter"

	"github.com/plancast/plancast/exporter/compare"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/units"
)

// CompareFormats are the forms of a comparison, by name.
var CompareFormats = map[string]func(io.Writer, []compare.Result) error{
	"text": CompareText, "markdown": CompareMarkdown, "json": CompareJSON,
}

// CompareJSON writes comparisons as indented JSON.
func CompareJSON(w io.Writer, list []compare.Result) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(list)
}

// CompareText writes comparisons as aligned tables for a terminal.
func CompareText(w io.Writer, list []compare.Result) error {
	b := bufio.NewWriter(w)
	for i, r := range list {
		if i > 0 {
			fmt.Fprintln(b)
		}
		fmt.Fprintf(b, "%s: %s\n", comparedTitle(r), r.Verdict.Words())
		for _, s := range comparedNotes(r) {
			fmt.Fprintf(b, "  %s\n", s)
		}
		for _, c := range comparedChanges(r) {
			fmt.Fprintf(b, "  %s\n", strings.TrimSpace(c.Text+" "+c.Link))
		}
		tw := tabwriter.NewWriter(b, 0, 8, 2, ' ', 0)
		fmt.Fprintf(tw, "  \t%s\t%s\tCHANGE\tVERDICT\n", strings.ToUpper(sideName(r.A)), strings.ToUpper(sideName(r.B)))
		for _, row := range r.Rows {
			fmt.Fprintf(tw, "  %s\t%s\t%s\t%s\t%s\n", row.Title, figureText(row.A, row.Unit), figureText(row.B, row.Unit), comparedChange(row), rowVerdict(row))
		}
		if err := tw.Flush(); err != nil {
			return err
		}
		for _, s := range comparedDetails(r) {
			fmt.Fprintf(b, "  %s\n", s)
		}
		if s := pairCommand(r); s != "" {
			fmt.Fprintf(b, "  To time both in turns, if the repository still holds them: %s\n", s)
		}
	}
	return b.Flush()
}

// CompareMarkdown writes comparisons for a comment on a change: the verdict on the
// first line, a table, and folded what not everybody reads.
func CompareMarkdown(w io.Writer, list []compare.Result) error {
	b := bufio.NewWriter(w)
	for i, r := range list {
		if i > 0 {
			fmt.Fprintln(b)
		}
		fmt.Fprintf(b, "%s **%s: %s**\n\n", verdictMark(r.Verdict), outside.Markdown(comparedTitle(r)), r.Verdict.Words())
		for _, s := range comparedNotes(r) {
			fmt.Fprintf(b, "%s\n\n", outside.Markdown(s))
		}
		for _, c := range comparedChanges(r) {
			fmt.Fprintf(b, "%s\n\n", withAutolink(outside.Markdown(c.Text), c.Link))
		}
		fmt.Fprintf(b, "| | %s | %s | Change | Verdict |\n| --- | ---: | ---: | --- | --- |\n", outside.Markdown(sideName(r.A)), outside.Markdown(sideName(r.B)))
		for _, row := range r.Rows {
			fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", outside.Markdown(row.Title), outside.Markdown(figureText(row.A, row.Unit)), outside.Markdown(figureText(row.B, row.Unit)), outside.Markdown(comparedChange(row)), outside.Markdown(rowVerdict(row)))
		}
		if details := comparedDetails(r); len(details) > 0 {
			fmt.Fprintf(b, "\n<details><summary>Layers and conditions</summary>\n\n")
			for _, s := range details {
				fmt.Fprintf(b, "- %s\n", outside.Markdown(s))
			}
			fmt.Fprintf(b, "\n</details>\n")
		}
		if s := pairCommand(r); s != "" {
			fmt.Fprintf(b, "\nTo time both in turns, if the repository still holds them: %s\n", outside.Code(s))
		}
	}
	return b.Flush()
}

func verdictMark(v compare.Verdict) string {
	switch v {
	case compare.Regressed:
		return "❌"
	case compare.Improved:
		return "✅"
	case compare.Unchanged:
		return "➖"
	}
	return "❔"
}

// comparedTitle reads "digit-reader int8, version 5 against version 3".
func comparedTitle(r compare.Result) string {
	a, b := outside.Line(r.A.Model, 100), outside.Line(r.B.Model, 100)
	if a == b && r.A.Precision == r.B.Precision {
		return fmt.Sprintf("%s %s, %s against %s", b, r.B.Precision, sideName(r.B), sideName(r.A))
	}
	full := func(model string, s compare.Side) string {
		return fmt.Sprintf("%s %s %s", model, s.Precision, sideName(s))
	}
	return full(b, r.B) + " against " + full(a, r.A)
}

// sideName reads "version 5 (ID 17)", without the ID for a result from elsewhere.
func sideName(s compare.Side) string {
	name := "version " + outside.Line(s.Version, 100)
	if s.ID != 0 {
		name += fmt.Sprintf(" (ID %d)", s.ID)
	}
	return name
}

// comparedNotes say what to know before reading the table.
func comparedNotes(r compare.Result) (out []string) {
	for _, s := range r.Obstacles {
		out = append(out, "Not comparable: "+outside.Line(s, 500)+".")
	}
	switch {
	case r.Paired:
		out = append(out, "Timed in turns, in one visit: disturbances affected both alike.")
	case r.Comparable():
		out = append(out, "Measured at different times, "+stampText(r.A)+" and "+stampText(r.B)+": the intervals do not cover changes of the machine in between.")
	}
	for _, s := range []compare.Side{r.A, r.B} {
		if len(s.Marks) > 0 {
			out = append(out, upperFirst(sideName(s))+" is "+and(s.Marks)+".")
		}
	}
	return out
}

// comparedSideChange is what led to one of the candidates; Link is "" without one.
type comparedSideChange struct{ Text, Link string }

// comparedChanges are those of both candidates, as far as anything is known of them:
// "Version 5 (ID 17): quantization by Ann (commit 1a2b3c4 on int8)".
func comparedChanges(r compare.Result) (out []comparedSideChange) {
	for _, s := range []compare.Side{r.A, r.B} {
		if s.Change == nil || s.Change.Empty() {
			continue
		}
		text := cmp.Or(outside.Line(s.Change.Text(), 300), "change")
		out = append(out, comparedSideChange{upperFirst(sideName(s)) + ": " + text, s.Change.Link})
	}
	return out
}

// plainName is a name that a shell takes as it is.
var plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

// pairCommand is the command that times the two in turns; "" where they were, where
// that would measure something else, or where the same candidate is on both sides.
func pairCommand(r compare.Result) string {
	a, b := r.A, r.B
	if r.Paired || !r.Comparable() || a.ID == 0 || b.ID == 0 || a.Model != b.Model || a.Precision != b.Precision || a.Version == b.Version || a.Digest == b.Digest {
		return ""
	}
	for _, name := range []string{b.Model, a.Version, b.Version} {
		if !plainName.MatchString(name) {
			return ""
		}
	}
	return fmt.Sprintf("plancast run --again --model %s --version %s --against %s --precision %s", b.Model, b.Version, a.Version, b.Precision)
}

func stampText(s compare.Side) string { return s.Finished.UTC().Format("2006-01-02 15:04 UTC") }

// comparedDetails are the layers and the conditions.
func comparedDetails(r compare.Result) (out []string) {
	if l := r.Layers; l != nil {
		var counts []string
		for _, k := range engine.ChangeKinds {
			if n := l.Counts[k]; n > 0 {
				counts = append(counts, fmt.Sprintf("%d %s", n, k))
			}
		}
		if len(counts) == 0 {
			out = append(out, "Layers: none changed.")
		} else {
			out = append(out, "Layers that changed: "+strings.Join(counts, ", ")+".")
		}
		for _, s := range l.Lines {
			out = append(out, outside.Line(s, 300))
		}
		if n := sum(l.Counts) - len(l.Lines); n > 0 {
			out = append(out, fmt.Sprintf("and %d more.", n))
		}
	}
	for _, d := range r.Environment {
		out = append(out, "Measured under other conditions: "+outside.Line(d.String(), 300)+".")
	}
	return out
}

func sum(counts map[engine.ChangeKind]int) (n int) {
	for _, k := range counts {
		n += k
	}
	return n
}

// figureText reads "207 µs (205 µs to 211 µs)"; "-" is unknown.
func figureText(f *compare.Figure, u units.Unit) string {
	if f == nil {
		return "-"
	}
	s := units.Format(f.Value, u)
	switch {
	case f.Low != nil && f.High != nil:
		s += fmt.Sprintf(" (%s to %s)", units.Format(*f.Low, u), units.Format(*f.High, u))
	case f.Low != nil:
		s += fmt.Sprintf(" (%s or more)", units.Format(*f.Low, u))
	}
	return s
}

// comparedChange reads "down 38 % (36-40 %)", "down 3 % to up 5 %", or of an
// accuracy "up 0.4 points".
func comparedChange(row compare.Row) string {
	text := quotient(row)
	if row.Apart && row.Change != nil {
		text += ", measured at different times"
	}
	return text
}

// quotient is the change itself.
func quotient(row compare.Row) string {
	if row.A == nil || row.B == nil {
		return "-"
	}
	if row.Unit == units.Ratio {
		points := 100 * (row.B.Value - row.A.Value)
		switch {
		case math.Abs(points) < 0.005:
			return "unchanged"
		case points < 0:
			return "down " + units.Number(-points) + " points"
		}
		return "up " + units.Number(points) + " points"
	}
	c := row.Change
	switch {
	case c == nil:
		return "-"
	case c.Low != nil && c.High != nil && (*c.Low > 1 || *c.High < 1):
		s := units.ChangeWithin(c.Ratio-1, *c.Low-1, *c.High-1)
		if c.WithinRebuild {
			s += ", no more than building the same candidate twice changes"
		}
		return s
	case c.Low != nil && c.High != nil:
		return units.Change(*c.Low-1) + " to " + units.Change(*c.High-1)
	case c.Low != nil:
		return units.Change(c.Ratio-1) + " (" + units.Change(*c.Low-1) + " or more)"
	}
	return units.Change(c.Ratio - 1)
}

// rowVerdict is the verdict of a row with the reason of one that is open.
func rowVerdict(row compare.Row) string {
	if row.Why != "" {
		if row.Quantity == "build_duration" {
			return row.Why
		}
		return row.Verdict.Words() + ": " + row.Why
	}
	return row.Verdict.Words()
}
