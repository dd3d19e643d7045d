// Package units reads and writes the quantities plancast talks about: latencies,
// shares, memory sizes and rates. Every value inside the program is in the base
// unit of its kind (seconds, ratio, bytes, per second, or a plain count); only
// this package turns text into such a value and such a value into text for
// people, so a number looks the same in a report, an error and a panel.
//
// The package has no state and depends on the standard library alone.
package units

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Unit is a base unit. The zero value, None, is a plain number.
type Unit string

// The base units; the text is what configuration, history and metrics carry.
const (
	None    Unit = ""
	Seconds Unit = "seconds"
	Ratio   Unit = "ratio"
	Bytes   Unit = "bytes"
	PerSec  Unit = "per_second"
)

// Valid reports whether u is one of the base units above.
func (u Unit) Valid() bool {
	switch u {
	case None, Seconds, Ratio, Bytes, PerSec:
		return true
	}
	return false
}

type suffix struct {
	text   string
	factor float64
}

// The accepted suffixes of each unit, with the factor to the base unit.
// Longer ones stand before their own endings ("ms" before "s").
var suffixes = map[Unit][]suffix{
	Seconds: {{"ns", 1e-9}, {"us", 1e-6}, {"µs", 1e-6}, {"μs", 1e-6}, {"ms", 1e-3}, {"min", 60}, {"s", 1}, {"h", 3600}, {"d", 86400}},
	Ratio:   {{"%", 1e-2}},
	Bytes: {
		{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
		{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
	},
	PerSec: {{"inferences/s", 1}, {"QPS", 1}, {"qps", 1}, {"/s", 1}, {"/min", 1.0 / 60}},
}

var examples = map[Unit]string{
	None:    `a number such as "3"`,
	Seconds: `a time such as "50ms", "1.5s" or "10min"`,
	Ratio:   `a share such as "0.5%" or "0.005"`,
	Bytes:   `a size such as "512MiB" or "1GiB"`,
	PerSec:  `a rate such as "1800/s" or "1800QPS"`,
}

// Example says, for an error message, what a value in u looks like.
func Example(u Unit) string { return examples[u] }

// Parse reads text as a quantity in unit u and returns it in the base unit.
// White space between number and suffix is allowed. A bare number is accepted
// only where the base unit is unmistakable: None, Ratio and PerSec, and 0. The error
// names the text and says what would be right.
func Parse(text string, u Unit) (float64, error) {
	if !u.Valid() {
		return 0, fmt.Errorf("%q is not a unit", string(u))
	}
	text = strings.TrimSpace(text)
	s := text
	number, factor, found := s, 1.0, u == None || u == Ratio || u == PerSec || s == "0" // nothing is nothing in every unit
	for _, x := range suffixes[u] {
		if rest, ok := strings.CutSuffix(s, x.text); ok {
			number, factor, found = strings.TrimSpace(rest), x.factor, true
			break
		}
	}
	v, err := strconv.ParseFloat(number, 64)
	v *= factor
	if !found || err != nil || math.IsNaN(v) || math.IsInf(v, 0) || strings.ContainsAny(number, "xXpP_") {
		return 0, fmt.Errorf("%q is not %s", text, examples[u])
	}
	return v, nil
}

// Format writes v, in the base unit of u, for people: "42 ms", "0.5 %",
// "1.2 GiB", "1,800/s". Three significant digits, no exponent, a thin rule for
// the scale: the largest prefix that leaves at least one whole unit. NaN is
// "n/a" and the infinities are "∞" and "-∞".
func Format(v float64, u Unit) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return Number(v)
	}
	switch u {
	case Seconds:
		return duration(v)
	case Ratio:
		return Number(v*100) + " %"
	case Bytes:
		for _, x := range []suffix{{" TiB", 1 << 40}, {" GiB", 1 << 30}, {" MiB", 1 << 20}, {" KiB", 1 << 10}} {
			if !roundsBelow(math.Abs(v), x.factor) {
				return Number(v/x.factor) + x.text
			}
		}
		return Number(v) + " B"
	case PerSec:
		return Number(v) + "/s"
	default:
		return Number(v)
	}
}

// duration is v seconds.
func duration(v float64) string {
	a := math.Abs(v)
	switch {
	case v == 0:
		return "0 s"
	case roundsBelow(a, 1e-6):
		return Number(v*1e9) + " ns"
	case roundsBelow(a, 1e-3):
		return Number(v*1e6) + " µs"
	case roundsBelow(a, 1):
		return Number(v*1e3) + " ms"
	case roundsBelow(a, 120):
		return Number(v) + " s"
	case roundsBelow(a, 2*3600):
		return Number(v/60) + " min"
	case roundsBelow(a, 48*3600):
		return Number(v/3600) + " h"
	default:
		return Number(v/86400) + " d"
	}
}

// roundsBelow reports whether a stays below limit when it is written with three
// significant digits, so that 0.9999 ms reads "1 ms" and never "1000 µs".
func roundsBelow(a, limit float64) bool { return a < limit*(1-0.0005) }

// Number writes v with three significant digits (whole numbers keep all of
// theirs), thousands separated by commas: "0.512", "42", "64.1", "1,800"; "n/a" for NaN.
func Number(v float64) string {
	switch {
	case math.IsNaN(v):
		return "n/a"
	case math.IsInf(v, 1):
		return "∞"
	case math.IsInf(v, -1):
		return "-∞"
	case v == 0:
		return "0"
	}
	decimals := 2 - int(math.Floor(math.Log10(math.Abs(v))+1e-12))
	if decimals < 0 {
		decimals = 0
	}
	if decimals > 12 {
		decimals = 12
	}
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	if s == "-0" || s == "" {
		s = "0"
	}
	return group(s)
}

// group puts a comma between each three digits of the whole part of s.
func group(s string) string {
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	whole, frac := s, ""
	if i := strings.IndexByte(s, '.'); i >= 0 {
		whole, frac = s[:i], s[i:]
	}
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	return sign + whole + frac
}

// Percent writes a share as a whole percentage where that loses nothing a
// reader would act on, and never as 0 % or 100 % unless it is exactly that:
// 0.996 is "> 99 %", 0.004 is "< 1 %".
func Percent(share float64) string {
	switch {
	case math.IsNaN(share):
		return "n/a"
	case share == 0 || share == 1:
		return strconv.Itoa(int(share)*100) + " %"
	case share > 0 && share < 0.01:
		return "< 1 %"
	case share < 1 && share > 0.99:
		return "> 99 %"
	}
	return strconv.Itoa(int(math.Round(share*100))) + " %"
}
