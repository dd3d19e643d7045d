package outside

import (
	"strings"
	"unicode"
)

// gap parts what a chat service would join into a mention or a link; nobody sees it.
const gap = '\u200b'

// lookalike stands in for a character that is markup to a chat service. No escape
// means the same to all of them.
var lookalike = map[rune]rune{'*': '∗', '`': '\'', '~': '∼', '|': '¦'}

// Message is a line of text for a chat service or an e-mail, whatever markup the
// service knows: nobody is mentioned, nothing becomes a link, an image, a quote, a
// heading, code or emphasis, and no HTML is left.
func Message(s string) string {
	var b strings.Builder
	text := []rune(s)
	at := func(i int) rune {
		if i < 0 || i >= len(text) {
			return ' '
		}
		return text[i]
	}
	for i, r := range text {
		before, after := at(i-1), at(i+1)
		switch {
		case lookalike[r] != 0:
			r = lookalike[r]
		case r == '_' && (!word(before) || !word(after)):
			r = '＿' // within a word it is no markup; no letter, with which a mention or a name could begin
		case r == '<' && !unicode.IsSpace(after) && (after < '0' || after > '9') && after != '=':
			r = '‹' // of a tag or a mention; "p99 < 50ms" stays
		case r == '#' && strings.TrimSpace(string(text[:i])) == "":
			r = '＃'
		case r == '>' && strings.TrimSpace(string(text[:i])) == "":
			r = '›'
		}
		b.WriteRune(r)
		if joins(text[:i], r, after) {
			b.WriteRune(gap)
		}
	}
	return b.String()
}

// joins reports whether r, before which is what is given, begins a mention or a
// link together with the character after it.
func joins(before []rune, r, after rune) bool {
	switch r {
	case '@', '#':
		return word(after)
	case '!':
		return after == '['
	case ']':
		return strings.ContainsRune("([:", after)
	case ':':
		return after == '/' || unicode.IsLetter(after) // of a URL or a picture's name
	case '.':
		return unicode.IsLetter(after) && len(before) > 0 && word(before[len(before)-1]) // of a host's name
	}
	return false
}

func word(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// Markdown is s as running text or a table's cell of GitHub's or GitLab's Markdown.
func Markdown(s string) string {
	var b strings.Builder
	runes := []rune(s)
	for i, r := range runes {
		switch {
		case strings.ContainsRune("\\`*_[]|~#!$", r):
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '<':
			b.WriteString("&lt;")
		case r == '>':
			b.WriteString("&gt;")
		case r == '&':
			b.WriteString("&amp;")
		case r == '@' && i+1 < len(runes) && word(runes[i+1]):
			b.WriteRune(r)
			b.WriteRune(gap) // nobody is called; below, a bare address is no link
		default:
			b.WriteRune(r)
		}
	}
	return strings.NewReplacer("://", ":\u200b//", "www.", "www\u200b.").Replace(b.String())
}

// Code is s as a code span of Markdown, fenced by more backticks than s holds in a
// row.
func Code(s string) string {
	longest := 0
	for run := range strings.FieldsFuncSeq(s, func(r rune) bool { return r != '`' }) {
		longest = max(longest, len(run))
	}
	fence := strings.Repeat("`", longest+1)
	if strings.HasPrefix(s, "`") || strings.HasSuffix(s, "`") {
		s = " " + s + " "
	}
	return fence + s + fence
}
