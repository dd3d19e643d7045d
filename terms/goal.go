package terms

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// The defaults of a goal, and their bounds.
const (
	// Share of the models that must meet the criteria.
	Share = 1.0
	// Ready is the probability from which a goal counts as on track.
	Ready = 0.9
	// Horizon is within how many further iterations, where neither a horizon nor
	// a deadline is stated. MaxHorizon bounds one.
	Horizon, MaxHorizon = 5, 1000
	// LookBack is how far back results count when they are read from a time
	// series database. MaxLookBack bounds it.
	LookBack, MaxLookBack = 365 * 24 * time.Hour, 20 * 365 * 24 * time.Hour
)

// ParseDuration reads a duration as PromQL writes it: 15s, 1h30m, 90d, 1y.
func ParseDuration(text string) (time.Duration, error) {
	d, err := model.ParseDuration(text)
	return time.Duration(d), err
}

// FormatDuration writes a duration as PromQL reads it.
func FormatDuration(d time.Duration) string { return model.Duration(d).String() }

// FormatLookBack writes how far back results count: "the last 365 days".
func FormatLookBack(d time.Duration) string {
	const day = 24 * time.Hour
	if d%day == 0 && d >= 2*day {
		return fmt.Sprintf("the last %d days", d/day)
	}
	return "the last " + FormatDuration(d)
}

var relative = regexp.MustCompile(`^now\+([0-9a-z]+)$`)

// ParseRelativeDeadline reads what ParseDeadline reads, and "now+30d".
func ParseRelativeDeadline(s string, zone *time.Location, now time.Time) (time.Time, error) {
	if m := relative.FindStringSubmatch(strings.TrimSpace(s)); m != nil {
		if d, err := ParseDuration(m[1]); err == nil && d <= MaxLookBack {
			return now.Add(d).UTC(), nil
		}
	}
	t, err := ParseDeadline(s, zone)
	if err != nil {
		return t, fmt.Errorf(`%w, or "now+30d"`, err)
	}
	return t, nil
}

// ParseDeadline reads "2027-01-31", "2027-01-31 18:00" or "2027-01-31 18:00:30",
// each optionally followed by the name of a time zone, or RFC 3339. A day alone is due in its
// last second. What names no zone is in the given one. The result keeps its
// zone, so that it is shown as it was written.
func ParseDeadline(s string, zone *time.Location) (time.Time, error) {
	text := strings.TrimSpace(s)
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	if i := strings.LastIndexByte(text, ' '); i > 0 && !strings.Contains(text[i:], ":") {
		named, err := ParseZone(text[i+1:])
		if err != nil {
			return time.Time{}, err
		}
		text, zone = text[:i], named
	}
	for _, layout := range []string{"2006-01-02 15:04", time.DateTime} {
		if t, err := time.ParseInLocation(layout, text, zone); err == nil {
			return t, nil
		}
	}
	if t, err := time.ParseInLocation(time.DateOnly, text, zone); err == nil {
		return t.AddDate(0, 0, 1).Add(-time.Second), nil
	}
	return time.Time{}, fmt.Errorf(`%q is not a date: write one such as "2027-01-31", "2027-01-31 18:00 Europe/Berlin" or "2027-01-31T18:00:00Z"`, s)
}

// ParseZone reads the name of a time zone that does not depend on the machine.
func ParseZone(s string) (*time.Location, error) {
	if s == "Local" || s == "" {
		return nil, fmt.Errorf(`%q depends on the machine: name the zone, such as "Europe/Berlin" or "UTC"`, s)
	}
	zone, err := time.LoadLocation(s)
	if err != nil {
		return nil, fmt.Errorf(`%q is not a time zone: write one such as "Europe/Berlin" or "UTC"`, s)
	}
	return zone, nil
}
