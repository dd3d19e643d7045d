package daemon

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/plancast/plancast/exporter/web"
)

// Handler serves the report, the metrics and the daemon's lifecycle.
func (d *Daemon) Handler() http.Handler {
	o := d.options.Web
	o.Source, o.Metrics, o.Comparisons, o.Results, o.Log = d, d.metrics, d, d, d.log
	return web.Handler(o)
}

// Healthy implements web.Source: it fails when a pass is stuck beyond every
// limit that should have ended it.
func (d *Daemon) Healthy() error {
	a := d.activity.Load()
	if a.stalls.IsZero() || !time.Now().After(a.stalls) {
		return nil
	}
	return fmt.Errorf("the running pass has shown no progress for %s", (time.Since(a.stalls) + a.patience).Round(time.Second))
}

// Ready implements web.Source.
func (d *Daemon) Ready() (note string, err error) {
	a := d.activity.Load()
	waits := ""
	if a.waitingFor != "" {
		waits = "it is " + a.waitingFor
	}
	switch {
	case a.scanned:
		return waits, nil
	case waits != "":
		return "", errors.New(waits)
	case a.passErr != nil:
		return "", a.passErr
	default:
		return "", errors.New("it has not read the model repository yet")
	}
}
