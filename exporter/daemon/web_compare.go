package daemon

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/plancast/plancast/exporter/compare"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/report"
)

// mostChoices is how many results of a model the pickers offer: the newest.
const mostChoices = 200

// question is what a request wants compared; false without two refs.
func question(r *http.Request) (compare.Question, bool) {
	q := r.URL.Query()
	x := compare.Question{A: q.Get("a"), B: q.Get("b"), Model: q.Get("model"), Precision: engine.Precision(q.Get("precision"))}
	return x, x.A != "" && x.B != ""
}

func (d *Daemon) compared(ctx context.Context, q compare.Question) ([]compare.Result, error) {
	cfg, _ := d.inForce()
	return compare.InStore(ctx, d.store, q, compare.Options{Margin: cfg.Guard.Margin})
}

// serveCompare answers with comparisons as JSON.
func (d *Daemon) serveCompare(w http.ResponseWriter, r *http.Request) {
	q, asked := question(r)
	if !asked {
		refuse(w, http.StatusBadRequest, "name two results: ?a=ID&b=ID, or ?model=NAME&a=base&b=newest")
		return
	}
	results, err := d.compared(r.Context(), q)
	if err != nil {
		refuse(w, http.StatusNotFound, "%v", err)
		return
	}
	var b bytes.Buffer
	if err := report.CompareJSON(&b, results); err != nil {
		d.log.Error("Comparison failed", "err", err)
		refuse(w, http.StatusInternalServerError, "the comparison cannot be written; the log says why")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = b.WriteTo(w)
}

// serveComparePage shows the pickers and, once two results are chosen, what
// changed between them.
func (d *Daemon) serveComparePage(w http.ResponseWriter, r *http.Request) {
	q, asked := question(r)
	p := report.ComparePage{Model: q.Model, A: q.A, B: q.B}
	err := d.fill(r.Context(), &p)
	if err == nil && asked {
		p.Results, err = d.compared(r.Context(), q)
	}
	status := http.StatusOK
	if err != nil {
		p.Problem, status = err.Error(), http.StatusNotFound
	}
	d.page(w, status, func(b *bytes.Buffer) error { return report.CompareHTML(b, p, docsURL) })
}

// fill gives the pickers their entries: first the models, then the results of the
// one that was chosen.
func (d *Daemon) fill(ctx context.Context, p *report.ComparePage) error {
	if p.Model == "" {
		s := d.derived.Load()
		for _, m := range s.Models {
			if len(m.History.Series) > 0 {
				p.Models = append(p.Models, m.Name)
			}
		}
		p.Models = append(p.Models, s.Gone...)
		return nil
	}
	for _, which := range compare.Whiches {
		p.Choices = append(p.Choices, report.CompareChoice{Ref: string(which), Name: string(which)})
	}
	var results []report.CompareChoice
	for e, err := range history.Skip(d.store.Entries(ctx, history.Filter{Model: p.Model, Limit: mostChoices}), func(error) {}) {
		if err != nil {
			return err
		}
		if e.OK() {
			results = append(results, report.CompareChoice{Ref: strconv.FormatInt(e.ID, 10), Name: choice(e)})
		}
	}
	if len(results) == 0 {
		return fmt.Errorf("there is no result of model %q", p.Model)
	}
	slices.Reverse(results)
	p.Choices = append(p.Choices, results...)
	if p.A == "" && p.B == "" {
		p.A, p.B = string(compare.Base), string(compare.Newest)
	}
	return nil
}

// choice reads "version 3 int8, 2026-11-27, superseded".
func choice(e history.Entry) string {
	s := fmt.Sprintf("version %s %s, %s", e.Version, e.Precision, e.Finished.Time().Format(time.DateOnly))
	switch {
	case e.Superseded:
		s += ", superseded"
	case e.Excluded:
		s += ", excluded"
	}
	return s
}
