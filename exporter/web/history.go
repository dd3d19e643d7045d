package web

import (
	_ "embed"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
)

// openapiText describes the API; a test holds it against the real answers.
//
//go:embed openapi.yaml
var openapiText []byte

func (h handler) serveOpenAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/yaml")
	_, _ = w.Write(openapiText)
}

// historyPage is the answer of /api/v1/history.
type historyPage struct {
	Results []historyItem `json:"results"` // the newest first
	// NextBefore leads on: ask with ?before=. 0 at the end.
	NextBefore int64 `json:"next_before,omitempty"`
}

// historyItem is one result, reduced to its figures.
type historyItem struct {
	ID            int64            `json:"id"`
	Model         string           `json:"model"`
	Version       string           `json:"version"`
	Digest        string           `json:"digest"`
	Precision     engine.Precision `json:"precision"`
	Backend       string           `json:"backend"`
	Device        string           `json:"device"`
	Fingerprint   string           `json:"fingerprint"`
	Iteration     int              `json:"iteration"` // 0: out of order
	CandidateTime time.Time        `json:"candidate_time"`
	Started       time.Time        `json:"started"`
	Finished      time.Time        `json:"finished"`
	Source        string           `json:"source,omitempty"`
	Result        string           `json:"result"` // success, or the kind of the failure
	Message       string           `json:"message,omitempty"`

	Values    map[string]float64 `json:"values"` // by quantity and unit: p99_seconds
	Stable    *bool              `json:"stable,omitempty"`
	Disturbed *bool              `json:"disturbed,omitempty"`
	Compared  *comparedWith      `json:"compared,omitempty"`

	SupersededBy int64              `json:"superseded_by,omitempty"`
	Excluded     *history.Exclusion `json:"excluded,omitempty"`
	Change       *change.Change     `json:"change,omitempty"`
}

// comparedWith is what a result was timed in turns with.
type comparedWith struct {
	Version string         `json:"version"`
	Changes []bench.Change `json:"changes"`
}

func newHistoryItem(r history.Record) historyItem {
	x := historyItem{
		ID: r.ID, Model: r.Model, Version: r.Version, Digest: r.Digest, Precision: r.Precision, Backend: r.Backend, Device: r.Device, Fingerprint: r.Fingerprint,
		Iteration: r.Iteration, CandidateTime: r.CandidateTime, Started: r.Started, Finished: r.Finished, Source: r.Source, Result: "success",
		Values: map[string]float64{}, SupersededBy: r.SupersededBy, Excluded: r.Excluded, Change: r.Change,
	}
	if r.Failure != nil {
		x.Result, x.Message = string(r.Failure.Kind), r.Failure.Message
		return x
	}
	for _, q := range history.QuantitiesOf(r) {
		if v, ok := q.Of(r); ok && !math.IsNaN(v) && !math.IsInf(v, 0) {
			x.Values[q.Column()] = v
		}
	}
	m := r.Measurement
	x.Stable = &m.Stable
	if m.Disturbance != nil {
		x.Disturbed = new(m.Disturbed())
	}
	if c := m.Comparison; c != nil && len(c.Changes) > 0 {
		x.Compared = &comparedWith{c.Version, c.Changes}
	}
	return x
}

// The history over HTTP comes in pages.
const itemsPerPage, mostItems = 100, 1000

// historyQuery reads the parameters of /api/v1/history. Limit is one more than
// was asked for, so that the end is known.
func historyQuery(q url.Values) (f history.Filter, err error) {
	f.Limit = itemsPerPage
	number := func(p *int64, most int64) func(string) error {
		return func(s string) error {
			n, err := strconv.ParseInt(s, 10, 64)
			if err != nil || n < 1 || n > most {
				return fmt.Errorf("%q is not a number from 1 to %d", s, most)
			}
			*p = n
			return nil
		}
	}
	text := func(p *string) func(string) error {
		return func(s string) error { *p = s; return nil }
	}
	limit := int64(f.Limit)
	known := map[string]func(string) error{
		"model": text(&f.Model), "version": text(&f.Version), "environment": text(&f.Fingerprint),
		"author": text(&f.By.Author), "branch": text(&f.By.Branch), "commit": text(&f.By.Commit),
		"before": number(&f.BeforeID, math.MaxInt64), "limit": number(&limit, mostItems),
		"precision": func(s string) (err error) { f.Precision, err = engine.ParsePrecision(s); return err },
		"kind": func(s string) error {
			f.By.Kind = change.Kind(s)
			if !slices.Contains(change.Kinds, f.By.Kind) {
				return fmt.Errorf("%q is not a kind of change", s)
			}
			return nil
		},
		"since": func(s string) error {
			for _, layout := range []string{time.RFC3339, time.DateOnly} {
				if t, err := time.Parse(layout, s); err == nil {
					f.Since = t
					return nil
				}
			}
			return fmt.Errorf("%q is not a time: write 2026-11-27 or 2026-11-27T18:00:00Z", s)
		},
	}
	for _, name := range slices.Sorted(maps.Keys(q)) {
		set, ok := known[name]
		if !ok {
			return f, fmt.Errorf("unknown parameter %q: use %s", name, strings.Join(slices.Sorted(maps.Keys(known)), ", "))
		}
		if v := q.Get(name); v != "" {
			if err := set(v); err != nil {
				return f, fmt.Errorf("%s %w", name, err)
			}
		}
	}
	f.Limit = int(limit) + 1
	return f, nil
}

// serveHistory answers with results, the newest first. The pages are stable: a
// new result comes before them.
func (h handler) serveHistory(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	f, err := historyQuery(q)
	if err != nil {
		refuse(w, http.StatusBadRequest, "%v", err)
		return
	}
	records, err := h.Results.Records(r.Context(), f)
	if err != nil {
		h.fail(err, func(status int, text string) { refuse(w, status, "%s", text) })
		return
	}
	page := historyPage{Results: []historyItem{}}
	for _, rec := range slices.Backward(records) {
		if len(page.Results) == f.Limit-1 {
			page.NextBefore = page.Results[len(page.Results)-1].ID
			q.Set("before", strconv.FormatInt(page.NextBefore, 10))
			w.Header().Set("Link", fmt.Sprintf("<?%s>; rel=\"next\"", q.Encode())) // relative: a proxy may serve it elsewhere
			break
		}
		page.Results = append(page.Results, newHistoryItem(rec))
	}
	reply(w, http.StatusOK, page)
}

// serveRecord answers with one result as the history keeps it, layers included.
func (h handler) serveRecord(w http.ResponseWriter, r *http.Request) {
	id, err := resultID(r)
	var rec history.Record
	if err == nil {
		rec, err = h.Results.Record(r.Context(), id)
	}
	if err != nil {
		h.fail(err, func(status int, text string) { refuse(w, status, "%s", text) })
		return
	}
	reply(w, http.StatusOK, rec)
}
