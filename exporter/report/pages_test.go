package report_test

import (
	"bytes"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/report"
	"github.com/plancast/plancast/exporter/report/reporttest"
	"github.com/plancast/plancast/exporter/standing"
)

// resultsOf is what the page of a model is made of, and how many records it read.
func resultsOf(model string, edit func(records []history.Record)) (in report.ModelResults, read *int) {
	e := reporttest.Input()
	var records []history.Record
	for _, r := range e.Records {
		if r.Model == model {
			records = append(records, r)
		}
	}
	edit(records)
	in = report.ModelResults{Name: model, State: reporttest.State(e), Entries: history.Entries(records)}
	if i := slices.IndexFunc(in.State.Models, func(m *standing.Model) bool { return m.Name == model }); i >= 0 {
		in.Model = in.State.Models[i]
	}
	for i, r := range records {
		if r.Change != nil && (i == 0 || records[i-1].Version != r.Version) {
			in.Changes = append(in.Changes, history.Traced{Model: model, Version: r.Version, Digest: r.Digest, Change: *r.Change})
		}
	}
	read = new(int)
	in.Records = func(ids []int64) (out []history.Record, err error) {
		*read += len(ids)
		for _, r := range records {
			if slices.Contains(ids, r.ID) {
				out = append(out, r)
			}
		}
		return out, nil
	}
	return in, read
}

func modelPage(t *testing.T, in report.ModelResults, query string) string {
	t.Helper()
	v, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	q, err := report.ParseResultsQuery(v)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := report.WriteModelPage(&b, in, q, "https://docs.example"); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var resultLink = regexp.MustCompile(`<th role="rowheader" scope="row"><a href="../results/(\d+)">`)

func listed(page string) (ids []string) {
	for _, m := range resultLink.FindAllStringSubmatch(page, -1) {
		ids = append(ids, m[1])
	}
	return ids
}

// authors are who made which version of squeezenet.
func authors(records []history.Record) {
	for i, r := range records {
		records[i].Change = &change.Change{Author: map[string]string{"1": "Ann", "2": "Bob", "3": "Ann", "4": "<b>Eve</b>"}[r.Version], Branch: "main",
			Kinds: []change.Kind{change.Kinds[r.Iteration]}, Link: "https://git.example.org/pull/" + r.Version}
		if r.Version == "2" {
			records[i].Excluded = &history.Exclusion{Because: "a backup ran", By: "ann", At: time.Unix(1, 0)}
		}
	}
}

func TestResultsAreFilteredAndSortedWithoutScript(t *testing.T) {
	in, _ := resultsOf("squeezenet", authors)
	for _, c := range []struct {
		query string
		want  string // IDs
	}{
		{"", "10 9 8 7 6 5 4 3 2 1"},
		{"sort=id", "1 2 3 4 5 6 7 8 9 10"},
		{"sort=p99", "10 7 8 5 3 1 9 6 4 2"}, // what was not measured comes last
		{"sort=-p99", "1 3 5 8 7 10 9 6 4 2"},
		{"sort=version&precision=fp32", "1 3 5 8"},
		{"precision=int8", "10 7"},
		{"state=unsupported", "9 6 2"},
		{"state=excluded", "4 3"},
		{"author=Ann", "7 6 5 2 1"},
		{"author=Ann&precision=int8", "7"},
		{"branch=main&kind=" + string(change.Kinds[4]), "10 9 8"},
		{"environment=nothing", ""},
		{"author=" + url.QueryEscape("<b>Eve</b>"), "10 9 8"},
		{"page=2", ""},
	} {
		if got := strings.Join(listed(modelPage(t, in, c.query)), " "); got != c.want {
			t.Errorf("%q lists %s; want %s", c.query, got, c.want)
		}
	}
	page := modelPage(t, in, "author=Ann&sort=p99")
	for _, want := range []string{
		`<option value="Ann" selected>Ann</option>`, `aria-sort="ascending"`, `href="?author=Ann&amp;sort=-p99"`, "1 to 5 of 5 results, selected from 10",
		`<a href="https://git.example.org/pull/3" rel="noopener noreferrer">`, "launch met",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if page := modelPage(t, in, ""); strings.Contains(page, "<script") || strings.Contains(page, "<b>Eve") || !strings.Contains(page, "excluded by ann on 1970-01-01: a backup ran") {
		t.Error("the page holds script or markup from outside, or lacks why a result is out")
	}
	for _, query := range []string{"sort=p98", "page=0", "page=x"} {
		v, _ := url.ParseQuery(query)
		if _, err := report.ParseResultsQuery(v); err == nil {
			t.Errorf("%q is taken", query)
		}
	}
}

func TestAModelThatLeftHasAPage(t *testing.T) {
	in, _ := resultsOf("deleted-model", func([]history.Record) {})
	if page := modelPage(t, in, ""); !strings.Contains(page, "not in the repository") || len(listed(page)) != 1 {
		t.Errorf("its page:\n%s", page)
	}
}

// A page reads the records of what it lists, however long the history is.
func TestAPageReadsWhatItLists(t *testing.T) {
	b := reporttest.NewBuilder(reporttest.Now)
	for i := range 400 {
		b.Add("net", fmt.Sprint(i+1), i+1, "fp32", reporttest.Environment("1"), reporttest.Measured(0.01))
	}
	state := reporttest.State(standing.Evidence{Now: reporttest.Now, Records: b.Records})
	read := 0
	in := report.ModelResults{Name: "net", State: state, Entries: history.Entries(b.Records), Records: func(ids []int64) ([]history.Record, error) {
		read += len(ids)
		return nil, nil
	}}
	seen := map[string]bool{}
	for page := 1; page <= 8; page++ {
		read = 0
		text := modelPage(t, in, fmt.Sprint("page=", page))
		for _, id := range listed(text) {
			seen[id] = true
		}
		if read != 50 || strings.Contains(text, `rel="next"`) != (page < 8) || strings.Contains(text, `rel="prev"`) != (page > 1) {
			t.Errorf("page %d: %d records read, or a wrong link", page, read)
		}
	}
	if len(seen) != 400 {
		t.Errorf("the pages list %d of 400 results", len(seen))
	}
}

func TestThePageOfAResult(t *testing.T) {
	e := reporttest.Input()
	for _, r := range e.Records {
		if r.Change != nil {
			r.Change.Tags = map[string]string{"ticket": "ML-1"}
		}
		if r.OK() {
			r.Measurement.Timeline = []bench.TimedWindow{{Queries: 300, Elapsed: 2, P50: 0.1, Disturbed: true}, {Queries: 662, Elapsed: 2, P50: 0.1, P99: new(0.2), Accepted: true}}
		}
		var entries []history.Entry
		for _, x := range e.Records {
			if x.Model == r.Model && x.Fingerprint == r.Fingerprint {
				entries = append(entries, history.EntryOf(x))
			}
		}
		var b bytes.Buffer
		if err := report.WriteResultPage(&b, report.OneResult{Record: r, Entries: entries, Now: reporttest.Now, Samples: true}, ""); err != nil {
			t.Fatal(err)
		}
		page := b.String()
		want := []string{fmt.Sprintf("../api/v1/results/%d", r.ID), r.Fingerprint, "../models/" + r.Model}
		switch {
		case r.OK():
			want = append(want, "<svg class=\"chart\"", "Windows over time", "disturbed, discarded", fmt.Sprintf(`href="../api/v1/results/%d/samples" download`, r.ID), "P99 of 662 queries")
		case !r.Unsupported() && len(r.Failure.Log) > 0:
			want = append(want, "Last lines of the worker&#39;s log", "<pre")
		}
		if r.Change != nil {
			want = append(want, "quantization, fusion by Ann", "ticket: ML-1")
		}
		for _, w := range want {
			if !strings.Contains(page, w) && !strings.Contains(page, strings.ReplaceAll(w, "&#39;", "'")) {
				t.Errorf("the page of result %d of %s version %s %s lacks %q", r.ID, r.Model, r.Version, r.Precision, w)
			}
		}
		if strings.Contains(page, "<script") || strings.Contains(page, "\x1b") || strings.Contains(page, "NaN") {
			t.Errorf("the page of result %d holds script, control characters or NaN", r.ID)
		}
	}
}

// The neighbors of a result are those of its precision that count.
func TestAResultLeadsToItsNeighbors(t *testing.T) {
	in, _ := resultsOf("squeezenet", authors) // version 2, of results 3 and 4, is excluded
	for id, want := range map[int64][]string{1: {"5"}, 5: {"1", "8"}, 8: {"5"}, 7: {"10"}, 3: {"1", "5"}} {
		r, _ := in.Records([]int64{id})
		var b bytes.Buffer
		if err := report.WriteResultPage(&b, report.OneResult{Record: r[0], Entries: in.Entries, Now: reporttest.Now}, ""); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range regexp.MustCompile(`href="../results/(\d+)" rel="(?:prev|next)"`).FindAllStringSubmatch(b.String(), -1) {
			got = append(got, m[1])
		}
		if !slices.Equal(got, want) {
			t.Errorf("result %d leads to %v; want %v", id, got, want)
		}
	}
}
