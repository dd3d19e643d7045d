package outside

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Terminal is a writer to w that a terminal takes no command from: of control
// characters, those that turn the direction of text included, only the tab and the
// end of a line pass. The others are written as JSON writes them, \u001b, so that
// JSON keeps its meaning. It is safe for concurrent use.
func Terminal(w io.Writer) io.Writer { return &terminal{w: w} }

type terminal struct {
	w    io.Writer
	mu   sync.Mutex
	rest []byte // the beginning of a character
}

// Write writes p, and keeps a character that p holds the beginning of for the next
// time.
func (t *terminal) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := p
	if len(t.rest) > 0 {
		text = append(t.rest, p...)
	}
	whole := len(text) - unfinished(text)
	t.rest = bytes.Clone(text[whole:])
	if _, err := t.w.Write(visible(text[:whole])); err != nil {
		return 0, err
	}
	return len(p), nil
}

// unfinished is how many bytes at the end of b begin a character that goes on.
func unfinished(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if tail := b[len(b)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}

// visible is b with every command to a terminal spelled out.
func visible(b []byte) []byte {
	var out []byte // once there is a difference
	done := 0
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		if command(r, size) {
			out = spell(append(out, b[done:i]...), r, b[i])
			done = i + size
		}
		i += size
	}
	if out == nil {
		return b
	}
	return append(out, b[done:]...)
}

// command reports whether a terminal could obey the character; a byte that is no
// UTF-8 is a control character to some.
func command(r rune, size int) bool {
	if r >= ' ' && r < 0x7f || r == '\n' || r == '\t' {
		return false
	}
	return r == utf8.RuneError && size == 1 || unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
}

func spell(out []byte, r rune, b byte) []byte {
	if r == utf8.RuneError {
		return fmt.Appendf(out, `\x%02x`, b)
	}
	return fmt.Appendf(out, `\u%04x`, r)
}
