package report

import (
	_ "embed"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/chart"
	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/units"
)

//go:embed page.html
var pageText string

// HTMLOptions choose the form of the page; the zero value is the whole report.
type HTMLOptions struct {
	Model   string // show this model alone; "" is all that the view has
	Later   bool   // the view is not the first page of the models
	DocsURL string // where the documentation is; "" leaves the link out
}

// manyModels is how many models the page shows in full. Beyond that the
// overview links to a page for each, which keeps the page light.
const manyModels = 40

// refresh is how often the page reloads itself while a job runs.
const refresh = 5 * time.Second

type page struct {
	frame
	View
	Summary  string
	Cards    []card
	Overview bool
	One      bool // a single model was asked for
	NotFound string
	Full     bool   // the cards are shown, rather than the overview alone
	Later    bool   // there is a page before
	More     string // the page after; "" when this is the last
	Bars     []milestoneBar
}

// milestoneBar is a milestone with what its bar needs.
type milestoneBar struct {
	MilestoneView
	State             string
	DoneWidth, NeedAt string
	Shown             []Missing
	More              int
	Class             string
}

// card is a model with what the page shows of it.
type card struct {
	ModelView
	Anchor   string
	Link     string
	Badge    badge
	Best     *Result
	BestRow  Row
	Lines    []htmlLine
	Figures  bool // at least one line has figures
	Header   []htmlCell
	Notes    []string
	Details  []string
	Failures []*Failure
	Chart    chart.History
	Targets  []VerdictView

	Workloads workloadTable
}

type htmlLine struct {
	Precision string
	Old       bool
	Cells     []htmlCell // empty when there is no result
	Why       string     // there is none
}

// htmlCell is a figure with what goes below it in small print.
type htmlCell struct {
	Title, Text, Sub string
	Right            bool
	Class            string
	Items            []RowVerdict // the thresholds, in place of Text
}

var pageTemplate = parse("page", pageText)

// htmlCells are the columns of the page's table. It is narrower than the other
// forms: what qualifies a figure stands below it.
func htmlCells(l line) []htmlCell {
	var out []htmlCell
	for _, c := range columns {
		cell := htmlCell{Title: c.title, Right: c.right}
		if l.result != nil {
			cell.Text, cell.Class = c.cell(l), cellClass(c, l)
		}
		switch c.title {
		case "Precision":
			continue
		case "P99 bound (n)":
			if l.result != nil {
				out[len(out)-1].Sub = cell.Text
			}
			continue
		case "Change":
			if l.result != nil && l.result.Change != nil {
				ch := l.result.Change
				cell.Text, cell.Sub = ch.Text, from(ch)
			}
		case "Version":
			if l.result != nil {
				cell.Sub = units.Ago(seconds(l.result.Age))
			}
		case "Age":
			continue
		case "Top-1":
			if r := l.result; r != nil && r.Top1 == nil && r.Top1Agreement != nil {
				cell.Text, cell.Sub = quantity(r.Top1Agreement, units.Ratio), "agreement"
			}
		case "Thresholds":
			if l.result != nil && !l.old {
				cell.Items = l.row.Verdicts
			}
		}
		out = append(out, cell)
	}
	return out
}

// HTML writes the view as one self-contained page without script. Everything
// from outside is escaped by html/template.
func HTML(w io.Writer, v View, o HTMLOptions) error {
	p := page{frame: newFrame("plancast", o.DocsURL, ""), View: v, Summary: summaryText(v), One: o.Model != "", Later: o.Later}
	p.Results = !v.Fleet
	if len(v.Running) > 0 {
		p.Refresh = int(refresh.Seconds())
	}
	p.Full = p.One || v.Summary.Models <= manyModels
	p.Overview = !p.One && (v.Summary.Models > 1 || p.Later)
	if v.Next != "" {
		p.More = "?after=" + url.QueryEscape(v.Next)
	}
	for i, m := range v.Models {
		if p.One && m.Name != o.Model {
			continue
		}
		c := newCard(m, i, p.Full)
		if !p.Full {
			c.Link = modelLink(m.Name)
		}
		p.Cards = append(p.Cards, c)
	}
	if p.One {
		p.Title = o.Model + " · plancast"
		if len(p.Cards) == 0 {
			p.NotFound = outside.Line(o.Model, 100)
		}
	}
	for _, m := range v.Milestones {
		p.Bars = append(p.Bars, newMilestoneBar(m))
	}
	return pageTemplate.Execute(w, p)
}

// Undecided are the models that neither met nor missed a threshold nor failed.
func (p page) Undecided() int {
	s := p.View.Summary
	return s.Models - s.Met - s.Missed - s.Failed
}

// WhatChanged is the change that led to the newest candidate; nil when nothing is
// known of it.
func (m ModelView) WhatChanged() *change.Change {
	if c := m.change(); !c.Empty() {
		return &c
	}
	return nil
}

func modelLink(name string) string { return "?model=" + url.QueryEscape(name) }

func newCard(m ModelView, i int, full bool) card {
	c := card{ModelView: m, Anchor: fmt.Sprintf("model-%d", i), Badge: badgeOf(m)}
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
	c.Header = append([]htmlCell{{Title: "Precision"}}, htmlCells(line{})...)
	for _, l := range lines(m) {
		h := htmlLine{Precision: l.precision(), Old: l.old}
		if l.result == nil {
			h.Why = l.why()
		} else {
			h.Cells = htmlCells(l)
			c.Figures = true
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
	c.Chart, c.Workloads = newChart(m, c.Anchor), newWorkloadTable(workloadLines(m.Rows))
	return c
}

func cellClass(c column, l line) string {
	switch c.title {
	case "Change":
		if ch := l.result.Change; ch != nil {
			return ch.Class()
		}
	case "Stable":
		if !l.result.Stable {
			return "bad"
		}
	}
	return ""
}

func newMilestoneBar(m MilestoneView) milestoneBar {
	s := milestoneBar{MilestoneView: m, State: m.ReadyText(), Shown: m.Missing, Class: "open"}
	width := func(n int) string {
		if m.Total == 0 {
			return "0"
		}
		return chart.Coord(float64(n) / float64(m.Total) * 100)
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

// badge is the sum of a model's targets and milestones: its color and its words,
// with a sentence about them.
type badge struct{ Class, Text, Hint string }

// badgeOf is the badge of a model. Where all targets are met and a milestone is not,
// it is neither good nor bad: no card is green and red at once.
func badgeOf(m ModelView) badge {
	missed := slices.ContainsFunc(m.Verdicts, func(v VerdictView) bool { return v.Outcome == standing.Missed })
	if m.Status == standing.StatusMet && missed {
		return badge{string(standing.StatusUndecided), "meets its targets, misses a milestone", "The newest candidate meets every target that applies to it, and misses a milestone."}
	}
	return badge{string(m.Status), statusText(m.Status), statusHint(m.Status)}
}

func statusText(s standing.Status) string {
	switch s {
	case standing.StatusMet:
		return "meets its thresholds"
	case standing.StatusMissed:
		return "misses a threshold"
	case standing.StatusFailed:
		return "newest candidate failed"
	case standing.StatusMeasuring:
		return "being measured"
	case standing.StatusUnknown:
		return "cannot be judged"
	case standing.StatusUndecided:
		return "undecided: the machine was disturbed"
	case standing.StatusMeasured:
		return "measured"
	}
	return "no result yet"
}
