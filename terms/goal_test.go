package terms

import (
	"testing"
	"time"
)

var now = time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)

func TestDeadlinesHaveAZone(t *testing.T) {
	for text, want := range map[string]string{
		"2027-01-31T18:00:00+01:00":      "2027-01-31T17:00:00Z",
		"2027-01-31":                     "2027-01-31T23:59:59Z",
		"2027-01-31 18:00":               "2027-01-31T18:00:00Z",
		" 2027-01-31 18:00:30 ":          "2027-01-31T18:00:30Z",
		"2027-01-31 18:00 Europe/Berlin": "2027-01-31T17:00:00Z",
		"2027-07-31 America/New_York":    "2027-08-01T03:59:59Z",
	} {
		got, err := ParseDeadline(text, time.UTC)
		if err != nil || got.UTC().Format(time.RFC3339) != want {
			t.Errorf("%q = %v, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"tomorrow", "2027-02-30", "2027-01-31 Local", "2027-01-31 Mars/Base", ""} {
		if _, err := ParseDeadline(text, time.UTC); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
}

func TestRelativeDeadlines(t *testing.T) {
	for text, want := range map[string]string{
		"now+30d":    "2026-10-31T12:00:00Z",
		"now+1w2d":   "2026-10-10T12:00:00Z",
		"2027-01-31": "2027-01-31T23:59:59Z",
	} {
		got, err := ParseRelativeDeadline(text, time.UTC, now)
		if err != nil || got.Format(time.RFC3339) != want {
			t.Errorf("%s: got %s, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"now", "now-1d", "now+100y", "soon"} {
		if got, err := ParseRelativeDeadline(text, time.UTC, now); err == nil {
			t.Errorf("%s is accepted as %s", text, got)
		}
	}
}

func TestTheFurthestRelativeDeadlineIsTheFurthestLookBack(t *testing.T) {
	furthest := "now+" + FormatDuration(MaxLookBack)
	if got, err := ParseRelativeDeadline(furthest, time.UTC, now); err != nil || got != now.Add(MaxLookBack) {
		t.Errorf("%s: got %s, %v", furthest, got, err)
	}
	if got, err := ParseRelativeDeadline(furthest+"1s", time.UTC, now); err == nil {
		t.Errorf("a second more is accepted as %s", got)
	}
}

func TestAZoneDependsOnNoMachine(t *testing.T) {
	for _, text := range []string{"", "Local"} {
		if zone, err := ParseZone(text); err == nil {
			t.Errorf("%q is accepted as %s", text, zone)
		}
	}
}
