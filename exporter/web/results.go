package web

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/report"
)

// ErrNone says that what was asked for is not there; the error around it says what.
var ErrNone = errors.New("nothing is shown")

// Results are those of a history, one by one. Their errors wrap ErrNone where
// there is nothing of that name.
type Results interface {
	// ModelResults is what the page of a model is made of.
	ModelResults(ctx context.Context, model string) (report.ModelResults, error)
	// OneResult is what the page of a result is made of.
	OneResult(ctx context.Context, id int64) (report.OneResult, error)
	// Record is one record with its layers.
	Record(ctx context.Context, id int64) (history.Record, error)
	// Records are those that f selects.
	Records(ctx context.Context, f history.Filter) ([]history.Record, error)
	// Samples are the latencies of a result's queries, as bench.WriteSamples writes
	// them.
	Samples(r history.Record) (io.ReadCloser, error)
}

// serveModel shows all results of a model, those of one that left the repository
// as well.
func (h handler) serveModel(w http.ResponseWriter, r *http.Request) {
	q, err := report.ParseResultsQuery(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	in, err := h.Results.ModelResults(r.Context(), r.PathValue("model"))
	if err != nil {
		h.fail(err, func(status int, text string) { http.Error(w, text, status) })
		return
	}
	h.page(w, http.StatusOK, func(b *bytes.Buffer) error { return report.WriteModelPage(b, in, q, docsURL) })
}

// serveResult shows one result.
func (h handler) serveResult(w http.ResponseWriter, r *http.Request) {
	id, err := resultID(r)
	var in report.OneResult
	if err == nil {
		in, err = h.Results.OneResult(r.Context(), id)
	}
	if err != nil {
		h.fail(err, func(status int, text string) { http.Error(w, text, status) })
		return
	}
	h.page(w, http.StatusOK, func(b *bytes.Buffer) error { return report.WriteResultPage(b, in, docsURL) })
}

// resultID is the ID of the result that a request names.
func resultID(r *http.Request) (int64, error) {
	text := r.PathValue("id")
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 {
		return 0, fmt.Errorf("%q is not the ID of a result: %w", text, ErrNone)
	}
	return id, nil
}

// fail answers that something is not there, or cannot be shown.
func (h handler) fail(err error, answer func(status int, text string)) {
	if errors.Is(err, ErrNone) {
		answer(http.StatusNotFound, strings.TrimSuffix(err.Error(), ": "+ErrNone.Error()))
		return
	}
	h.Log.Error("Cannot show a result", "err", err)
	answer(http.StatusInternalServerError, "the history cannot be read; the log says why")
}

// serveSamples serves the latency of each query of a result, as long as it is one
// of the newest.
func (h handler) serveSamples(w http.ResponseWriter, r *http.Request) {
	id, err := resultID(r)
	var rec history.Record
	var in io.ReadCloser
	if err == nil {
		rec, err = h.Results.Record(r.Context(), id)
	}
	if err == nil {
		in, err = h.Results.Samples(rec)
	}
	if err != nil {
		h.fail(err, func(status int, text string) { refuse(w, status, "%s", text) })
		return
	}
	defer in.Close()
	out := io.Reader(in)
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		w.Header().Set("Content-Encoding", "gzip")
	} else if out, err = gzip.NewReader(in); err != nil {
		h.fail(err, func(status int, text string) { refuse(w, status, "%s", text) })
		return
	}
	w.Header().Set("Vary", "Accept-Encoding")
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	w.Header().Set("Content-Disposition", fmt.Sprintf(`attachment; filename="%s-%s-%d.csv"`, rec.Model, rec.Precision, rec.ID))
	_, _ = io.Copy(w, out)
}
