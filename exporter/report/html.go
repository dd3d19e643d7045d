package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/verdict"
	"github.com/plancast/plancast/units"
)

//go:embed page.html
var pageText string

//go:embed page.css
var pageCSS string

// HTMLOptions choose the form of the page; the zero value is the whole report.
type HTMLOptions struct {
	Model   string // show this model alone; "" is all of them
	DocsURL string // where the documentation is; "" leaves the link out
}

// manyModels is how many models the page shows in full. Beyond that the
// overview links to a page for each, which keeps the page light.
const manyModels = 40

// refresh is how often the page loads itself anew while a job runs.
const refresh = 5 * time.Second

// ContentSecurityPolicy is the header that the page is meant to be served with:
// no script, nothing from elsewhere, only its own style sheet.
func ContentSecurityPolicy() string {
	sum := sha256.Sum256([]byte(pageCSS))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; img-src data:; form-action 'none'; frame-ancestors 'none'; base-uri 'none'"
}

type page struct {
	View
	CSS       template.CSS
	Title     string
	DocsURL   string
	Refresh   int
	Summary   string
	Cards     []card
	Overview  bool
	One       bool // a single model was asked for
	NotFound  string
	Standings []standing
}

// standing is a milestone with what its bar needs.
type standing struct {
	Milestone
	State             string
	DoneWidth, NeedAt string
	Shown             []Missing
	More              int
	Class             string
}

// card is a model with what the page shows of it.
type card struct {
	Model
	Anchor     string
	Link       string
	StatusText string
	Best       *Result
	BestRow    Row
	Lines      []htmlLine
	Notes      []string
	Details    []string
	Failures   []*Failure
	Chart      *Chart
	Targets    []Verdict
}

type htmlLine struct {
	Mode  string
	Old   bool
	Cells []htmlCell // empty when there is no result
	Why   string     // there is none
}

type htmlCell struct {
	Title, Text string
	Right       bool
	Class       string
}

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"seconds": func(v float64) string { return units.Format(v, units.Seconds) },
	"rate":    func(v float64) string { return units.Format(v, units.PerSec) },
	"bytes":   func(v float64) string { return units.Format(v, units.Bytes) },
	"ratio":   func(v float64) string { return units.Format(v, units.Ratio) },
	"percent": units.Percent,
	"ago":     func(s float64) string { return units.Ago(seconds(s)) },
	"span":    func(s float64) string { return units.Span(seconds(s)) },
	"count":   units.Count,
	"backend": backendText,
	"legend":  func(p engine.Precision) string { return marker(p, 7, 7) },
	"legendx": func() string { return cross(7, 7) },
	"stamp":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") },
	"machine": func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"mid":     func(a, b int) int { return (a + b) / 2 },
	"columns": func() []htmlCell { return header },
	"plus":    func(a, b int) int { return a + b },
}).Parse(pageText))

var header = func() []htmlCell {
	out := make([]htmlCell, len(columns))
	for i, c := range columns {
		out[i] = htmlCell{Title: c.title, Right: c.right}
	}
	return out
}()

// HTML writes the view as one self-contained page without script. Everything
// from outside is escaped by html/template.
func HTML(w io.Writer, v View, o HTMLOptions) error {
	p := page{View: v, CSS: template.CSS(pageCSS), Title: "plancast", DocsURL: o.DocsURL, Summary: summaryText(v), One: o.Model != ""}
	if v.Current != nil {
		p.Refresh = int(refresh.Seconds())
	}
	full := p.One || len(v.Models) <= manyModels
	p.Overview = !p.One && len(v.Models) > 1
	for i, m := range v.Models {
		if p.One && m.Name != o.Model {
			continue
		}
		c := newCard(m, i, full)
		if !full {
			c.Link = modelLink(m.Name)
		}
		p.Cards = append(p.Cards, c)
	}
	if p.One {
		p.Title = o.Model + " · plancast"
		if len(p.Cards) == 0 {
			p.NotFound = oneLine(o.Model, 100)
		}
	}
	if !full {
		p.One = false
	}
	for _, m := range v.Milestones {
		p.Standings = append(p.Standings, newStanding(m))
	}
	return pageTemplate.Execute(w, p)
}

// Full tells whether the cards are shown, or the overview alone.
func (p page) Full() bool { return p.One || len(p.Cards) <= manyModels }

func modelLink(name string) string { return "?model=" + url.QueryEscape(name) }

func newCard(m Model, i int, full bool) card {
	c := card{Model: m, Anchor: fmt.Sprintf("model-%d", i), StatusText: statusText(m.Status)}
	c.Link = "#" + c.Anchor
	if row, ok := m.Row(m.Best); ok {
		c.BestRow, c.Best = row, row.Result
	}
	if c.Best == nil {
		c.Best = lastGood(m)
	}
	c.Targets = m.deciding()
	if !full {
		return c
	}
	for _, l := range lines(m) {
		h := htmlLine{Mode: l.mode(), Old: l.old}
		if l.result == nil {
			h.Why = l.why()
		} else {
			for _, col := range columns {
				h.Cells = append(h.Cells, htmlCell{Title: col.title, Text: col.cell(l), Right: col.right, Class: cellClass(col, l)})
			}
		}
		c.Lines = append(c.Lines, h)
	}
	for _, r := range m.Rows {
		if r.State == RowFailed {
			c.Failures = append(c.Failures, r.Failure)
		}
	}
	if m.Changed != nil {
		c.Notes = append(c.Notes, m.Changed.Text)
	}
	if m.Candidate != nil && m.Candidate.Note != "" {
		c.Notes = append(c.Notes, upperFirst(m.Candidate.Note)+".")
	}
	for _, d := range details(m) {
		if !strings.HasPrefix(d, "version ") { // those have a place of their own
			c.Details = append(c.Details, d)
		}
	}
	c.Chart = newChart(m, c.Anchor)
	return c
}

func cellClass(c column, l line) string {
	switch c.title {
	case "Change":
		if ch := l.result.Change; ch != nil && ch.Ratio <= -0.001 {
			return "good"
		} else if ch != nil && ch.Ratio >= 0.001 {
			return "bad"
		}
	case "Stable":
		if !l.result.Stable {
			return "bad"
		}
	case "Thresholds":
		class := ""
		for _, v := range l.row.Verdicts {
			switch {
			case l.old:
			case v.Outcome == verdict.Missed:
				return "bad"
			case v.Outcome == verdict.Met:
				class = "good"
			}
		}
		return class
	}
	return ""
}

func newStanding(m Milestone) standing {
	s := standing{Milestone: m, State: milestoneState(m), Shown: m.Missing, Class: "open"}
	width := func(n int) string {
		if m.Total == 0 {
			return "0"
		}
		return coord(float64(n) / float64(m.Total) * 100)
	}
	s.DoneWidth, s.NeedAt = width(m.Ready), width(m.Needed)
	if len(s.Shown) > 3 {
		s.Shown, s.More = s.Shown[:3], len(s.Shown)-3
	}
	switch {
	case m.Met:
		s.Class = "met"
	case m.Remaining != nil && *m.Remaining < 0:
		s.Class = "missed"
	}
	return s
}

func statusText(s Status) string {
	switch s {
	case StatusMet:
		return "meets its thresholds"
	case StatusMissed:
		return "misses a threshold"
	case StatusFailed:
		return "newest candidate failed"
	case StatusMeasuring:
		return "being measured"
	case StatusUnknown:
		return "cannot be judged"
	case StatusMeasured:
		return "measured"
	}
	return "no result yet"
}
