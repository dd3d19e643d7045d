package daemon_test

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/plancast/plancast/exporter/daemon"
	"github.com/plancast/plancast/exporter/daemon/daemontest"
	"github.com/plancast/plancast/exporter/engine/fake"
)

// heldPasses is a log that holds each pass once it has read the repository, until
// it is released. It pushes a candidate then, so that the next pass logs as well.
type heldPasses struct {
	slog.Handler
	site    *daemontest.Site
	begun   atomic.Int64
	release chan struct{}
}

func (h *heldPasses) Enabled(context.Context, slog.Level) bool { return true }

func (h *heldPasses) Handle(_ context.Context, r slog.Record) error {
	if r.Message == "Repository scanned" {
		h.site.Push("net", strconv.FormatInt(1+h.begun.Add(1), 10), fake.Script{})
		<-h.release
	}
	return nil
}

func TestRequestsDuringAPassBecomeOnePassAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := daemontest.New(t, "")
		s.Push("net", "1", fake.Script{})
		passes := &heldPasses{Handler: slog.DiscardHandler, site: s, release: make(chan struct{})}
		d := s.Open(func(o *daemon.Options) { o.Unmeasured, o.Log = true, slog.New(passes) })
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- d.Schedule(ctx) }()
		begun := func(want int64, when string) {
			t.Helper()
			synctest.Wait()
			if got := passes.begun.Load(); got != want {
				t.Errorf("%d passes %s; want %d", got, when, want)
			}
		}
		begun(1, "at first")
		for range 3 {
			if code, body := get(t, d.Handler(), http.MethodPost, "/api/v1/run"); code != http.StatusAccepted {
				t.Errorf("%d, %s", code, body)
			}
			begun(1, "while one runs")
		}
		passes.release <- struct{}{}
		begun(2, "after three requests during the first")
		passes.release <- struct{}{}
		begun(2, "once the requests are met")
		cancel()
		close(passes.release) // of a pass too many
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
