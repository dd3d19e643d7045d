package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/plancast/plancast/exporter/standing"
)

// Markdown writes the view as GitHub-flavoured Markdown, for a comment on a
// change or a job summary. Text from outside is escaped: it cannot make links,
// mentions, images or HTML.
func Markdown(w io.Writer, v View) error {
	b := bufio.NewWriter(w)
	p := func(format string, args ...any) { fmt.Fprintf(b, format, args...) }
	p("## %s\n", md(summaryText(v)))
	if v.Partial != "" {
		p("\n**Partial:** %s\n", md(v.Partial))
	}
	for _, m := range v.Models {
		p("\n### %s\n\n%s **%s**\n", md(m.Name), statusMark(m.Status), md(m.Headline))
		if ls := lines(m); len(ls) > 0 {
			p("\n|")
			for _, c := range columns {
				p(" %s |", c.title)
			}
			p("\n|")
			for _, c := range columns {
				if c.right {
					p(" ---: |")
				} else {
					p(" --- |")
				}
			}
			p("\n")
			for _, l := range ls {
				p("|")
				if l.result == nil {
					// A table row cannot span columns: the reason follows below.
					p(" %s | %s | %s |%s\n", md(l.precision()), md(m.Candidate.Version), l.row.State, strings.Repeat("  |", len(columns)-3))
					continue
				}
				for _, c := range columns {
					p(" %s |", md(c.cell(l)))
				}
				p("\n")
			}
		}
		var items []string
		for _, l := range lines(m) {
			if f := l.row.Failure; f != nil && !l.old {
				s := fmt.Sprintf("**%s %s**", l.row.Precision, l.row.State)
				if l.row.State == RowFailed {
					head := *f
					head.Message = ""
					s += ": " + md(head.Text())
				}
				if f.Message != "" {
					s += ": " + code(f.Message)
				}
				items = append(items, s)
			}
		}
		for _, n := range append(details(m), notes(m)...) {
			items = append(items, md(n))
		}
		if s := m.ChangeText(); s != "" {
			item := "What changed: " + md(m.change().Text())
			if link := m.change().Link; link != "" {
				item = strings.TrimSpace(item) + " <" + strings.NewReplacer("<", "%3C", ">", "%3E").Replace(link) + ">"
			}
			items = append(items, item)
		}
		if len(items) > 0 {
			p("\n")
		}
		for _, s := range items {
			p("- %s\n", s)
		}
	}
	if len(v.Milestones) > 0 {
		p("\n### Milestones\n\n| Milestone | Condition | Ready | Probability | State |\n| --- | --- | ---: | ---: | --- |\n")
	}
	for _, m := range v.Milestones {
		p("| %s | %s | %d of %d, %d needed | %s | %s |\n", md(m.Name), md(m.Text), m.Ready, m.Total, m.Needed, md(probabilityText(m.Forecast)), md(milestoneState(m)))
	}
	for _, m := range v.Milestones {
		if m.Forecast != nil {
			for _, s := range append(m.Forecast.Lines(), m.Forecast.Notes()...) {
				p("\n%s: %s\n", md(m.Name), md(s))
			}
		}
	}
	if t := v.TrackText(); t != "" {
		p("\n%s\n", md(t))
	}
	for _, u := range v.Unmatched {
		p("\n**Attention:** %s: look for a misspelt name.\n", md(u.String()))
	}
	for _, a := range v.Absent {
		p("\n**Attention:** %s.\n", md(a.Text))
	}
	for i, g := range v.listedGaps() {
		if i == 0 {
			p("\n### No result for the newest version\n\n")
		}
		p("- %s\n", md(g.Text))
	}
	for i, r := range v.Refused {
		if i == 0 {
			p("\n### Rejected\n\n")
		}
		p("- %s: %s\n", code(r.Name), md(r.Reason))
	}
	if len(v.Gone) > 0 {
		p("\nNo longer in the repository: %s\n", md(goneText(v.Gone)))
	}
	return b.Flush()
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

// md escapes text for running Markdown and table cells.
func md(s string) string {
	var b strings.Builder
	runes := []rune(s)
	for i, r := range runes {
		next := i+1 < len(runes) && (unicode.IsLetter(runes[i+1]) || unicode.IsDigit(runes[i+1]))
		switch {
		case strings.ContainsRune("\\`*_[]|~#!$", r):
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '<':
			b.WriteString("&lt;")
		case r == '>':
			b.WriteString("&gt;")
		case r == '&':
			b.WriteString("&amp;")
		case r == '@' && next:
			// A zero-width space keeps @name from calling somebody, and below
			// a bare address from becoming a link.
			b.WriteString("@\u200b")
		default:
			b.WriteRune(r)
		}
	}
	return strings.NewReplacer("://", ":\u200b//", "www.", "www\u200b.").Replace(b.String())
}

// code is s as a code span, fenced by more backticks than s holds in a row.
func code(s string) string {
	longest, run := 0, 0
	for _, r := range s {
		if r == '`' {
			run++
			longest = max(longest, run)
		} else {
			run = 0
		}
	}
	fence := strings.Repeat("`", longest+1)
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") {
		s = " " + s + " "
	}
	return fence + s + fence
}
