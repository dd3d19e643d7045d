package daemon

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/plancast/plancast/exporter/report"
)

// docsURL is where the documentation lies.
const docsURL = "https://github.com/plancast/plancast/tree/main/docs"

// Handler serves the report, the metrics and the daemon's lifecycle.
func (d *Daemon) Handler() http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", d.servePage)
	mux.Handle("GET /metrics", promhttp.InstrumentMetricHandler(reg, d.metrics.Handler(reg, func(err error) {
		d.log.Error("Scrape failed", "err", err)
	})))
	mux.HandleFunc("GET /api/v1/report", d.serveReport)
	mux.HandleFunc("GET /compare", d.serveComparePage)
	mux.HandleFunc("GET /api/v1/compare", d.serveCompare)
	mux.HandleFunc("GET /-/healthy", d.serveHealthy)
	mux.HandleFunc("GET /-/ready", d.serveReady)
	mux.HandleFunc("/-/reload", d.serveReload)
	mux.HandleFunc("/api/v1/run", d.serveRun)
	// A page elsewhere must not make a visitor's browser reload or run.
	return guarded(http.NewCrossOriginProtection().Handler(mux))
}

func (d *Daemon) servePage(w http.ResponseWriter, r *http.Request) {
	of, err := selection(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	v := d.part(of)
	status := http.StatusOK
	if of.Model != "" && len(v.Models) == 0 {
		status = http.StatusNotFound // the page says so
	}
	d.page(w, status, func(b *bytes.Buffer) error {
		return report.HTML(b, v, report.HTMLOptions{Model: of.Model, Later: of.After != "", DocsURL: docsURL})
	})
}

// page answers with a page.
func (d *Daemon) page(w http.ResponseWriter, status int, write func(*bytes.Buffer) error) {
	var b bytes.Buffer
	if err := write(&b); err != nil {
		d.log.Error("Page failed", "err", err)
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

func (d *Daemon) serveReport(w http.ResponseWriter, r *http.Request) {
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
	v := d.part(of)
	if of.Model != "" && len(v.Models) == 0 {
		refuse(w, http.StatusNotFound, "the repository holds no model %q", of.Model)
		return
	}
	if v.Next != "" {
		more := url.Values{"after": {v.Next}, "limit": {strconv.Itoa(of.Limit)}}
		if format != "" {
			more.Set("format", format)
		}
		w.Header().Set("Link", fmt.Sprintf("<%s?%s>; rel=\"next\"", r.URL.Path, more.Encode()))
	}
	var b bytes.Buffer
	if err := f.Write(&b, v); err != nil {
		w.Header().Del("Link")
		d.log.Error("Report failed", "err", err)
		refuse(w, http.StatusInternalServerError, "the report cannot be written; the log says why")
		return
	}
	w.Header().Set("Content-Type", f.ContentType)
	_, _ = b.WriteTo(w)
}

// serveHealthy fails when a pass stands still beyond every limit that should have
// ended it: then only a restart helps.
func (d *Daemon) serveHealthy(w http.ResponseWriter, _ *http.Request) {
	a := d.activity.Load()
	if !a.stalls.IsZero() && time.Now().After(a.stalls) {
		http.Error(w, fmt.Sprintf("plancast is not healthy: the running pass has shown no progress for %s", (time.Since(a.stalls)+a.patience).Round(time.Second)), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "plancast is healthy.")
}

func (d *Daemon) serveReady(w http.ResponseWriter, _ *http.Request) {
	a := d.activity.Load()
	switch {
	case a.waitingFor != "" && !a.scanned:
		http.Error(w, "plancast is not ready: it is "+a.waitingFor, http.StatusServiceUnavailable)
	case a.waitingFor != "":
		fmt.Fprintln(w, "plancast is ready; it is "+a.waitingFor+".")
	case a.scanned:
		fmt.Fprintln(w, "plancast is ready.")
	case a.passErr != nil:
		http.Error(w, "plancast is not ready: "+a.passErr.Error(), http.StatusServiceUnavailable)
	default:
		http.Error(w, "plancast is not ready: it has not read the model repository yet", http.StatusServiceUnavailable)
	}
}

func (d *Daemon) serveReload(w http.ResponseWriter, r *http.Request) {
	if !d.allowed(w, r) {
		return
	}
	if err := d.Reload(r.Context()); err != nil {
		refuse(w, http.StatusInternalServerError, "%v", err)
		return
	}
	reply(w, http.StatusOK, map[string]string{"status": "success"})
}

// allowed says whether a request may change something; if not, it is answered.
func (d *Daemon) allowed(w http.ResponseWriter, r *http.Request) bool {
	switch {
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, http.StatusMethodNotAllowed, "only POST requests are taken here")
	case !d.options.Lifecycle:
		refuse(w, http.StatusForbidden, "the lifecycle API is not enabled: start plancast with --web.enable-lifecycle")
	case !d.named(r):
		refuse(w, http.StatusForbidden, "host %q is not known to plancast: name it with --web.external-url, or use an IP address", r.Host)
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
