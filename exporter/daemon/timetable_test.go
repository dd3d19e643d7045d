package daemon

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/plancast/plancast/bench/torture/dose"
)

func parse(t *testing.T, spec string) cron.Schedule {
	t.Helper()
	s, err := cron.ParseStandard(spec)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestEachPassOfAScheduleComesOnceThroughTheChangesOfTheClock(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	// 02:00 becomes 03:00 on 29 March 2026, 03:00 becomes 02:00 on 25 October.
	const layout = "02 Jan 15:04 MST"
	for _, c := range []struct {
		name, spec, from string
		want             []string
	}{
		{"an hour that is left out: at the change", "30 2 * * *", "2026-03-28 12:00",
			[]string{"29 Mar 03:00 CEST", "30 Mar 02:30 CEST", "31 Mar 02:30 CEST"}},
		{"an hour that comes twice: the first time", "30 2 * * *", "2026-10-24 12:00",
			[]string{"25 Oct 02:30 CEST", "26 Oct 02:30 CET", "27 Oct 02:30 CET"}},
		{"several in an hour that is left out are one", "*/20 2 * * *", "2026-03-28 12:00",
			[]string{"29 Mar 03:00 CEST", "30 Mar 02:00 CEST", "30 Mar 02:20 CEST"}},
		{"an hour that is not concerned", "30 12 * * *", "2026-03-28 13:00",
			[]string{"29 Mar 12:30 CEST", "30 Mar 12:30 CEST"}},
		{"every half hour counts the time that passes, in spring", "*/30 * * * *", "2026-03-29 01:00",
			[]string{"29 Mar 01:30 CET", "29 Mar 03:00 CEST", "29 Mar 03:30 CEST"}},
		{"every half hour counts the time that passes, in autumn", "*/30 * * * *", "2026-10-25 01:30",
			[]string{"25 Oct 02:00 CEST", "25 Oct 02:30 CEST", "25 Oct 02:00 CET", "25 Oct 02:30 CET", "25 Oct 03:00 CET"}},
		{"an interval", "@every 1h", "2026-10-25 01:30",
			[]string{"25 Oct 02:30 CEST", "25 Oct 02:30 CET", "25 Oct 03:30 CET"}},
		{"a zone of the schedule's own", "CRON_TZ=UTC 30 2 * * *", "2026-03-28 12:00",
			[]string{"29 Mar 04:30 CEST", "30 Mar 04:30 CEST"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			now, err := time.ParseInLocation("2006-01-02 15:04", c.from, berlin)
			if err != nil {
				t.Fatal(err)
			}
			for _, want := range c.want {
				now = following(parse(t, c.spec), berlin, now)
				if got := now.In(berlin).Format(layout); got != want {
					t.Fatalf("got %s; want %s", got, want)
				}
			}
		})
	}
}

func TestADayThatNeverComesHasNoPass(t *testing.T) {
	if at := following(parse(t, "0 0 30 2 *"), time.UTC, time.Now()); !at.IsZero() {
		t.Errorf("30 February is %s", at)
	}
	synctest.Test(t, func(t *testing.T) {
		table := newTimetable(parse(t, "0 0 30 2 *"), time.UTC, time.Now())
		for range 3 {
			time.Sleep(table.wait(time.Now()))
			if due, _ := table.check(time.Now()); due {
				t.Error("a pass is due")
			}
		}
	})
}

// Whatever the clock is set to, and however often, passes go on to come, at
// their distance from each other.
func TestAScheduleGoesOnAfterTheClockWasSet(t *testing.T) {
	kinds := []time.Duration{-400 * 24 * time.Hour, -time.Hour, -6 * time.Second, 6 * time.Second, time.Hour, 400 * 24 * time.Hour}
	each := (dose.Of(t, "steps", 120) + len(kinds) - 1) / len(kinds)
	for _, step := range kinds {
		t.Run(step.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var offset time.Duration
				now := func() time.Time { return time.Now().Add(offset).Round(0) }
				table := newTimetable(parse(t, "*/5 * * * *"), time.UTC, now())
				passes, steps := 0, 0
				for start := time.Now(); time.Since(start) < time.Duration(each+10)*20*time.Minute; {
					if steps < each && time.Since(start) > time.Duration(steps+1)*20*time.Minute {
						offset += step
						steps++
						passes = 0
					}
					wait := table.wait(now())
					time.Sleep(max(wait, time.Millisecond))
					due, got := table.check(now())
					if due {
						passes++
					}
					if got != 0 && (got-step).Abs() > time.Second {
						t.Fatalf("a step of %s is read as %s", step, got)
					}
					if !table.next.After(now()) || table.next.Sub(now()) > 5*time.Minute {
						t.Fatalf("at %s the next pass is %s", now(), table.next)
					}
				}
				// From the last step on.
				if passes < 39 || passes > 41 {
					t.Errorf("%d passes within 200 minutes; want one every 5", passes)
				}
			})
		})
	}
	dose.Done(t, "steps", each*len(kinds), "by 6 seconds, an hour and 400 days, forward and back: a pass every 5 minutes after each")
}

func TestAClockThatIsSteeredWasNotSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		drifting := func() time.Time { return start.Add(time.Since(start) * 101 / 100).Round(0) }
		table := newTimetable(parse(t, "*/5 * * * *"), time.UTC, drifting())
		for time.Since(start) < time.Hour {
			time.Sleep(max(table.wait(drifting()), time.Millisecond))
			if _, step := table.check(drifting()); step != 0 {
				t.Fatalf("steering is seen as a step of %s", step)
			}
		}
	})
}
