package report

import (
	_ "embed"
	"html/template"
	"io"
	"net/url"

	"github.com/plancast/plancast/exporter/compare"
)

//go:embed compare.html
var compareText string

var compareTemplate = parse("compare", compareText)

// ComparePage is what the page of comparisons shows.
type ComparePage struct {
	Models  []string // to choose from
	Model   string   // that was chosen; "" before
	A, B    string   // refs, as compare.ParseRef reads them
	Choices []CompareChoice
	Results []compare.Result
	Problem string // why there is no comparison; "" when there is one, or nothing was asked
}

// CompareChoice is an entry of the pickers.
type CompareChoice struct{ Ref, Name string }

type comparePage struct {
	frame
	ComparePage
	Results []comparedCard
	JSON    template.URL
}

// comparedCard is a comparison with what the page shows of it.
type comparedCard struct {
	compare.Result
	Title, First, Second, Class string
	Notes, Details              []string
	Changes                     []comparedSideChange
	Pair                        string // the command that times both in turns
	Rows                        []comparedRow
}

type comparedRow struct{ Title, A, B, Change, Verdict, Class string }

// CompareHTML writes the page of comparisons, without script; docsURL is where the
// documentation is. Everything from outside is escaped by html/template.
func CompareHTML(w io.Writer, v ComparePage, docsURL string) error {
	p := comparePage{frame: newFrame("Compare · plancast", docsURL, ""), ComparePage: v}
	p.JSON = template.URL("api/v1/compare?" + url.Values{"model": {v.Model}, "a": {v.A}, "b": {v.B}}.Encode())
	for _, r := range v.Results {
		c := comparedCard{
			Result: r, Title: comparedTitle(r), First: upperFirst(sideName(r.A)), Second: upperFirst(sideName(r.B)), Class: comparedBadge(r.Verdict),
			Notes: comparedNotes(r), Details: comparedDetails(r), Changes: comparedChanges(r), Pair: pairCommand(r),
		}
		for _, row := range r.Rows {
			c.Rows = append(c.Rows, comparedRow{
				Title: row.Title, A: figureText(row.A, row.Unit), B: figureText(row.B, row.Unit), Change: comparedChange(row), Verdict: rowVerdict(row), Class: changeClass(row.Verdict),
			})
		}
		p.Results = append(p.Results, c)
	}
	return compareTemplate.Execute(w, p)
}

// comparedBadge is the class of a badge and a card: the colors of thresholds.
func comparedBadge(v compare.Verdict) string {
	switch v {
	case compare.Improved:
		return "met"
	case compare.Regressed:
		return "missed"
	case compare.Unchanged:
		return "measured"
	}
	return "undecided"
}

func changeClass(v compare.Verdict) string {
	switch v {
	case compare.Improved:
		return "good"
	case compare.Regressed:
		return "bad"
	}
	return ""
}
