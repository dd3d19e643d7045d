// Package change says what a candidate's change was: who made it, where it can
// be read, and what kind of optimization it is. It is information about a
// candidate and never part of its identity. It is pure.
package change

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/plancast/plancast/terms"
)

// Change is what is known of the change that led to a candidate. Every text is
// one line, and none of them holds a secret.
type Change struct {
	Commit string `json:"commit,omitempty"`
	Branch string `json:"branch,omitempty"`
	Author string `json:"author,omitempty"`
	// Link is where the change can be read, such as a pull request: an http or
	// https URL without credentials.
	Link string `json:"link,omitempty"`
	// Kinds are what was done, in the order of Kinds, each at most once.
	Kinds []Kind `json:"kinds,omitempty"`
	// Time is when the change was made; zero when that is not known.
	Time time.Time         `json:"time,omitzero"`
	Tags map[string]string `json:"tags,omitempty"`
}

// Kind is what was done, most often a kind of optimization.
type Kind string

// The kinds.
const (
	Quantization   Kind = "quantization"
	Pruning        Kind = "pruning"
	Fusion         Kind = "fusion"
	Distillation   Kind = "distillation"
	Kernel         Kind = "kernel"
	Batch          Kind = "batch"
	RuntimeUpgrade Kind = "runtime_upgrade"
	// Training is new weights: no optimization, but what later versions may be
	// compared with.
	Training Kind = "training"
)

// Kinds are all kinds.
var Kinds = []Kind{Quantization, Pruning, Fusion, Distillation, Kernel, Batch, RuntimeUpgrade, Training}

// Optimizes reports whether the kind is meant to make a model cheaper to run.
func (k Kind) Optimizes() bool { return k != Training }

// Title is the kind as people read it.
func (k Kind) Title() string { return strings.ReplaceAll(string(k), "_", " ") }

// The bounds of a change.
const (
	MaxFile = 16 << 10 // bytes of the file that says it
	maxText = 200      // characters of a text
	maxLink = 1000     // characters of a link
	maxTags = 20
)

// Keys are the keys of a change that Set takes, beside those of tags.
var Keys = []string{"author", "branch", "commit", "kinds", "link", "time"}

// FromTags is a change from free tags, as --meta and the tags of a source give
// them: those that Keys names are its fields, the others its Tags.
func FromTags(tags map[string]string) (Change, error) {
	var c Change
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		set := c.SetTag
		if slices.Contains(Keys, key) {
			set = c.Set
		}
		if err := set(key, tags[key]); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", key, err))
		}
	}
	return c, errors.Join(errs...)
}

// Set sets one of Keys. Several kinds are given with commas between them.
func (c *Change) Set(key, value string) (err error) {
	switch key {
	case "commit":
		c.Commit, err = text(value)
	case "branch":
		c.Branch, err = text(value)
	case "author":
		c.Author, err = text(value)
	case "link":
		c.Link, err = link(value)
	case "time":
		c.Time, err = parseTime(value)
	case "kinds":
		for name := range strings.SplitSeq(value, ",") {
			if err := c.addKind(strings.TrimSpace(name)); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("unknown key: use one of %s", strings.Join(Keys, ", "))
	}
	return err
}

// addKind adds a kind by its name.
func (c *Change) addKind(name string) error {
	k := Kind(name)
	if !slices.Contains(Kinds, k) {
		names := make([]string, len(Kinds))
		for i, k := range Kinds {
			names[i] = string(k)
		}
		return fmt.Errorf("%q is not a kind of change: the kinds are %s; anything else goes into tags", shown(name), strings.Join(names, ", "))
	}
	kinds := append(slices.Clone(c.Kinds), k)
	c.Kinds = slices.DeleteFunc(slices.Clone(Kinds), func(k Kind) bool { return !slices.Contains(kinds, k) })
	return nil
}

var tagName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,49}$`)

// SetTag sets a free tag.
func (c *Change) SetTag(name, value string) error {
	switch {
	case !tagName.MatchString(name):
		return errors.New(`cannot be a tag's name: use up to 50 letters, digits, "-", "_" and "."`)
	case secret(name):
		return errors.New("looks like a secret, and everybody can read a change: remove it")
	}
	value, err := text(value)
	if err != nil {
		return err
	}
	tags := maps.Clone(c.Tags)
	if tags == nil {
		tags = map[string]string{}
	}
	if tags[name] = value; len(tags) > maxTags {
		return fmt.Errorf("there are more than %d tags", maxTags)
	}
	c.Tags = tags
	return nil
}

// Empty reports whether nothing is known.
func (c Change) Empty() bool { return c.Equal(Change{}) }

// Equal reports whether both say the same.
func (c Change) Equal(o Change) bool {
	return c.Commit == o.Commit && c.Branch == o.Branch && c.Author == o.Author && c.Link == o.Link && c.Time.Equal(o.Time) &&
		slices.Equal(c.Kinds, o.Kinds) && maps.Equal(c.Tags, o.Tags)
}

// Over is the change with what it does not say taken from below.
func (c Change) Over(below Change) Change {
	for _, x := range []struct{ own, other *string }{
		{&c.Commit, &below.Commit}, {&c.Branch, &below.Branch}, {&c.Author, &below.Author}, {&c.Link, &below.Link},
	} {
		if *x.own == "" {
			*x.own = *x.other
		}
	}
	if len(c.Kinds) == 0 {
		c.Kinds = below.Kinds
	}
	if c.Time.IsZero() {
		c.Time = below.Time
	}
	if len(below.Tags) > 0 {
		tags := maps.Clone(below.Tags)
		maps.Copy(tags, c.Tags)
		c.Tags = tags
	}
	return c
}

// Text is the change in one line without its link: "quantization, pruning by ann
// (commit 1a2b3c4 on int8)"; "" when nothing is known.
func (c Change) Text() string { return terms.ChangeText(c.KindsText(), c.Author, c.Commit, c.Branch) }

// KindsText are the kinds as people read them, with commas between them.
func (c Change) KindsText() string {
	titles := make([]string, len(c.Kinds))
	for i, k := range c.Kinds {
		titles[i] = k.Title()
	}
	return strings.Join(titles, ", ")
}

// text checks one line of text. Credentials in URLs are taken out.
func text(s string) (string, error) {
	s, err := line(s, maxText)
	return userinfo.ReplaceAllString(s, "$1"), err
}

// line checks one line of up to most characters.
func line(s string, most int) (string, error) {
	s = strings.TrimSpace(s)
	switch {
	case !utf8.ValidString(s):
		return "", errors.New("is not UTF-8")
	case len([]rune(s)) > most:
		return "", fmt.Errorf("is longer than %d characters", most)
	case strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029'
	}):
		return "", errors.New("must be one line of text without control characters")
	case token.MatchString(s):
		return "", errors.New("looks like a secret, and everybody can read a change: remove it")
	}
	return s, nil
}

var (
	userinfo = regexp.MustCompile(`([A-Za-z][A-Za-z0-9+.-]*://)[^\s/]*@`)
	// token is how well-known services begin their tokens, and private keys.
	token = regexp.MustCompile(`\b(gh[pousr]_[A-Za-z0-9]{20}|github_pat_|glpat-|xox[abprs]-|AKIA[0-9A-Z]{16}|eyJ[A-Za-z0-9_-]{10,}\.eyJ)|-----BEGIN`)
	// secretWord is a word that names a secret.
	secretWord = regexp.MustCompile(`(?i)token|secret|passw|pwd|credential|api[-_]?key|private[-_]?key|access[-_]?key|^key$|^sig$|signature|authorization|^auth$`)
)

func secret(name string) bool { return secretWord.MatchString(name) }

// link checks a link, and takes out of it what may be a secret: user and
// password, and parameters that are named like one.
func link(s string) (string, error) {
	const wanted = "is not a link: write an address such as https://example.org/pull/7"
	s, err := line(s, maxLink)
	if err != nil {
		return "", err
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || unreadable(u.Host) {
		return "", errors.New(wanted) // without the text, which may hold a password
	}
	u.User = nil
	u.RawQuery = withoutSecrets(u.RawQuery)
	if secret(u.Fragment) {
		u.Fragment, u.RawFragment = "", ""
	}
	return encoded(u.String()), nil
}

// unreadable reports whether a host, decoded, holds a character that only an
// encoded host can: no name of a host does, and it would not be read again.
func unreadable(host string) bool { return encoded(host) != host || strings.Contains(host, "%") }

// encoded writes what no URL may hold as it is, such as spaces and brackets, as %20.
func encoded(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("<>\"\\^`{|}", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// withoutSecrets leaves parameters out of a query that are named like a secret,
// and all of a query that cannot be read.
func withoutSecrets(query string) string {
	var kept []string
	for part := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(part, "=")
		name, err := url.QueryUnescape(name)
		if err != nil || strings.Contains(part, ";") {
			return ""
		}
		if part != "" && !secret(name) {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, "&")
}

func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil && t.Year() >= 1970 && t.Year() < 2200 {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time: write 2026-11-27 or 2026-11-27T18:00:00Z", shown(s))
}

// shown is a text from outside, short enough for an error.
func shown(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return s
}
