package report

import (
	"cmp"
	"math"
	"strings"
	"time"
	"unicode"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/outside"
)

func and(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

func upperFirst(s string) string {
	for i, r := range s {
		return string(unicode.ToUpper(r)) + s[i+len(string(r)):]
	}
	return s
}

// kindTitle is a failure kind in words.
func kindTitle(k engine.Kind) string { return cmp.Or(k.Title(), outside.Line(string(k), 60)) }

// num is a pointer to x, or nil when x is no number that can be shown.
func num(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

func numOf(p *float64) *float64 {
	if p == nil {
		return nil
	}
	return num(*p)
}

func age(now, then time.Time) float64 { return now.Sub(then).Seconds() }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
