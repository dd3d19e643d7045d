package report

import (
	"cmp"
	"math"
	"strings"
	"time"
	"unicode"

	"github.com/plancast/plancast/exporter/engine"
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
func kindTitle(k engine.Kind) string { return cmp.Or(k.Title(), oneLine(string(k), 60)) }

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

// oneLine makes outside text safe to show anywhere: control characters and
// runs of white space become one space, invalid UTF-8 is replaced, characters
// that change the direction of text are dropped, and it is cut after limit
// characters.
func oneLine(s string, limit int) string {
	var b strings.Builder
	n, space := 0, false
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			space = true
			continue
		case unicode.Is(unicode.Bidi_Control, r) || unicode.Is(unicode.Cf, r):
			continue
		}
		if n >= limit {
			b.WriteString("…")
			return b.String()
		}
		if space && n > 0 {
			b.WriteByte(' ')
			n++
		}
		space = false
		b.WriteRune(r)
		n++
	}
	return b.String()
}
