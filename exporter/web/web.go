// Package web serves what plancast shows: the report as a page and as data, the
// metrics, probes and the lifecycle API. It decides nothing; exporters and fleet
// daemons are Sources of it.
package web

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/plancast/plancast/exporter/metrics"
	"github.com/plancast/plancast/exporter/report"
)

// docsURL is where the documentation lies.
const docsURL = "https://github.com/plancast/plancast/tree/main/docs"

// Source is what has something to show. Its methods may be called at any time,
// from any goroutine.
type Source interface {
	// Part is the report as of now, of some models.
	Part(of report.Selection) report.View
	// Healthy is nil unless only a restart helps.
	Healthy() error
	// Ready is nil when there is something to show, with what a reader of the probe
	// should know beside, "" for nothing.
	Ready() (note string, err error)
	// Reload reads the configuration again.
	Reload(ctx context.Context) error
	// Request asks for what is done on schedule to be done now. q are the parameters
	// of the request, from is the address that it came from; an error is the
	// requester's.
	Request(q url.Values, from string) error
}

// Options are what a Handler works with.
type Options struct {
	Source  Source
	Metrics *metrics.Collector
	Log     *slog.Logger
	// Comparisons are nil where no results can be compared.
	Comparisons Comparisons
	// Results are nil where none can be shown one by one.
	Results Results
	// Lifecycle enables reload and passes on request.
	Lifecycle bool
	// Hosts are names that plancast is reached by, beside those of this machine:
	// only requests to a known one may use the lifecycle API.
	Hosts []string
	// External is the address that plancast is reached by, without a slash at its
	// end; "" where nobody said.
	External string
	// Prefix is the path that everything is served below, such as "/plancast"; "" is
	// the root.
	Prefix string
}

// handler serves one source.
type handler struct {
	Source
	Options
}

// Handler serves the report, the metrics and the lifecycle of a source.
func Handler(o Options) http.Handler {
	h := handler{o.Source, o}
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", h.servePage)
	mux.Handle("GET /metrics", promhttp.InstrumentMetricHandler(reg, h.Metrics.Handler(reg, func(err error) {
		h.Log.Error("Scrape failed", "err", err)
	})))
	mux.HandleFunc("GET /api/v1/report", h.serveReport)
	if o.Comparisons != nil {
		mux.HandleFunc("GET /compare", h.serveComparePage)
		mux.HandleFunc("GET /api/v1/compare", h.serveCompare)
	}
	if o.Results != nil {
		mux.HandleFunc("GET /models/{model}", h.serveModel)
		mux.HandleFunc("GET /results/{id}", h.serveResult)
		mux.HandleFunc("GET /api/v1/history", h.serveHistory)
		mux.HandleFunc("GET /api/v1/results/{id}", h.serveRecord)
		mux.HandleFunc("GET /api/v1/results/{id}/samples", h.serveSamples)
		mux.HandleFunc("GET /api/v1/openapi.yaml", h.serveOpenAPI)
	}
	mux.HandleFunc("GET /-/healthy", h.serveHealthy)
	mux.HandleFunc("GET /-/ready", h.serveReady)
	mux.HandleFunc("/-/reload", h.serveReload)
	mux.HandleFunc("/api/v1/run", h.serveRun)
	// A page elsewhere must not make a visitor's browser reload or run.
	return guarded(below(o.Prefix, http.NewCrossOriginProtection().Handler(mux)))
}

// below serves next below a path. Whoever asks for the root is led there.
func below(prefix string, next http.Handler) http.Handler {
	if prefix == "" {
		return next
	}
	mux := http.NewServeMux()
	mux.Handle("GET /{$}", http.RedirectHandler(prefix+"/", http.StatusFound))
	mux.Handle(prefix+"/", http.StripPrefix(prefix, next))
	return mux
}

func (h handler) servePage(w http.ResponseWriter, r *http.Request) {
	of, err := selection(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	v := h.Part(of)
	status := http.StatusOK
	if of.Model != "" && len(v.Models) == 0 {
		status = http.StatusNotFound // the page says so
	}
	h.page(w, status, func(b *bytes.Buffer) error {
		return report.HTML(b, v, report.HTMLOptions{Model: of.Model, Later: of.After != "", DocsURL: docsURL})
	})
}

// page answers with a page.
func (h handler) page(w http.ResponseWriter, status int, write func(*bytes.Buffer) error) {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		h.Log.Error("Page failed", "err", err)
		http.Error(w, "the report cannot be shown; the log says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", report.ContentSecurityPolicy())
	w.WriteHeader(status)
	_, _ = b.WriteTo(w)
}

// Formats are the forms of the report.
var Formats = map[string]Format{
	"json":     {"application/json", report.JSON},
	"markdown": {"text/markdown; charset=utf-8", report.Markdown},
	"text":     {"text/plain; charset=utf-8", func(w io.Writer, v report.View) error { return report.Text(w, v, report.TextOptions{}) }},
}

// Format is one form of the report.
type Format struct {
	ContentType string
	Write       func(io.Writer, report.View) error
}

// The report over HTTP shows some models at a time, and of many at a time the newest
// iterations: all of a large repository would be many megabytes.
const (
	modelsPerPage, mostPerPage = 50, 1000
	iterationsPerPage          = 5
)

// selection is which models a request asks for.
func selection(r *http.Request) (report.Selection, error) {
	q := r.URL.Query()
	of := report.Selection{Model: q.Get("model"), After: q.Get("after"), Limit: modelsPerPage}
	if text := q.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > mostPerPage {
			return of, fmt.Errorf("limit %q is not a number from 1 to %d", text, mostPerPage)
		}
		of.Limit = n
	}
	return of, nil
}

func (h handler) serveReport(w http.ResponseWriter, r *http.Request) {
	format := r.URL.Query().Get("format")
	f, ok := Formats[cmp.Or(format, "json")]
	if !ok {
		refuse(w, http.StatusBadRequest, "format %q is not one of json, markdown, text", format)
		return
	}
	of, err := selection(r)
	if err != nil {
		refuse(w, http.StatusBadRequest, "%v", err)
		return
	}
	if of.Model == "" {
		of.Iterations = iterationsPerPage
	}
	v := h.Part(of)
	if of.Model != "" && len(v.Models) == 0 {
		refuse(w, http.StatusNotFound, "there is no model %q", of.Model)
		return
	}
	if v.Next != "" {
		more := url.Values{"after": {v.Next}, "limit": {strconv.Itoa(of.Limit)}}
		if format != "" {
			more.Set("format", format)
		}
		w.Header().Set("Link", fmt.Sprintf("<?%s>; rel=\"next\"", more.Encode())) // relative: a proxy may serve it elsewhere
	}
	var b bytes.Buffer
	if err := f.Write(&b, v); err != nil {
		w.Header().Del("Link")
		h.Log.Error("Report failed", "err", err)
		refuse(w, http.StatusInternalServerError, "the report cannot be written; the log says why")
		return
	}
	w.Header().Set("Content-Type", f.ContentType)
	_, _ = b.WriteTo(w)
}

func (h handler) serveHealthy(w http.ResponseWriter, _ *http.Request) {
	if err := h.Healthy(); err != nil {
		http.Error(w, "plancast is not healthy: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "plancast is healthy.")
}

func (h handler) serveReady(w http.ResponseWriter, _ *http.Request) {
	switch note, err := h.Ready(); {
	case err != nil:
		http.Error(w, "plancast is not ready: "+err.Error(), http.StatusServiceUnavailable)
	case note != "":
		fmt.Fprintf(w, "plancast is ready; %s.\n", note)
	default:
		fmt.Fprintln(w, "plancast is ready.")
	}
}

func (h handler) serveReload(w http.ResponseWriter, r *http.Request) {
	if !h.allowed(w, r) {
		return
	}
	if err := h.Reload(r.Context()); err != nil {
		refuse(w, http.StatusInternalServerError, "%v", err)
		return
	}
	reply(w, http.StatusOK, map[string]string{"status": "success"})
}

func (h handler) serveRun(w http.ResponseWriter, r *http.Request) {
	if !h.allowed(w, r) {
		return
	}
	if err := h.Request(r.URL.Query(), hostname(r.RemoteAddr)); err != nil {
		refuse(w, http.StatusBadRequest, "%v", err)
		return
	}
	reply(w, http.StatusAccepted, map[string]string{"status": "success"})
}

// allowed says whether a request may change something; if not, it is answered.
func (h handler) allowed(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, http.StatusMethodNotAllowed, "this path accepts only POST requests")
	case !h.Lifecycle:
		refuse(w, http.StatusForbidden, "the lifecycle API is not enabled: start plancast with --web.enable-lifecycle")
	case !h.named(r):
		refuse(w, http.StatusForbidden, "unknown host %q: name it with --web.external-url, or use an IP address", r.Host)
	default:
		return true
	}
	return false
}

// refuse answers in the form of the Prometheus API.
func refuse(w http.ResponseWriter, status int, format string, args ...any) {
	reply(w, status, map[string]string{"status": "error", "error": fmt.Sprintf(format, args...)})
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
