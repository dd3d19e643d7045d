// Package outside makes text that came from outside harmless for the medium that
// it goes to: names and figures of models, messages of runtimes, answers of
// servers. There is one function for each medium, and everything that plancast
// shows goes through one of them; HTML has its own escaping (html/template).
package outside

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line is s on one line, for every medium: white space and control characters
// become single spaces, characters that show nothing or turn the direction of text
// are left out, and invalid UTF-8 is replaced. It is cut after limit characters; 0
// is no limit.
func Line(s string, limit int) string {
	var b strings.Builder
	n, space := 0, false
	for _, r := range s { // invalid UTF-8 comes as U+FFFD
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			space = true
			continue
		case unicode.Is(unicode.Cf, r):
			continue
		}
		if limit > 0 && n >= limit {
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

// Label is s as the value of a label of a metric: a Line of at most size bytes.
func Label(s string, size int) string {
	s = Line(s, size)
	for len(s) > size {
		_, last := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-last]
	}
	return s
}

// formula is what a spreadsheet takes for the beginning of a formula.
const formula = "=+-@＝＋－＠"

// Cell is s as a cell of a CSV file: a Line that no spreadsheet takes for a
// formula. An apostrophe, which FromCell takes away again, stands before one.
func Cell(s string) string {
	s = Line(s, 0)
	if marked(s) {
		return "'" + s
	}
	return s
}

// FromCell is the text that Cell made a cell of.
func FromCell(s string) string {
	if text, ok := strings.CutPrefix(s, "'"); ok && marked(text) {
		return text
	}
	return s
}

// marked reports whether the cell of a text begins with an apostrophe of its own.
func marked(s string) bool { return strings.IndexAny(s, formula+"'") == 0 }
