package notify

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/report/reporttest"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/forecast"
)

// settle lets everything under way come to rest. SQLite sleeps while another
// connection writes, which to synctest is rest.
func settle() {
	time.Sleep(time.Second)
	synctest.Wait()
}

// bubble runs a test on synthetic time.
func bubble(t *testing.T, config string, test func(t *testing.T, d *fixture)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newFixture(t, config)) })
}

func TestACandidateIsNotifiedOnceAllItsJobsHaveEnded(t *testing.T) {
	bubble(t, everybody, func(t *testing.T, d *fixture) {
		d.version("vision-net", "1", engine.FP32, engine.FP16, engine.INT8)
		d.record("vision-net", "1", engine.FP32, reporttest.Measured(0.02))
		d.observe()
		d.flush()
		d.want() // two precisions are to come
		d.record("vision-net", "1", engine.FP16, reporttest.Unsupported)
		d.record("vision-net", "1", engine.INT8, reporttest.Measured(0.01))
		d.observe()
		d.observe()
		d.flush()
		d.want("chat: vision-net version 1 is measured")
	})
}

func TestANotificationSaysThatAPrecisionBroughtNothing(t *testing.T) {
	bubble(t, everybody, func(t *testing.T, d *fixture) {
		d.version("vision-net", "1", engine.FP32, engine.INT8)
		d.record("vision-net", "1", engine.FP32, reporttest.Measured(0.02))
		d.record("vision-net", "1", engine.INT8, func(r *history.Record) {
			reporttest.Measured(0.01)(r)
			reporttest.Idle(r)
		})
		d.observe()
		d.flush()
		d.want("chat: vision-net version 1 is measured")
		text := d.full[0].Text
		if !strings.Contains(text, "P99 20 ms with fp32") || !strings.Contains(text, "Note: INT8 had no effect: none of the 40 layers") {
			t.Errorf("the message reads\n%s", text)
		}
	})
}

func TestOnlyTheNewestOfABacklogIsNotified(t *testing.T) {
	bubble(t, everybody, func(t *testing.T, d *fixture) {
		for _, v := range []string{"1", "2", "3"} {
			d.in.Activity.Queue = nil
			if v != "3" {
				d.in.Activity.Queue = []standing.Job{{Model: "vision-net", Version: "3", Precision: engine.FP32}}
			}
			d.measured("vision-net", v, 0.02)
		}
		d.flush()
		d.want("chat: vision-net version 3 is measured")
	})
}

// Older candidates that are measured again, as the history of a new environment, keep
// nobody waiting and are no news.
func TestCandidatesMeasuredAgainKeepNoNewsWaiting(t *testing.T) {
	bubble(t, everybody, func(t *testing.T, d *fixture) {
		d.in.Activity.Queue = []standing.Job{{Model: "vision-net", Version: "9", Precision: engine.FP32}}
		d.measured("vision-net", "10", 0.02)
		d.flush()
		d.want("chat: vision-net version 10 is measured")
		d.in.Activity.Queue = nil
		d.measured("vision-net", "9", 0.02)
		d.flush()
		d.want()
	})
}

func TestNewsGoesToItsOwner(t *testing.T) {
	bubble(t, `
notifications:
  receivers: [{name: vision, url_env: A}, {name: speech, url_env: B}, {name: ops, url_env: C}]
  routes:
    - {owners: vision, receivers: [vision]}
    - {owners: speech, events: [missed, failure], receivers: [speech]}
    - {events: [failure], receivers: [ops]}
`, func(t *testing.T, d *fixture) {
		d.in.Targets = []config.Target{{Name: "launch", Select: config.Select{Precision: config.Best}, Criteria: reporttest.Criteria("p99 < 50ms")}}
		d.measured("vision-net", "1", 0.02)
		d.measured("speech-net", "1", 0.02)
		d.measured("nobodys", "1", 0.09)
		d.flush()
		d.want("vision: vision-net version 1 meets its threshold")
		d.measured("speech-net", "2", 0.09)
		d.flush()
		d.want("speech: speech-net version 2 misses its threshold")
		d.failed("nobodys", "2", engine.KindTimeout)
		d.flush()
		d.want("ops: nobodys version 2 fp32 failed: took too long")
	})
}

func TestAnUnsupportedPrecisionIsNoNews(t *testing.T) {
	bubble(t, everybody, func(t *testing.T, d *fixture) {
		d.version("vision-net", "1")
		d.record("vision-net", "1", engine.FP32, reporttest.Unsupported)
		d.observe()
		d.flush()
		d.want()
	})
}

func TestTheProbabilityIsComparedWithTheOneNotifiedBefore(t *testing.T) {
	bubble(t, everybody, func(t *testing.T, d *fixture) {
		d.in.Milestones = []config.Milestone{{Name: "launch", Select: config.Select{Precision: config.Best}, Criteria: reporttest.Criteria("p99 < 5ms"), Share: 1, Deadline: time.Now().AddDate(0, 0, 30)}}
		by := " by " + time.Now().AddDate(0, 0, 30).UTC().Format("2 Jan")
		for i, c := range []struct {
			p    float64
			want string
		}{{0.71, by + " 71 %"}, {0.83, by + " 83 % (was 71 %)"}, {0.8301, by + " 83 %"}, {0.999, by + " > 99 % (was 83 %)"}} {
			d.edit = func(s *standing.State) { s.Milestones[0].Forecast = forecasted(forecast.OnTrack, c.p) }
			d.measured("vision-net", fmt.Sprint(i+1), 0.03)
			d.restart() // what was observed is remembered
			d.flush()
			text := d.full[len(d.full)-1].Text
			if !strings.Contains(text, "; probability of launch"+c.want+"\n") {
				t.Errorf("notified\n%s\nwant %q", text, c.want)
			}
		}
	})
}

func TestAnotherEnvironmentIsNotifiedWithItsFirstResult(t *testing.T) {
	bubble(t, strings.Replace(everybody, "receivers: [", "routes: [{events: [environment], receivers: [chat]}]\n  receivers: [", 1), func(t *testing.T, d *fixture) {
		d.measured("vision-net", "1", 0.03)
		d.version("vision-net", "2")
		d.build.Add("vision-net", "2", 1, engine.FP32, reporttest.Environment("1.33.0"), reporttest.Measured(0.02))
		d.observe()
		d.version("vision-net", "3")
		d.build.Add("vision-net", "3", 2, engine.FP32, reporttest.Environment("1.33.0"), reporttest.Measured(0.02))
		d.observe()
		d.flush()
		d.want("chat: vision-net version 2 is measured")
		if text := d.full[0].Text; !strings.Contains(text, "ONNX Runtime 1.32.0 became 1.33.0") {
			t.Error(text)
		}
	})
}

func TestRepeatsOfAFailureAreCounted(t *testing.T) {
	bubble(t, everybody, func(t *testing.T, d *fixture) {
		stop := d.running()
		defer stop()
		d.failed("vision-net", "1", engine.KindTimeout)
		d.record("vision-net", "1", engine.INT8, reporttest.Failed(engine.Error{Kind: engine.KindTimeout})) // the same candidate
		d.observe()
		d.failed("vision-net", "2", engine.KindCrashed)   // another kind
		d.failed("vision-other", "1", engine.KindTimeout) // another model
		settle()
		d.want("chat: vision-net version 1 fp32 failed: took too long", "chat: vision-net version 2 fp32 failed: the worker crashed",
			"chat: vision-other version 1 fp32 failed: took too long")
		time.Sleep(time.Hour)
		d.failed("vision-net", "3", engine.KindTimeout)
		d.failed("vision-net", "4", engine.KindTimeout)
		settle()
		d.want()
		if s := d.n.Stats(); s.Counts["chat"][Suppressed] != 3 || s.Queued != 0 || s.Counts["chat"][Sent] != 3 {
			t.Errorf("stats %+v", s)
		}
		time.Sleep(23*time.Hour + time.Minute)
		settle()
		d.want("chat: vision-net failed again: took too long")
		if text := d.full[len(d.full)-1].Text; !strings.Contains(text, "vision-net: the same failure occurred 2 times more since 1 Jan 00:00 UTC, most recently with version 4 fp32") {
			t.Error(text)
		}
		d.failed("vision-net", "5", engine.KindTimeout) // a new window
		settle()
		d.want("chat: vision-net version 5 fp32 failed: took too long")
	})
}

// A clock that ran ahead wrote times that lie in the future after it was set
// right. They hold nothing up.
func TestNothingWaitsForATimeThatAClockHadBeforeItWasSetBack(t *testing.T) {
	for _, ahead := range []time.Duration{36 * time.Hour, 400 * 24 * time.Hour} {
		t.Run(ahead.String(), func(t *testing.T) {
			bubble(t, everybody, func(t *testing.T, d *fixture) {
				d.set = ahead
				d.failed("vision-net", "1", engine.KindTimeout)
				d.flush()
				d.want("chat: vision-net version 1 fp32 failed: took too long")
				d.failed("vision-net", "2", engine.KindTimeout) // a repeat, to be summed up a day later
				d.breaks("chat", true)
				d.measured("vision-other", "1", 0.02)
				d.flush()

				d.set = 0
				d.restart()
				d.breaks("chat", false)
				if s := d.n.Stats(); s.Queued != 2 {
					t.Errorf("%d messages wait; want the result and the repeats", s.Queued)
				}
				d.flush()
				d.want("chat: vision-net failed again: took too long", "chat: vision-other version 1 is measured")
				d.failed("vision-net", "3", engine.KindTimeout)
				d.flush()
				d.want("chat: vision-net version 3 fp32 failed: took too long")
				d.failed("vision-net", "4", engine.KindTimeout) // and repeats are known again
				d.flush()
				d.want()
			})
		})
	}
}

func TestAnotherConfigurationTakesEffect(t *testing.T) {
	bubble(t, everybody, func(t *testing.T, d *fixture) {
		d.breaks("chat", true)
		stop := d.running()
		defer stop()
		d.measured("vision-net", "1", 0.02)
		time.Sleep(5 * time.Hour)
		settle()
		d.breaks("chat", false)
		d.n.Configure(d.cfg) // its URL was put right: no waiting
		settle()
		// The message itself is due later; the receiver is not held back.
		time.Sleep(lastDelay)
		settle()
		d.want("chat: vision-net version 1 is measured")

		none := d.cfg
		none.Notifications.Receivers = nil
		d.breaks("chat", true)
		d.measured("vision-net", "2", 0.02)
		settle()
		d.n.Configure(none)
		d.measured("vision-net", "3", 0.02) // for nobody
		time.Sleep(80 * time.Hour)
		settle()
		if s := d.n.Stats(); s.Queued != 0 || len(s.Counts) != 0 {
			t.Errorf("messages to nobody are kept: %+v", s)
		}
	})
}

func TestWhatWasObservedIsNoNews(t *testing.T) {
	bubble(t, everybody, func(t *testing.T, d *fixture) {
		d.version("vision-net", "1")
		d.record("vision-net", "1", engine.FP32, reporttest.Measured(0.02))
		if err := d.n.Skip(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		d.restart()
		d.observe()
		d.flush()
		d.want()
	})
}

func TestEveryResultIsThereFromTheStart(t *testing.T) {
	bubble(t, everybody, func(t *testing.T, d *fixture) {
		s := d.n.Stats()
		for _, r := range Results {
			if v, ok := s.Counts["chat"][r]; !ok || v != 0 {
				t.Errorf("%s: %d, %v", r, v, ok)
			}
		}
	})
}

func TestADamagedRowIsAnErrorAndNotAMessage(t *testing.T) {
	bubble(t, everybody, func(t *testing.T, d *fixture) {
		if err := d.store.UpdateOutbox(t.Context(), func(tx *history.OutboxTx) error {
			_, err := tx.Add(history.OutboxEntry{Receiver: "chat", Key: "k", Created: time.Now(), Due: time.Now(), Body: []byte("{")})
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := d.n.Flush(t.Context()); err == nil || !strings.Contains(err.Error(), "message 1 for chat") {
			t.Errorf("error %v", err)
		}
	})
}
