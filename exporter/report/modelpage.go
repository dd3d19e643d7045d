package report

import (
	"cmp"
	_ "embed"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/chart"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/units"
)

//go:embed modelpage.html
var modelPageText string

var modelPageTemplate = parse("model", modelPageText)

// ModelResults is all that the page of a model is made of.
type ModelResults struct {
	Name    string
	Model   *standing.Model // nil when the repository lacks it
	State   *standing.State
	Entries []history.Entry // every one of the model, ascending by ID
	Changes []history.Traced
	// Records reads the full records of some results.
	Records func(ids []int64) ([]history.Record, error)
}

// resultLine is one result in the list.
type resultLine struct {
	history.Entry
	State       ResultState
	Result      *Result  // nil when it failed
	Failure     *Failure // nil when it did not
	Verdicts    []RowVerdict
	WhatChanged *change.Change
	Note        string // why it does not count
}

// choice is one filter of the list.
type choice struct {
	Name, Title, Value string
	Options            []option
}

type option struct{ Value, Text string }

// heading is the head of a column, with where its order leads.
type heading struct {
	Title, Link, Order string // Order is aria-sort's
	Right              bool
}

type modelPage struct {
	frame
	Name, Owner, Headline string
	Generated             time.Time
	Badge                 badge
	Gone                  bool // the repository lacks it
	Chart                 chart.History
	Choices               []choice
	Filtered              bool
	Sort                  string
	Headings              []heading
	Lines                 []resultLine
	Environments          bool // more than one
	Found, Total          int
	From, To              int
	Earlier, Later        string // links to further pages
}

// WriteModelPage writes the page of a model: all its results, selected and sorted
// as the query says. It reads the records of those alone that it lists.
func WriteModelPage(w io.Writer, in ModelResults, q ResultsQuery, docsURL string) error {
	p := modelPage{frame: newFrame(in.Name+" · plancast", docsURL, "../"), Name: in.Name, Generated: in.State.Now, Total: len(in.Entries), Sort: q.Sort}
	if m := in.Model; m != nil {
		v := modelView(m, in.State, 0)
		p.Owner, p.Headline, p.Badge, p.Chart = v.Owner, v.Headline, badgeOf(v), newChart(v, "history")
	} else {
		p.Gone = true
	}
	changes := map[[2]string]*change.Change{}
	for _, c := range in.Changes {
		changes[[2]string{c.Version, c.Digest}] = &c.Change
	}
	of := func(e history.Entry) *change.Change { return changes[[2]string{e.Version, e.Digest}] }
	p.Choices = choices(in, q)
	p.Environments = len(p.Choices[2].Options) > 1
	p.Filtered = slices.ContainsFunc(p.Choices, func(c choice) bool { return c.Value != "" })
	selected := q.selected(in.Entries, of)
	p.Found = len(selected)
	from := min((q.Page-1)*resultsPerPage, len(selected))
	to := min(from+resultsPerPage, len(selected))
	p.From, p.To = from+1, to
	if from > 0 {
		p.Earlier = q.with("page", strconv.Itoa(q.Page-1))
	}
	if to < len(selected) {
		p.Later = q.with("page", strconv.Itoa(q.Page+1))
	}
	p.Headings = headings(q)
	var err error
	if p.Lines, err = resultLines(in, selected[from:to], of); err != nil {
		return err
	}
	return modelPageTemplate.Execute(w, p)
}

// resultLines reads and describes the results of a page.
func resultLines(in ModelResults, page []history.Entry, of func(history.Entry) *change.Change) ([]resultLine, error) {
	ids := make([]int64, len(page))
	for i, e := range page {
		ids[i] = e.ID
	}
	records, err := in.Records(ids)
	if err != nil {
		return nil, err
	}
	byID := map[int64]history.Record{}
	for _, r := range records {
		byID[r.ID] = r
	}
	series := map[string]history.Series{}
	for _, m := range history.ByModel(in.Entries) {
		for _, s := range m.Series {
			series[s.Fingerprint] = s
		}
	}
	lines := make([]resultLine, len(page))
	for i, e := range page {
		l := resultLine{Entry: e, State: stateOf(e), WhatChanged: of(e)}
		l.Version = outside.Line(e.Version, 100)
		r, ok := byID[e.ID]
		switch {
		case !ok: // damaged: its entry says what there is
		case r.OK():
			l.Result = result(series[e.Fingerprint], r, in.State.Now)
		default:
			l.Failure = failure(r, in.State.Now)
		}
		l.Note = standsAside(r)
		if trial, ok := trialOf(series[e.Fingerprint], e); ok && e.OK() && in.Model != nil {
			l.Verdicts = rowVerdicts(in.Model, trial, e)
		}
		lines[i] = l
	}
	return lines, nil
}

// standsAside says why a result does not count; "" when it does.
func standsAside(r history.Record) string {
	var parts []string
	if r.SupersededBy != 0 {
		parts = append(parts, fmt.Sprintf("superseded by result %d", r.SupersededBy))
	}
	if x := r.Excluded; x != nil {
		parts = append(parts, fmt.Sprintf("excluded by %s on %s: %s", outside.Line(x.By, 100), x.At.UTC().Format(time.DateOnly), outside.Line(x.Because, 300)))
	}
	return strings.Join(parts, "; ")
}

// trialOf is the trial that an entry counts in.
func trialOf(s history.Series, e history.Entry) (history.Trial, bool) {
	i := slices.IndexFunc(s.Trials, func(t history.Trial) bool {
		x, ok := t.Entry(e.Precision)
		return ok && x.ID == e.ID
	})
	if i < 0 {
		return history.Trial{}, false
	}
	return s.Trials[i], true
}

// choices are the filters with what there is to choose from.
func choices(in ModelResults, q ResultsQuery) []choice {
	precisions, states, environments := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, e := range in.Entries {
		precisions[string(e.Precision)], states[string(stateOf(e))], environments[e.Fingerprint] = true, true, true
	}
	authors, branches, kinds := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, c := range in.Changes {
		authors[c.Change.Author], branches[c.Change.Branch] = true, true
		for _, k := range c.Change.Kinds {
			kinds[string(k)] = true
		}
	}
	out := []choice{
		{Name: "precision", Title: "Precision", Value: q.Precision, Options: options(precisions, nil)},
		{Name: "state", Title: "State", Value: q.State, Options: options(states, func(s string) string { return ResultState(s).Title() })},
		{Name: "environment", Title: "Environment", Value: q.Environment, Options: options(environments, nil)},
		{Name: "author", Title: "Author", Value: q.Author, Options: options(authors, nil)},
		{Name: "branch", Title: "Branch", Value: q.Branch, Options: options(branches, nil)},
		{Name: "kind", Title: "Kind", Value: q.Kind, Options: options(kinds, func(s string) string { return change.Kind(s).Title() })},
	}
	order := func(known []string, o []option) {
		slices.SortFunc(o, func(a, b option) int { return cmp.Compare(slices.Index(known, a.Value), slices.Index(known, b.Value)) })
	}
	order(texts(engine.AllPrecisions), out[0].Options)
	order(texts(resultStates), out[1].Options)
	return out
}

func texts[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, x := range list {
		out[i] = string(x)
	}
	return out
}

// mostOptions bounds a filter's choices; others can be given in the address.
const mostOptions = 200

func options(values map[string]bool, title func(string) string) []option {
	delete(values, "")
	var out []option
	for _, v := range slices.Sorted(maps.Keys(values)) {
		o := option{v, v}
		if title != nil {
			o.Text = title(v)
		}
		out = append(out, o)
	}
	return out[:min(len(out), mostOptions)]
}

// headings are the heads of the columns.
func headings(q ResultsQuery) []heading {
	out := []heading{}
	for _, c := range []struct {
		title, key string
		right      bool
	}{
		{"Version", "version", false}, {"Precision", "", false}, {"Measured", "id", false}, {"P99", "p99", true}, {"Change", "", false},
		{"Throughput", "throughput", true}, {"Deviation", "deviation", true}, {"Memory", "memory", true}, {"State", "", false}, {"What changed", "", false},
	} {
		h := heading{Title: c.title, Right: c.right}
		if c.key != "" {
			to := c.key
			switch q.Sort {
			case c.key:
				h.Order, to = "ascending", "-"+c.key
			case "-" + c.key:
				h.Order = "descending"
			default:
				if c.key == "id" || c.key == "version" || c.key == "throughput" {
					to = "-" + c.key // the best or newest first
				}
			}
			h.Link = q.with("sort", strings.TrimSuffix(to, newest))
		}
		out = append(out, h)
	}
	return out
}

// Figure is a quantity as the list shows it.
func (l resultLine) Figure(name string) string {
	v, ok := l.Value(name)
	if !ok {
		return none
	}
	u, err := history.UnitOf(name)
	if err != nil {
		return none
	}
	return units.Format(v, u)
}
