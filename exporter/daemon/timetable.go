package daemon

import (
	"time"

	"github.com/robfig/cron/v3"
)

const (
	// lookEvery bounds how long the timetable sleeps: a step of the clock is
	// noticed within it.
	lookEvery = 30 * time.Second
	// stepLimit is from which difference between the wall clock and the time that
	// passed on the clock was set, rather than steered.
	stepLimit = 5 * time.Second
)

// timetable says when a cron schedule has its next pass. It knows the wall clock
// by what it is given, and the time that really passes by its own: where the two
// part, somebody set the clock, and the schedule goes on from the new time.
type timetable struct {
	schedule cron.Schedule
	location *time.Location
	next     time.Time // zero for never
	wall     time.Time // when it was last looked at
	at       time.Time // the same moment on a clock that nobody sets
}

func newTimetable(s cron.Schedule, loc *time.Location, now time.Time) *timetable {
	now = now.Round(0)
	return &timetable{schedule: s, location: loc, next: following(s, loc, now), wall: now, at: time.Now()}
}

// wait is how long to sleep before the next check.
func (t *timetable) wait(now time.Time) time.Duration {
	if t.next.IsZero() {
		return lookEvery
	}
	return min(max(t.next.Sub(now.Round(0)), 0), lookEvery)
}

// check says whether a pass is due, and by how much the clock was set since the
// last check, 0 if it was not. Several that were missed are one.
func (t *timetable) check(now time.Time) (due bool, step time.Duration) {
	now, at := now.Round(0), time.Now()
	step = now.Sub(t.wall) - at.Sub(t.at)
	t.wall, t.at = now, at
	if step.Abs() < stepLimit {
		step = 0
	}
	switch {
	case !t.next.IsZero() && !t.next.After(now):
		due = true
	case step == 0:
		return false, 0
	}
	t.next = following(t.schedule, t.location, now)
	return due, step
}

// following is the first time after now that the schedule names.
//
// A schedule with hours means the clock on the wall: when daylight saving time
// begins, a pass whose hour is left out is made at the change; when it ends, a
// pass in the hour that comes twice is made the first time only. A schedule for
// every hour, or an interval, counts the time that passes.
func following(s cron.Schedule, loc *time.Location, now time.Time) time.Time {
	spec, ok := s.(*cron.SpecSchedule)
	if !ok {
		return s.Next(now.In(loc))
	}
	if spec.Location != time.Local { // CRON_TZ
		loc = spec.Location
	}
	const everyHour = 1<<24 - 1
	if spec.Hour&everyHour == everyHour {
		return s.Next(now.In(loc))
	}
	// As if the zone had no changes; then each time on the wall is looked up.
	plain := *spec
	plain.Location = time.UTC
	for wall := onTheWall(now.In(loc)); ; {
		if wall = plain.Next(wall); wall.IsZero() {
			return time.Time{} // no such day, as 30 February
		}
		if at := firstInstant(wall, loc); at.After(now) {
			return at
		}
	}
}

// onTheWall is what a clock on the wall shows at t, as if in UTC.
func onTheWall(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), time.UTC)
}

// firstInstant is when a clock on the wall shows that time first; the change,
// where the change leaves it out.
func firstInstant(wall time.Time, loc *time.Location) time.Time {
	t := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), wall.Nanosecond(), loc)
	start, end := t.ZoneBounds()
	switch shown := onTheWall(t); {
	case shown.After(wall): // left out, and t lies behind the change
		return start
	case shown.Before(wall): // left out, and t lies before it
		return end
	}
	if start.IsZero() {
		return t
	}
	_, offset := t.Zone()
	_, before := start.Add(-1).Zone()
	if earlier := t.Add(time.Duration(offset-before) * time.Second); earlier.Before(start) && onTheWall(earlier).Equal(wall) {
		return earlier
	}
	return t
}
