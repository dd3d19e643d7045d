package notify

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// causes are what commonly goes wrong, by a piece of the error's text: the
// library hands on text, not errors. The first that fits counts.
var causes = []struct{ contains, reason string }{
	{"no such host", "DNS does not know its host name"},
	{"server misbehaving", "its host name could not be looked up: DNS does not answer"},
	{"temporary failure in name resolution", "its host name could not be looked up: DNS does not answer"},
	{"connection refused", "the connection was refused: nothing listens there"},
	{"no route to host", "there is no route to its host"},
	{"network is unreachable", "its network cannot be reached"},
	{"connection reset", "the connection was reset"},
	{"deadline exceeded", "no answer in time"},
	{"client.timeout", "no answer in time"},
	{"i/o timeout", "no answer in time"},
	{"x509: ", "its certificate is not trusted"},
	{"tls: ", "the TLS handshake failed"},
	{"server gave http response to https client", "it speaks HTTP and not HTTPS: for a plain webhook write generic+http:// or add disabletls=yes"},
	{"unexpected eof", "the connection was closed without an answer"},
	{": eof", "the connection was closed without an answer"},
}

var (
	statusCode = regexp.MustCompile(`(?i)\b(?:status|code)[^0-9]{0,12}([45][0-9][0-9])\b|\b([45][0-9][0-9]) [A-Z]`)
	anyURL     = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://\S*|\S*%[0-9A-Fa-f]{2}\S*`)
)

const hidden = "•••"

// reason says in plancast's own words why a message was not taken; where it
// has none, it repeats the library's without whatever could come from the
// receiver's URL.
func reason(text, raw string) string {
	text = redact(text, raw)
	lower := strings.ToLower(text)
	for _, c := range causes {
		if strings.Contains(lower, c.contains) {
			return c.reason
		}
	}
	if m := statusCode.FindStringSubmatch(text); m != nil {
		code, _ := strconv.Atoi(m[1] + m[2])
		if name := http.StatusText(code); name != "" {
			s := fmt.Sprintf("the server answered %d %s", code, name)
			switch code {
			case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone:
				s += ": its URL or token is invalid or has expired"
			}
			return s
		}
	}
	return text
}

// redact takes out of text every URL and every part of raw, however written.
func redact(text, raw string) string {
	text = anyURL.ReplaceAllString(strings.ToValidUTF8(text, "\uFFFD"), hidden)
	for _, p := range parts(raw) {
		text = regexp.MustCompile(`(?i)`+regexp.QuoteMeta(p)).ReplaceAllLiteralString(text, hidden)
	}
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text))
	if runes := []rune(text); len(runes) > 300 {
		text = string(runes[:300]) + "…"
	}
	return text
}

// parts are the pieces of a URL that somebody could recognize it by, longest
// first: whole, as written and unescaped, and the words they are made of.
func parts(raw string) []string {
	var out []string
	add := func(s string) {
		for _, s := range []string{s, unescaped(s)} {
			s = strings.ToValidUTF8(s, "\uFFFD") // as redact has it
			if len(s) >= 3 {
				out = append(out, s)
			}
			for _, w := range strings.FieldsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
				if len(w) >= 5 {
					out = append(out, w)
				}
			}
		}
	}
	add(raw)
	scheme, rest, ok := strings.Cut(raw, ":")
	if !ok {
		rest = raw
	}
	for _, s := range strings.FieldsFunc(rest, func(r rune) bool { return strings.ContainsRune("/?&=#@:,;", r) }) {
		add(s)
	}
	// The scheme says what the service is; it may be shown, and so may words
	// that an explanation needs.
	services, transport, _ := strings.Cut(scheme, "+")
	out = slices.DeleteFunc(out, func(s string) bool { return s == services || s == transport || s == "webhook" })
	slices.SortFunc(out, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	return slices.Compact(out)
}

func unescaped(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}
