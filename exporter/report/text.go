package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/units"
)

// TextOptions choose the form of Text; the zero value is for a UTF-8 terminal.
type TextOptions struct {
	ASCII bool // nothing but ASCII: for terminals and logs that garble the rest
}

// Text writes the view as aligned tables for a terminal, a block for each
// model, without color.
func Text(w io.Writer, v View, o TextOptions) error {
	b := bufio.NewWriter(w)
	p := func(format string, args ...any) {
		s := fmt.Sprintf(format, args...)
		if o.ASCII {
			s = ascii(s)
		}
		b.WriteString(s)
	}
	if v.Partial != "" {
		p("PARTIAL: %s\n", v.Partial)
	}
	if v.Baseline != nil {
		baselineText(v.Baseline, p)
	}
	for _, g := range v.Gates {
		p("Gate: %s\n", g.Verdict())
	}
	p("%s\n", summaryText(v))
	if v.Backend.Name != "" {
		p("Backend: %s\n", backendText(v.Backend))
	}
	for _, j := range v.Running {
		p("Running: %s\n", jobText(j))
	}
	if n := len(v.Queue); n > 0 {
		p("Waiting: %s\n", units.Count(n, "job"))
	}
	for _, m := range v.Models {
		modelText(p, m, o)
	}
	milestonesText(p, v)
	remarksText(p, v)
	return b.Flush()
}

func modelText(p func(string, ...any), m ModelView, o TextOptions) {
	p("\n%s\n", m.Headline)
	for _, n := range notes(m) {
		p("  %s\n", n)
	}
	if s := m.ChangeText(); s != "" {
		p("  What changed: %s\n", s)
	}
	head := make([]string, len(columns))
	for i, c := range columns {
		head[i] = strings.ToUpper(c.title)
	}
	grid, spans := [][]string{head}, map[int]string{}
	for _, l := range lines(m) {
		if l.result == nil {
			spans[len(grid)] = l.why()
			grid = append(grid, []string{l.precision(), m.Candidate.Version})
			continue
		}
		cells := make([]string, len(columns))
		for i, c := range columns {
			cells[i] = c.cell(l)
		}
		grid = append(grid, cells)
	}
	if len(grid) == 1 {
		return
	}
	writeGrid(p, grid, spans, func(i int) bool { return columns[i].right }, o)
	for _, n := range details(m) {
		p("  %s\n", n)
	}
	workloadText(p, workloadLines(m.Rows), o)
}

func milestonesText(p func(string, ...any), v View) {
	for i, m := range v.Milestones {
		if i == 0 {
			p("\nMilestones\n")
		}
		p("  %s: %s. %s\n", m.Name, m.Text, m.ReadyText())
		if f := m.Forecast; f != nil {
			for _, s := range append(f.Lines(), f.Notes()...) {
				p("    %s\n", s)
			}
		}
	}
	if t := v.TrackText(); t != "" {
		p("  %s\n", t)
	}
}

// remarksText writes what is about no single model that has a result.
func remarksText(p func(string, ...any), v View) {
	for i, g := range v.Gains {
		if i == 0 {
			p("\nWhat each kind of change achieved\n")
		}
		p("  %s\n", g.Text)
	}
	for _, u := range v.Unmatched {
		p("\nAttention: %s: check the spelling\n", u)
	}
	for _, a := range v.Absent {
		p("\nAttention: %s\n", a.Text)
	}
	for _, r := range v.Refused {
		p("\nRejected: %q: %s\n", r.Name, r.Reason)
	}
	for i, g := range v.listedGaps() {
		if i == 0 {
			p("\nNo result for the newest version:\n")
		}
		p("  %s\n", g.Text)
	}
	if len(v.Gone) > 0 {
		p("\nNo longer in the repository: %s\n", goneText(v.Gone))
	}
}

// writeGrid writes rows of cells, the first of which is the head, in aligned columns.
// spans are texts behind a row that has fewer cells.
func writeGrid(p func(string, ...any), grid [][]string, spans map[int]string, right func(column int) bool, o TextOptions) {
	widths := make([]int, len(grid[0]))
	for r, cells := range grid {
		for i, s := range cells {
			if o.ASCII {
				grid[r][i] = ascii(s)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(grid[r][i]))
		}
	}
	for r, cells := range grid {
		var s strings.Builder
		for i, cell := range cells {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			s.WriteString("  ")
			if right(i) {
				s.WriteString(pad + cell)
			} else {
				s.WriteString(cell + pad)
			}
		}
		if why, ok := spans[r]; ok {
			s.WriteString("  " + outside.Line(why, 200))
		}
		p("%s\n", strings.TrimRight(s.String(), " "))
	}
}

// workloadText writes the workloads of a model.
func workloadText(p func(string, ...any), list []workloadLine, o TextOptions) {
	if len(list) == 0 {
		return
	}
	head := make([]string, len(workloadColumns))
	for i, c := range workloadColumns {
		head[i] = strings.ToUpper(c.title)
	}
	grid := [][]string{head}
	for _, l := range list {
		cells := make([]string, len(workloadColumns))
		for i, c := range workloadColumns {
			cells[i] = c.cell(l)
		}
		grid = append(grid, cells)
	}
	writeGrid(p, grid, nil, func(i int) bool { return workloadColumns[i].right }, o)
	for _, s := range workloadSentences(list) {
		p("  %s\n", s)
	}
}

func goneText(gone []string) string {
	if len(gone) > 10 {
		return strings.Join(gone[:10], ", ") + fmt.Sprintf(" and %d more", len(gone)-10)
	}
	return strings.Join(gone, ", ")
}

// summaryText is the first line of a report.
func summaryText(v View) string {
	s := v.Summary
	if s.Models == 0 {
		return "No models in the repository yet"
	}
	parts := []string{units.Count(s.Models, "model")}
	if s.Judged > 0 {
		parts = append(parts, fmt.Sprintf("thresholds met by %d and missed by %d", s.Met, s.Missed))
	} else {
		parts = append(parts, fmt.Sprintf("%d measured", s.Measured))
	}
	if s.Failed > 0 {
		parts = append(parts, fmt.Sprintf("%d failed", s.Failed))
	}
	if s.NoResult > 0 {
		parts = append(parts, fmt.Sprintf("%d without a result", s.NoResult))
	}
	return strings.Join(parts, ", ") + " (" + v.Generated.Format("2006-01-02 15:04:05 UTC") + ")"
}

func backendText(b standing.Backend) string {
	s := strings.TrimSpace(backendTitle(b.Name) + " " + b.Version)
	if b.Reason != "" {
		s += " (" + outside.Line(b.Reason, 300) + ")"
	}
	return s
}

func jobText(j JobView) string {
	s := fmt.Sprintf("%s version %s %s", j.Model, j.Version, j.Precision)
	if j.Stage != "" {
		s += ", " + j.Stage
	}
	if j.Progress != nil {
		s += " " + units.Percent(*j.Progress)
	}
	if j.Message != "" {
		s += ", " + j.Message
	}
	if j.Elapsed >= 1 {
		s += ", for " + units.Span(seconds(j.Elapsed))
	}
	return s
}

// ReadyText reads "2 of 4 models ready, 3 needed: 65 d left".
func (m MilestoneView) ReadyText() string {
	s := fmt.Sprintf("%d of %s ready, %d needed", m.Ready, units.Count(m.Total, "model"), m.Needed)
	switch {
	case m.Met:
		s += ": met"
	case m.Remaining != nil && *m.Remaining < 0:
		s += fmt.Sprintf(": the deadline passed %s", units.Ago(seconds(-*m.Remaining)))
	case m.Remaining != nil:
		s += fmt.Sprintf(": %s left", units.Span(seconds(*m.Remaining)))
	}
	return s
}

// notes are sentences above the table: what the reader must know first.
func notes(m ModelView) []string {
	var out []string
	if m.Environment != nil {
		out = append(out, "Environment "+m.Environment.Fingerprint+": "+m.Environment.Text)
	}
	if m.Changed != nil {
		out = append(out, m.Changed.Text)
	}
	if m.Candidate != nil && m.Candidate.Note != "" {
		out = append(out, "Note: "+m.Candidate.Note)
	}
	return out
}

// details are sentences below the table.
func details(m ModelView) []string {
	var out []string
	for _, r := range m.Rows {
		if f := r.Failure; f != nil && f.Hint != "" {
			out = append(out, string(r.Precision)+": "+f.Hint)
		}
		for _, v := range r.Verdicts {
			if !m.decides(r.Precision, v) {
				continue
			}
			for _, s := range v.misses() {
				out = append(out, string(r.Precision)+" misses "+s)
			}
		}
		if x := r.Shown(); x != nil && x.NoEffect != "" {
			out = append(out, x.NoEffect)
		}
		if x := r.Result; x != nil {
			if x.Telemetry != nil {
				out = append(out, string(r.Precision)+": "+x.Telemetry.Text)
			}
			for _, w := range x.Warnings {
				out = append(out, string(r.Precision)+": "+w)
			}
		}
	}
	if m.Room != nil {
		out = append(out, m.Room.Text)
	}
	for _, w := range m.Waiting {
		s := "version " + w.Version + " is " + w.StateText()
		if w.Reason != "" {
			s += ": " + w.Reason
		}
		out = append(out, s)
	}
	for _, c := range m.OutOfOrder {
		out = append(out, "version "+c.Version+": "+c.Note)
	}
	return out
}

var asciiReplacer = strings.NewReplacer(
	"µ", "u", "–", "-", "—", "-", "…", "...", "≤", "<=", "≥", ">=", "∞", "inf", "×", "x", "▸", ">", "“", `"`, "”", `"`, "’", "'",
)

func ascii(s string) string {
	return strings.Map(func(r rune) rune {
		if r > 126 {
			return '?'
		}
		return r
	}, asciiReplacer.Replace(s))
}
