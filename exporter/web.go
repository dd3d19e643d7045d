package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/report"
)

// lifecycle is what may be asked for by HTTP; nil functions are not enabled.
type lifecycle struct {
	reload func() error
	kick   func(model string)
}

// handler serves the report, the metrics and the life of the daemon.
func (a *app) handler(reg *prometheus.Registry, l lifecycle) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.servePage)
	mux.Handle("GET /metrics", promhttp.InstrumentMetricHandler(reg, promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		EnableOpenMetrics: true, ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelError), Registry: reg,
	})))
	mux.HandleFunc("GET /api/v1/report", a.serveReport)
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "plancast is healthy.") })
	mux.HandleFunc("GET /-/ready", a.serveReady)
	mux.HandleFunc("/-/reload", l.serveReload)
	mux.HandleFunc("/api/v1/run", l.serveRun)
	// A page elsewhere must not make a visitor's browser reload or run.
	return http.NewCrossOriginProtection().Handler(mux)
}

func (a *app) servePage(w http.ResponseWriter, r *http.Request) {
	var b bytes.Buffer
	if err := report.HTML(&b, *a.view.Load(), report.HTMLOptions{Model: r.FormValue("model")}); err != nil {
		a.log.Error("Page failed", "err", err)
		http.Error(w, "the report cannot be shown; the log says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", report.ContentSecurityPolicy())
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = b.WriteTo(w)
}

// formats are the forms of /api/v1/report.
var formats = map[string]struct {
	contentType string
	write       func(io.Writer, report.View) error
}{
	"":         {"application/json", report.JSON},
	"json":     {"application/json", report.JSON},
	"markdown": {"text/markdown; charset=utf-8", report.Markdown},
	"text":     {"text/plain; charset=utf-8", writeText},
}

func writeText(w io.Writer, v report.View) error { return report.Text(w, v, report.TextOptions{}) }

func (a *app) serveReport(w http.ResponseWriter, r *http.Request) {
	f, ok := formats[r.FormValue("format")]
	if !ok {
		refuse(w, http.StatusBadRequest, "format %q is not one of json, markdown, text", r.FormValue("format"))
		return
	}
	var b bytes.Buffer
	if err := f.write(&b, *a.view.Load()); err != nil {
		a.log.Error("Report failed", "err", err)
		refuse(w, http.StatusInternalServerError, "the report cannot be written; the log says why")
		return
	}
	w.Header().Set("Content-Type", f.contentType)
	_, _ = b.WriteTo(w)
}

func (a *app) serveReady(w http.ResponseWriter, _ *http.Request) {
	a.mu.Lock()
	scanned, err := a.scanned, a.passErr
	a.mu.Unlock()
	switch {
	case scanned:
		fmt.Fprintln(w, "plancast is ready.")
	case err != nil:
		http.Error(w, "plancast is not ready: "+err.Error(), http.StatusServiceUnavailable)
	default:
		http.Error(w, "plancast is not ready: it has not read the model repository yet", http.StatusServiceUnavailable)
	}
}

func (l lifecycle) serveReload(w http.ResponseWriter, r *http.Request) {
	if !allowed(w, r, l.reload != nil) {
		return
	}
	if err := l.reload(); err != nil {
		refuse(w, http.StatusInternalServerError, "%v", err)
		return
	}
	reply(w, http.StatusOK, map[string]string{"status": "success"})
}

func (l lifecycle) serveRun(w http.ResponseWriter, r *http.Request) {
	if !allowed(w, r, l.kick != nil) {
		return
	}
	model := r.FormValue("model")
	if model != "" && !candidate.ValidModel(model) {
		refuse(w, http.StatusBadRequest, "%q cannot be a model's name", model)
		return
	}
	l.kick(model)
	reply(w, http.StatusAccepted, map[string]string{"status": "success"})
}

func allowed(w http.ResponseWriter, r *http.Request, enabled bool) bool {
	switch {
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, http.StatusMethodNotAllowed, "only POST requests are taken here")
	case !enabled:
		refuse(w, http.StatusForbidden, "the lifecycle API is not enabled: start plancast with --web.enable-lifecycle")
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
