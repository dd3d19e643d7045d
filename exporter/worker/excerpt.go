package worker

import (
	"fmt"
	"strings"
	"sync"
)

const (
	headLines = 12  // of the child's output that are kept from its beginning
	tailLines = 28  // and from its end
	lineBytes = 500 // of each
)

func clip(s string, n int) string {
	if len(s) > n {
		s = s[:n] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}

// excerpt keeps the first and the last lines written to it: a Go program that
// dies in native code names the signal first, and dumps its stacks after that.
type excerpt struct {
	mu      sync.Mutex
	head    []string
	tail    []string
	dropped int
	part    []byte
}

func (x *excerpt) Write(p []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, b := range p {
		switch {
		case b == '\n':
			x.push()
		case len(x.part) < lineBytes:
			x.part = append(x.part, b)
		}
	}
	return len(p), nil
}

func (x *excerpt) push() {
	line := strings.ToValidUTF8(string(x.part), "?")
	x.part = x.part[:0]
	if len(x.head) < headLines {
		x.head = append(x.head, line)
		return
	}
	if x.tail = append(x.tail, line); len(x.tail) > tailLines {
		x.tail = append(x.tail[:0], x.tail[1:]...)
		x.dropped++
	}
}

func (x *excerpt) clear() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.head, x.tail, x.part, x.dropped = nil, nil, nil, 0
}

func (x *excerpt) lines() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.part) > 0 {
		x.push()
	}
	out := append([]string(nil), x.head...)
	if x.dropped > 0 {
		out = append(out, fmt.Sprintf("… %d lines omitted …", x.dropped))
	}
	return append(out, x.tail...)
}

// cause is the line in which a runtime says why it gave up, or "".
func cause(log []string) string {
	for _, line := range log {
		for _, sign := range []string{"SIG", "fatal error:", "panic:", "terminate called"} {
			if strings.HasPrefix(line, sign) {
				return line
			}
		}
	}
	return ""
}
