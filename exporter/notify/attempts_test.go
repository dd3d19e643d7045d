package notify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/report/reporttest"
)

func TestAttemptsBackOffAndNothingIsLost(t *testing.T) {
	bubble(t, everybody, func(t *testing.T, d *fixture) {
		d.breaks("chat", true)
		start := time.Now()
		stop := d.running()
		defer stop()
		d.measured("vision-net", "1", 0.02)
		time.Sleep(12 * time.Hour)
		synctest.Wait()
		var waits []time.Duration
		for i, at := range d.at {
			if i > 0 {
				waits = append(waits, at.Sub(d.at[i-1]))
			}
		}
		want := []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second, 160 * time.Second, 320 * time.Second, 640 * time.Second, 1280 * time.Second, 30 * time.Minute, 30 * time.Minute}
		if len(waits) < len(want) || !slices.Equal(waits[:len(want)], want) {
			t.Errorf("waits %v; want %v ...", waits, want)
		}
		if s := d.n.Stats(); s.Queued != 1 || s.Oldest != time.Since(start) || s.Counts["chat"][Failed] != uint64(len(d.at)) || s.Counts["chat"][Sent] != 0 {
			t.Errorf("stats %+v after %d attempts", s, len(d.at))
		}
		d.breaks("chat", false)
		time.Sleep(30 * time.Minute)
		settle()
		d.want("chat: vision-net version 1 is measured")
		if s := d.n.Stats(); s.Queued != 0 || s.Oldest != 0 || s.Counts["chat"][Sent] != 1 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestDelaysAreSpreadAndBounded(t *testing.T) {
	for attempts := range 200 {
		lo, hi := delay(attempts, 0), delay(attempts, 1)
		if lo < firstDelay/2 || hi > lastDelay || lo*2 != hi {
			t.Fatalf("attempt %d waits %s to %s", attempts, lo, hi)
		}
		if attempts > 0 && hi < delay(attempts-1, 1) {
			t.Fatalf("attempt %d waits shorter than the one before", attempts)
		}
	}
}

func TestOneReceiverThatIsDownDoesNotHoldUpTheOthers(t *testing.T) {
	bubble(t, `
notifications:
  receivers: [{name: dead, url_env: A}, {name: chat, url_env: B}]
`, func(t *testing.T, d *fixture) {
		d.breaks("dead", true)
		stop := d.running()
		defer stop()
		for i := range 5 {
			d.measured(fmt.Sprint("vision-", i), "1", 0.02)
		}
		settle()
		if len(d.got) != 5 {
			t.Errorf("received %q", d.got)
		}
		// One attempt shows that it is down: not one for each message.
		if s := d.n.Stats(); s.Counts["dead"][Failed] != 1 || s.Queued != 5 {
			t.Errorf("stats %+v", s)
		}
	})
}

func TestAReceiverThatIsDownIsTriedOnceForAllItsMessages(t *testing.T) {
	bubble(t, everybody, func(t *testing.T, d *fixture) {
		d.breaks("chat", true)
		for i := range 3 {
			d.measured(fmt.Sprint("vision-", i), "1", 0.02)
		}
		d.flush()
		if s := d.n.Stats(); s.Queued != 3 || s.Counts["chat"][Failed] != 1 {
			t.Errorf("%+v", s)
		}
		// It rests, until the clock is set back: what it waits for is not a time of this clock.
		d.breaks("chat", false)
		d.flush()
		d.want()
		d.set = -400 * 24 * time.Hour
		d.flush()
		if len(d.got) != 3 {
			t.Errorf("after the clock was set back: %q", d.got)
		}
	})
}

func TestOneReceiverThatHangsDelaysNoOther(t *testing.T) {
	bubble(t, `
notifications:
  receivers: [{name: hung, url_env: A}, {name: chat, url_env: B}]
`, func(t *testing.T, d *fixture) {
		d.n.Send = func(ctx context.Context, r config.Receiver, m Message) error {
			if r.Name == "hung" {
				select {
				case <-time.After(sendTimeout):
					return &Error{Receiver: r.Name, Reason: "no answer in time"}
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return d.send(ctx, r, m)
		}
		stop := d.running()
		defer stop()
		for i := range 5 {
			queued := time.Now()
			d.measured(fmt.Sprint("vision-", i), "1", 0.02)
			settle()
			if len(d.at) != i+1 || d.at[i] != queued {
				t.Fatalf("message %d is late: received %q", i, d.got)
			}
		}
		if s := d.n.Stats(); s.Queued != 5 || s.Counts["chat"][Sent] != 5 || s.Counts["hung"][Failed] != 0 {
			t.Errorf("while one hangs: %+v", s)
		}
		time.Sleep(sendTimeout)
		settle()
		if s := d.n.Stats(); s.Queued != 5 || s.Counts["hung"][Failed] != 1 {
			t.Errorf("after it hung: %+v", s)
		}
	})
}

func TestAReceiverThatComesWithAnotherConfigurationHasASenderAtOnce(t *testing.T) {
	bubble(t, everybody, func(t *testing.T, d *fixture) {
		stop := d.running()
		defer stop()
		settle()
		d.n.Configure(configuration(t, "notifications: {receivers: [{name: chat, url_env: A}, {name: new, url_env: B}]}"))
		d.measured("vision-net", "1", 0.02)
		settle()
		slices.Sort(d.got)
		d.want("chat: vision-net version 1 is measured", "new: vision-net version 1 is measured")
		d.n.Configure(configuration(t, "notifications: {receivers: [{name: new, url_env: B}]}"))
		d.measured("vision-net", "2", 0.02)
		settle()
		d.want("new: vision-net version 2 is measured")
		if _, there := d.n.Stats().Counts["chat"]; there {
			t.Error("a receiver that is not configured any more is counted")
		}
	})
}

func TestAQueueThatIsFullDropsItsOldest(t *testing.T) {
	bubble(t, everybody, func(t *testing.T, d *fixture) {
		d.n.most = 3
		for i := range 5 {
			d.measured("vision-net", fmt.Sprint(i+1), 0.02)
		}
		if s := d.n.Stats(); s.Queued != 3 || s.Counts["chat"][Dropped] != 2 || !strings.Contains(d.log.String(), "Notifications dropped") {
			t.Errorf("%+v\n%s", s, d.log.String())
		}
		d.flush()
		d.want("chat: vision-net version 3 is measured", "chat: vision-net version 4 is measured", "chat: vision-net version 5 is measured")
	})
}

func TestAMessageThatIsNeverTakenDoesNotHoldUpTheOthers(t *testing.T) {
	bubble(t, everybody, func(t *testing.T, d *fixture) {
		d.n.Send = func(ctx context.Context, r config.Receiver, m Message) error {
			if strings.Contains(m.Title, "poison") {
				return &Error{Receiver: r.Name, Reason: "the server answered 400 Bad Request"}
			}
			return d.send(ctx, r, m)
		}
		stop := d.running()
		defer stop()
		d.measured("vision-poison", "1", 0.02)
		d.measured("vision-net", "1", 0.02)
		time.Sleep(time.Minute)
		settle()
		d.want("chat: vision-net version 1 is measured")
		time.Sleep(73 * time.Hour)
		settle()
		if s := d.n.Stats(); s.Queued != 0 || s.Counts["chat"][Dropped] != 1 || !strings.Contains(d.log.String(), "Notification dropped") {
			t.Errorf("after the time to give up: %+v", s)
		}
	})
}

func TestAHistoryThatWasDownForLongTriesOnceBeforeItGivesUp(t *testing.T) {
	bubble(t, everybody, func(t *testing.T, d *fixture) {
		d.measured("vision-net", "1", 0.02)
		time.Sleep(1000 * time.Hour)
		d.restart()
		d.flush()
		d.want("chat: vision-net version 1 is measured")
	})
}

// The places where plancast can be killed, and what follows.
func TestKilledAnywhereNothingIsLost(t *testing.T) {
	t.Run("after the record, before the news is queued", func(t *testing.T) {
		bubble(t, everybody, func(t *testing.T, d *fixture) {
			d.version("vision-net", "1")
			d.record("vision-net", "1", engine.FP32, reporttest.Measured(0.02))
			d.restart()
			d.observe() // the first look after the start
			d.flush()
			d.want("chat: vision-net version 1 is measured")
		})
	})
	t.Run("after the news is queued, before it is sent", func(t *testing.T) {
		bubble(t, everybody, func(t *testing.T, d *fixture) {
			d.measured("vision-net", "1", 0.02)
			d.restart()
			d.observe()
			d.flush()
			d.want("chat: vision-net version 1 is measured")
		})
	})
	t.Run("after it is sent, before it is marked: repeated, with the same ID", func(t *testing.T) {
		bubble(t, everybody, func(t *testing.T, d *fixture) {
			d.measured("vision-net", "1", 0.02)
			d.n.Send = func(ctx context.Context, r config.Receiver, m Message) error {
				err := d.send(ctx, r, m)
				d.store.Close() // nothing can be marked any more
				return err
			}
			if _, err := d.n.Flush(t.Context()); err == nil {
				t.Error("the mark was written")
			}
			d.restart()
			d.flush()
			d.want("chat: vision-net version 1 is measured", "chat: vision-net version 1 is measured")
			if d.full[0].ID != d.full[1].ID || d.full[0].ID == "" {
				t.Errorf("IDs %q and %q", d.full[0].ID, d.full[1].ID)
			}
		})
	})
	t.Run("after it is marked: not repeated", func(t *testing.T) {
		bubble(t, everybody, func(t *testing.T, d *fixture) {
			d.measured("vision-net", "1", 0.02)
			d.flush()
			d.restart()
			d.observe()
			d.flush()
			d.want("chat: vision-net version 1 is measured")
		})
	})
}

func TestAnOrderlyStopLetsTheMessageUnderWayArrive(t *testing.T) {
	for name, c := range map[string]struct {
		takes time.Duration
		sent  bool
		stops time.Duration
	}{
		"in time":  {3 * time.Second, true, 2 * time.Second},
		"too late": {time.Hour, false, stopGrace},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, everybody, func(t *testing.T, d *fixture) {
				d.n.Send = func(ctx context.Context, r config.Receiver, m Message) error {
					select {
					case <-time.After(c.takes):
						return d.send(ctx, r, m)
					case <-ctx.Done():
						return ctx.Err()
					}
				}
				d.measured("vision-net", "1", 0.02)
				stop := d.running()
				time.Sleep(time.Second)
				start := time.Now()
				stop()
				if took := time.Since(start); took != c.stops {
					t.Errorf("stopped after %s; want %s", took, c.stops)
				}
				if left, _, err := d.store.Due(t.Context(), "chat", d.now(), time.Hour); err != nil || (len(left) == 0) != c.sent || !c.sent && left[0].Attempts != 0 {
					t.Errorf("left %+v, %v", left, err)
				}
			})
		})
	}
}
