package prom

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"
)

// errSyntax is JSON that is not what the API answers.
var errSyntax = errors.New("it is not an answer of a Prometheus API")

// maxDepth bounds how deep values that are skipped are nested.
const maxDepth = 100

// scanner reads JSON from a stream, one value after the other. It holds one
// text at a time, of a stated length at most: encoding/json and its like hold
// the value they are reading, however long it is.
type scanner struct {
	r   *bufio.Reader
	buf []byte
}

func (s *scanner) reset(r io.Reader) { s.r = bufio.NewReaderSize(r, 32<<10) }

// peek is the next byte that is no space; it is not consumed.
func (s *scanner) peek() (byte, error) {
	for {
		c, err := s.r.ReadByte()
		if err != nil {
			return 0, ended(err)
		}
		switch c {
		case ' ', '\t', '\n', '\r':
		default:
			return c, s.r.UnreadByte()
		}
	}
}

// ended is the error of an answer that ends too early.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return errSyntax
	}
	return err
}

// next consumes the next byte that is no space.
func (s *scanner) next() (byte, error) {
	c, err := s.peek()
	if err == nil {
		_, err = s.r.Discard(1)
	}
	return c, err
}

func (s *scanner) expect(want byte) error {
	c, err := s.next()
	if err == nil && c != want {
		err = errSyntax
	}
	return err
}

// object reads an object, or null; f reads the value of each key.
func (s *scanner) object(f func(key string) error) error {
	return s.list('{', '}', func() error {
		key, err := s.text(maxText)
		if err != nil {
			return err
		}
		if err := s.expect(':'); err != nil {
			return err
		}
		return f(key)
	})
}

// array reads an array, or null; f reads each element.
func (s *scanner) array(f func() error) error { return s.list('[', ']', f) }

func (s *scanner) list(open, end byte, f func() error) error {
	c, err := s.peek()
	if err == nil && c == 'n' {
		return s.word("null")
	}
	if err := s.expect(open); err != nil {
		return err
	}
	c, err = s.peek()
	if err != nil {
		return err
	}
	if c == end {
		return s.expect(end)
	}
	for {
		if err := f(); err != nil {
			return err
		}
		c, err := s.next()
		switch {
		case err != nil:
			return err
		case c == end:
			return nil
		case c != ',':
			return errSyntax
		}
	}
}

// text reads a string of at most limit bytes as they are written.
func (s *scanner) text(limit int) (string, error) {
	b, err := s.quoted(limit)
	return string(b), err
}

// quoted is text whose bytes hold until more is read.
func (s *scanner) quoted(limit int) ([]byte, error) {
	if err := s.expect('"'); err != nil {
		return nil, err
	}
	plain := true
	s.buf = append(s.buf[:0], '"')
	for {
		c, err := s.r.ReadByte()
		if err != nil {
			return nil, ended(err)
		}
		if len(s.buf) > limit {
			return nil, errMemory
		}
		s.buf = append(s.buf, c)
		switch {
		case c == '"':
			if b := s.buf[1 : len(s.buf)-1]; plain && utf8.Valid(b) {
				return b, nil
			}
			var out string
			if json.Unmarshal(s.buf, &out) != nil {
				return nil, errSyntax
			}
			return []byte(out), nil
		case c == '\\':
			plain = false
			if c, err = s.r.ReadByte(); err != nil {
				return nil, ended(err)
			}
			s.buf = append(s.buf, c)
		case c < ' ':
			return nil, errSyntax
		}
	}
}

// isTrue reads whatever comes, and reports whether it is true.
func (s *scanner) isTrue() (bool, error) {
	c, err := s.peek()
	if err != nil {
		return false, err
	}
	return c == 't', s.skip()
}

// scalar reads a string, or a number as it is written. Its bytes hold until more is
// read: an answer has millions.
func (s *scanner) scalar(limit int) ([]byte, error) {
	c, err := s.peek()
	if err != nil {
		return nil, err
	}
	if c == '"' {
		return s.quoted(limit)
	}
	s.buf = s.buf[:0]
	for {
		c, err := s.r.ReadByte()
		if err != nil {
			return nil, ended(err)
		}
		switch {
		case c >= '0' && c <= '9', c == '-', c == '+', c == '.', c == 'e', c == 'E':
			if len(s.buf) >= limit {
				return nil, errSyntax
			}
			s.buf = append(s.buf, c)
		case !json.Valid(s.buf):
			return nil, errSyntax
		default:
			return s.buf, s.r.UnreadByte()
		}
	}
}

// skip reads over a value.
func (s *scanner) skip() error { return s.over(0) }

func (s *scanner) over(depth int) error {
	if depth > maxDepth {
		return errSyntax
	}
	c, err := s.peek()
	if err != nil {
		return err
	}
	switch c {
	case '{':
		return s.object(func(string) error { return s.over(depth + 1) })
	case '[':
		return s.array(func() error { return s.over(depth + 1) })
	case '"':
		return s.overText()
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	_, err = s.scalar(1000)
	return err
}

func (s *scanner) overText() error {
	if err := s.expect('"'); err != nil {
		return err
	}
	for {
		c, err := s.r.ReadByte()
		switch {
		case err != nil:
			return ended(err)
		case c == '"':
			return nil
		case c == '\\':
			if _, err := s.r.Discard(1); err != nil {
				return ended(err)
			}
		}
	}
}

func (s *scanner) word(w string) error {
	for i := range len(w) {
		c, err := s.r.ReadByte()
		if err != nil {
			return ended(err)
		}
		if c != w[i] {
			return errSyntax
		}
	}
	return nil
}
