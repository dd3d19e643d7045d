package units

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// Change writes a relative change for people: -0.38 is "down 38 %", 0.05 is
// "up 5 %", and less than a tenth of a percent either way is "unchanged".
func Change(ratio float64) string {
	a := math.Abs(ratio)
	switch {
	case math.IsNaN(ratio):
		return "n/a"
	case a < 0.001:
		return "unchanged"
	case a < 0.0995:
		a = math.Round(a*1000) / 1000 // one decimal
	default:
		a = math.Round(a*100) / 100
	}
	if ratio < 0 {
		return "down " + Format(a, Ratio)
	}
	return "up " + Format(a, Ratio)
}

// ChangeWithin writes a change with the interval that it lies in: "down 38 %
// (36-40 %)". low and high are on the same side of zero.
func ChangeWithin(ratio, low, high float64) string {
	smaller, larger := math.Min(math.Abs(low), math.Abs(high)), math.Max(math.Abs(low), math.Abs(high))
	digits := 0
	if larger < 0.0995 {
		digits = 1
	}
	write := func(v float64) string { return strconv.FormatFloat(100*v, 'f', digits, 64) }
	return fmt.Sprintf("%s (%s-%s %%)", Change(ratio), write(smaller), write(larger))
}

// Ago writes the age of a result in whole units: "just now", "5 min ago",
// "3 h ago", "12 d ago". A negative age, as after a clock was set back, is
// "just now".
func Ago(age time.Duration) string {
	if age < time.Minute {
		return "just now"
	}
	return Span(age) + " ago"
}

// Span writes a length of time in one whole unit, rounded down: "40 s", "5 min", "3 h", "12 d".
func Span(d time.Duration) string {
	n, unit := int64(d/time.Second), "s"
	switch {
	case d >= 48*time.Hour:
		n, unit = int64(d/(24*time.Hour)), "d"
	case d >= 2*time.Hour:
		n, unit = int64(d/time.Hour), "h"
	case d >= time.Minute:
		n, unit = int64(d/time.Minute), "min"
	}
	return fmt.Sprintf("%d %s", max(n, 0), unit)
}

// Count writes a number of things with its noun: "1 model", "3 models".
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return Number(float64(n)) + " " + noun + "s"
}
