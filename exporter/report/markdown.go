package report

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/exporter/standing"
)

// Markdown writes the view as GitHub-flavoured Markdown, for a comment on a
// change or a job summary. Text from outside is escaped: it cannot make links,
// mentions, images or HTML.
func Markdown(w io.Writer, v View) error {
	b := bufio.NewWriter(w)
	p := func(format string, args ...any) { fmt.Fprintf(b, format, args...) }
	if v.Baseline != nil {
		if err := baselineMarkdown(b, v.Baseline); err != nil {
			return err
		}
	}
	for _, g := range v.Gates {
		p("**Gate:** %s\n\n", outside.Markdown(g.Verdict()))
	}
	p("## %s\n", outside.Markdown(summaryText(v)))
	if v.Partial != "" {
		p("\n**Partial:** %s\n", outside.Markdown(v.Partial))
	}
	for _, m := range v.Models {
		modelMarkdown(p, m)
	}
	milestonesMarkdown(p, v)
	remarksMarkdown(p, v)
	return b.Flush()
}

func modelMarkdown(p func(string, ...any), m ModelView) {
	p("\n### %s\n\n%s **%s**\n", outside.Markdown(m.Name), statusMark(m.Status), outside.Markdown(m.Headline))
	if ls := lines(m); len(ls) > 0 {
		titles, right := make([]string, len(columns)), make([]bool, len(columns))
		for i, c := range columns {
			titles[i], right[i] = c.title, c.right
		}
		markdownHead(p, titles, right)
		for _, l := range ls {
			p("|")
			if l.result == nil {
				// A table row cannot span columns: the reason follows below.
				p(" %s | %s | %s |%s\n", outside.Markdown(l.precision()), outside.Markdown(m.Candidate.Version), l.row.State, strings.Repeat("  |", len(columns)-3))
				continue
			}
			for _, c := range columns {
				p(" %s |", outside.Markdown(c.cell(l)))
			}
			p("\n")
		}
	}
	workloads := workloadLines(m.Rows)
	workloadMarkdown(p, workloads)
	for i, s := range modelItems(m, workloads) {
		if i == 0 {
			p("\n")
		}
		p("- %s\n", s)
	}
}

// modelItems are failures, remarks and what changed of a model, as Markdown.
func modelItems(m ModelView, workloads []workloadLine) []string {
	var items []string
	for _, l := range lines(m) {
		if f := l.row.Failure; f != nil && !l.old {
			s := fmt.Sprintf("**%s %s**", l.row.Precision, l.row.State)
			if l.row.State == RowFailed {
				head := *f
				head.Message = ""
				s += ": " + outside.Markdown(head.Text())
			}
			if f.Message != "" {
				s += ": " + outside.Code(f.Message)
			}
			items = append(items, s)
		}
	}
	for _, n := range slices.Concat(details(m), workloadSentences(workloads), notes(m)) {
		items = append(items, outside.Markdown(n))
	}
	if s := m.ChangeText(); s != "" {
		items = append(items, withAutolink("What changed: "+outside.Markdown(m.change().Text()), m.change().Link))
	}
	return items
}

func milestonesMarkdown(p func(string, ...any), v View) {
	if len(v.Milestones) > 0 {
		p("\n### Milestones\n\n| Milestone | Condition | Ready | Probability | State |\n| --- | --- | ---: | ---: | --- |\n")
	}
	for _, m := range v.Milestones {
		p("| %s | %s | %d of %d, %d needed | %s | %s |\n", outside.Markdown(m.Name), outside.Markdown(m.Text), m.Ready, m.Total, m.Needed, outside.Markdown(probabilityText(m.Forecast)), outside.Markdown(m.ReadyText()))
	}
	for _, m := range v.Milestones {
		if m.Forecast != nil {
			for _, s := range append(m.Forecast.Lines(), m.Forecast.Notes()...) {
				p("\n%s: %s\n", outside.Markdown(m.Name), outside.Markdown(s))
			}
		}
	}
	if t := v.TrackText(); t != "" {
		p("\n%s\n", outside.Markdown(t))
	}
}

// remarksMarkdown writes what is about no single model that has a result.
func remarksMarkdown(p func(string, ...any), v View) {
	for i, g := range v.Gains {
		if i == 0 {
			p("\n### What each kind of change achieved\n\n")
		}
		p("- %s\n", outside.Markdown(g.Text))
	}
	for _, u := range v.Unmatched {
		p("\n**Attention:** %s: check the spelling.\n", outside.Markdown(u.String()))
	}
	for _, a := range v.Absent {
		p("\n**Attention:** %s.\n", outside.Markdown(a.Text))
	}
	for i, g := range v.listedGaps() {
		if i == 0 {
			p("\n### No result for the newest version\n\n")
		}
		p("- %s\n", outside.Markdown(g.Text))
	}
	for i, r := range v.Refused {
		if i == 0 {
			p("\n### Rejected\n\n")
		}
		p("- %s: %s\n", outside.Code(r.Name), outside.Markdown(r.Reason))
	}
	if len(v.Gone) > 0 {
		p("\nNo longer in the repository: %s\n", outside.Markdown(goneText(v.Gone)))
	}
}

func statusMark(s standing.Status) string {
	switch s {
	case standing.StatusMet:
		return "✅"
	case standing.StatusMissed:
		return "❌"
	case standing.StatusFailed:
		return "💥"
	case standing.StatusMeasured:
		return "📏"
	}
	return "⏳"
}

// markdownHead begins a table.
func markdownHead(p func(string, ...any), titles []string, right []bool) {
	p("\n|")
	for _, title := range titles {
		p(" %s |", title)
	}
	p("\n|")
	for _, r := range right {
		if r {
			p(" ---: |")
		} else {
			p(" --- |")
		}
	}
	p("\n")
}

// workloadMarkdown writes the workloads of a model.
func workloadMarkdown(p func(string, ...any), list []workloadLine) {
	if len(list) == 0 {
		return
	}
	titles, right := make([]string, len(workloadColumns)), make([]bool, len(workloadColumns))
	for i, c := range workloadColumns {
		titles[i], right[i] = c.title, c.right
	}
	markdownHead(p, titles, right)
	for _, l := range list {
		p("|")
		for _, c := range workloadColumns {
			p(" %s |", outside.Markdown(c.cell(l)))
		}
		p("\n")
	}
}

// withAutolink is a text of Markdown with a link behind it, which package change has
// checked; link may be "".
func withAutolink(text, link string) string {
	if link == "" {
		return text
	}
	return strings.TrimSpace(text) + " <" + link + ">"
}
