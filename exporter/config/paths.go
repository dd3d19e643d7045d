package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// path reads a path.
func (d *decoder) path(p *string) field {
	return d.scalar(func(s string) error {
		*p = s
		return checkPath(s)
	})
}

var variableReference = regexp.MustCompile(`\$(\{|[A-Za-z_])`)

// checkPath refuses what only a shell expands: nobody wants a folder that is
// called "~" or "${HOME}".
func checkPath(s string) error {
	switch {
	case strings.TrimSpace(s) == "":
		return errors.New("must be a path: it is empty")
	case strings.HasPrefix(s, "~"):
		return fmt.Errorf("%q begins with ~, which only a shell expands: write an absolute path, or one relative to this file", s)
	case variableReference.MatchString(s):
		return fmt.Errorf("%q holds a variable, which only a shell expands: write an absolute path, or one relative to this file", s)
	}
	return nil
}
