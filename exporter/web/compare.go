package web

import (
	"bytes"
	"context"
	"net/http"

	"github.com/plancast/plancast/exporter/compare"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/report"
)

// Comparisons compare two results of a history.
type Comparisons interface {
	Compared(ctx context.Context, q compare.Question) ([]compare.Result, error)
	// Fill gives the pickers of a page their entries: first the models, then the
	// results of the one that was chosen.
	Fill(ctx context.Context, p *report.ComparePage) error
}

// question is what a request wants compared; false without two refs.
func question(r *http.Request) (compare.Question, bool) {
	q := r.URL.Query()
	x := compare.Question{A: q.Get("a"), B: q.Get("b"), Model: q.Get("model"), Precision: engine.Precision(q.Get("precision"))}
	return x, x.A != "" && x.B != ""
}

// serveCompare answers with comparisons as JSON.
func (h handler) serveCompare(w http.ResponseWriter, r *http.Request) {
	q, asked := question(r)
	if !asked {
		refuse(w, http.StatusBadRequest, "name two results: ?a=ID&b=ID, or ?model=NAME&a=base&b=newest")
		return
	}
	results, err := h.Comparisons.Compared(r.Context(), q)
	if err != nil {
		refuse(w, http.StatusNotFound, "%v", err)
		return
	}
	var b bytes.Buffer
	if err := report.CompareJSON(&b, results); err != nil {
		h.Log.Error("Comparison failed", "err", err)
		refuse(w, http.StatusInternalServerError, "the comparison cannot be written; the log says why")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = b.WriteTo(w)
}

// serveComparePage shows the pickers and, once two results are chosen, what
// changed between them.
func (h handler) serveComparePage(w http.ResponseWriter, r *http.Request) {
	q, asked := question(r)
	p := report.ComparePage{Model: q.Model, A: q.A, B: q.B}
	err := h.Comparisons.Fill(r.Context(), &p)
	if err == nil && asked {
		p.Results, err = h.Comparisons.Compared(r.Context(), q)
	}
	status := http.StatusOK
	if err != nil {
		p.Problem, status = err.Error(), http.StatusNotFound
	}
	h.page(w, status, func(b *bytes.Buffer) error { return report.CompareHTML(b, p, docsURL) })
}
