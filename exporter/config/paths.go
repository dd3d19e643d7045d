package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// path reads a path, with ~ and ${NAME} in the place of what they stand for.
func (d *decoder) path(p *string) field {
	return d.scalar(func(s string) error {
		x, err := expandPath(s)
		if err == nil {
			*p = x
		}
		return err
	})
}

var reference = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// expandPath replaces a leading ~ by the home folder and ${NAME} by an
// environment variable. A shell is not there to do it, and a folder called "~"
// is nobody's wish.
func expandPath(s string) (string, error) {
	var missing []string
	out := reference.ReplaceAllStringFunc(s, func(ref string) string {
		name := ref[2 : len(ref)-1]
		value := os.Getenv(name)
		if value == "" {
			missing = append(missing, name)
		}
		return value
	})
	switch {
	case strings.TrimSpace(s) == "":
		return "", errors.New("must be a path: it is empty")
	case len(missing) > 0:
		return "", fmt.Errorf("%q needs the environment variable %s, which is not set", s, strings.Join(missing, ", "))
	case strings.Contains(reference.ReplaceAllString(s, ""), "$"):
		return "", fmt.Errorf("%q holds a $ that plancast does not expand: write ${NAME} for an environment variable", s)
	case out == "~" || strings.HasPrefix(out, "~/"):
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("%q needs a home folder: %w", s, err)
		}
		return filepath.Join(home, strings.TrimPrefix(out, "~")), nil
	case strings.HasPrefix(out, "~"):
		return "", fmt.Errorf("%q names another user's home folder, which plancast does not look up: write the path in full", s)
	}
	return out, nil
}
