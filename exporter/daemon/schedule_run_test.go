package daemon_test

import (
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plancast/plancast/exporter/daemon"
	"github.com/plancast/plancast/exporter/daemon/daemontest"
	"github.com/plancast/plancast/exporter/engine/fake"
)

func TestPassesComeAtOnceOnScheduleOnRequestAndAfterAReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := daemontest.New(t, "")
		d := s.Open(func(o *daemon.Options) { o.Unmeasured = true })
		ended := make(chan error, 1)
		go func() { ended <- d.Schedule(t.Context()) }()
		last := func() time.Time {
			synctest.Wait()
			if p := d.View().LastPass; p != nil {
				return p.Finished
			}
			return time.Time{}
		}
		start := time.Now().UTC()
		if got := last(); !got.Equal(start) {
			t.Errorf("the first pass ended at %s; want at once", got)
		}
		if next := d.View().NextPass; next == nil || !next.Equal(start.Add(time.Hour)) {
			t.Errorf("the next pass is shown as %v; want in an hour", next)
		}
		time.Sleep(59 * time.Minute)
		if got := last(); !got.Equal(start) {
			t.Errorf("a pass ended at %s, before its hour", got)
		}
		time.Sleep(2 * time.Minute)
		if got := last(); !got.Equal(start.Add(time.Hour)) {
			t.Errorf("the last pass ended at %s; want after an hour", got)
		}
		get(t, d.Handler(), "POST", "/api/v1/run")
		if got := last(); !got.Equal(start.Add(61 * time.Minute)) {
			t.Errorf("the last pass ended at %s; want on request", got)
		}
		time.Sleep(time.Minute)
		s.Edit(`schedule: "@every 1h"`, `schedule: "@every 10m"`)
		if err := d.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		reloaded := start.Add(62 * time.Minute)
		if got := last(); !got.Equal(reloaded) {
			t.Errorf("the last pass ended at %s; want after the reload", got)
		}
		time.Sleep(11 * time.Minute)
		if got := last(); !got.Equal(reloaded.Add(10 * time.Minute)) {
			t.Errorf("the last pass ended at %s; want by the new schedule", got)
		}
		// What stops the daemon ends the schedule as well.
		if err := os.RemoveAll(s.Dir + "/state"); err != nil {
			t.Fatal(err)
		}
		<-ended
	})
}

const chat = `
notifications:
  receivers: [{name: NAME, url: "generic://example.org"}]
`

func TestWhatIsRecordedIsQueuedForItsReceiver(t *testing.T) {
	for unnotified, want := range map[bool]string{false: "plancast_notification_queue_length 1\n", true: "plancast_notification_queue_length 0\n"} {
		s := daemontest.New(t, strings.Replace(chat, "NAME", "chat", 1))
		s.Push("net", "1", fake.Script{})
		d := s.Open(func(o *daemon.Options) { o.Unnotified = unnotified })
		if err := d.Pass(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if _, body := get(t, d.Handler(), "GET", "/metrics"); !strings.Contains(body, want) {
			t.Errorf("unnotified %t: /metrics lacks %q", unnotified, want)
		}
	}
}

func TestAReloadTakesOtherReceivers(t *testing.T) {
	s := daemontest.New(t, strings.Replace(chat, "NAME", "chat", 1))
	d := s.Open()
	s.Configure(strings.Replace(chat, "NAME", "pager", 1))
	if err := d.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, body := get(t, d.Handler(), "GET", "/metrics")
	if !strings.Contains(body, `receiver="pager"`) || strings.Contains(body, `receiver="chat"`) {
		t.Error("the receivers are those of before")
	}
}
