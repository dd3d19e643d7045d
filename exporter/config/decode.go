package config

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/plancast/plancast/units"
)

// decoder walks the YAML tree by hand, so that every wrong value is reported with
// its place and what would be right, all of them in one go.
type decoder struct {
	file string
	errs []problem
}

// problem is an error in the file, with its place.
type problem struct {
	line, column int
	err          error
}

func (d *decoder) errorf(n *yaml.Node, key, format string, args ...any) {
	place := fmt.Sprintf("%s:%d:%d", d.file, n.Line, n.Column)
	if key != "" {
		place += ": " + key
	}
	d.errs = append(d.errs, problem{n.Line, n.Column, fmt.Errorf("%s: %s", place, fmt.Sprintf(format, args...))})
}

// err joins the problems in the order of the file.
func (d *decoder) err() error {
	slices.SortStableFunc(d.errs, func(a, b problem) int { return cmp.Or(a.line-b.line, a.column-b.column) })
	var errs []error
	for _, p := range d.errs {
		errs = append(errs, p.err)
	}
	return errors.Join(errs...)
}

// field decodes the value of one key; key is its full name, for errors.
type field func(key string, n *yaml.Node)

// mapping decodes a mapping whose keys are all known.
func (d *decoder) mapping(key string, n *yaml.Node, fields map[string]field) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.MappingNode {
		d.errorf(n, key, "must be a mapping with keys such as %s", strings.Join(sortedKeys(fields), ", "))
		return
	}
	given := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		name := k.Value
		switch f, ok := fields[name]; {
		case given[name]:
			d.errorf(k, key, "key %q is set twice", name)
		case !ok:
			d.errorf(k, key, "unknown key %q%s", name, suggestion(name, sortedKeys(fields)))
		default:
			f(join(key, name), resolve(v))
		}
		given[name] = true
	}
}

// list decodes a sequence, item by item.
func (d *decoder) list(item field) field {
	return func(key string, n *yaml.Node) {
		if isNull(n) {
			return
		}
		if n.Kind != yaml.SequenceNode {
			d.errorf(n, key, "must be a list")
			return
		}
		for i, x := range n.Content {
			item(fmt.Sprintf("%s[%d]", key, i), resolve(x))
		}
	}
}

// nonEmpty is a list of at least one item, described by what.
func (d *decoder) nonEmpty(what string, item field) field {
	return func(key string, n *yaml.Node) {
		d.list(item)(key, n)
		if isNull(n) || n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
			d.errorf(n, key, "must hold at least %s", what)
		}
	}
}

// has reports whether a mapping has the key.
func has(mapping *yaml.Node, key string) bool {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return true
		}
	}
	return false
}

// scalar hands the text of a scalar to parse and reports its error.
func (d *decoder) scalar(parse func(text string) error) field {
	return func(key string, n *yaml.Node) {
		switch {
		case isNull(n):
			d.errorf(n, key, "has no value: write one, or remove the key")
			return
		case n.Kind != yaml.ScalarNode:
			d.errorf(n, key, "must be a single value")
			return
		}
		if err := parse(n.Value); err != nil {
			d.errorf(n, key, "%v", err)
		}
	}
}

func (d *decoder) text(p *string) field {
	return d.scalar(func(s string) error { *p = s; return nil })
}

func (d *decoder) oneOf(p *string, choices ...string) field {
	return d.scalar(func(s string) error {
		if !slices.Contains(choices, s) {
			return fmt.Errorf("%q is not one of %s", s, strings.Join(choices, ", "))
		}
		*p = s
		return nil
	})
}

func (d *decoder) integer(p *int, lo, hi int) field {
	return d.scalar(func(s string) error {
		v, err := strconv.Atoi(s)
		// 010 is 8 to some readers of YAML and 10 to others.
		if err != nil || strconv.Itoa(v) != s || v < lo || v > hi {
			return fmt.Errorf("%q is not a whole number from %d to %d", s, lo, hi)
		}
		*p = v
		return nil
	})
}

func (d *decoder) quantity(p *float64, u units.Unit, lo, hi float64) field {
	return d.scalar(func(s string) error {
		v, err := units.Parse(s, u)
		if err != nil {
			return err
		}
		if v < lo || v > hi {
			return fmt.Errorf("%q must be from %s to %s", s, units.Format(lo, u), units.Format(hi, u))
		}
		*p = v
		return nil
	})
}

func (d *decoder) duration(p *time.Duration, lo, hi time.Duration) field {
	return d.scalar(func(s string) error {
		v, err := units.Parse(s, units.Seconds)
		if err != nil {
			return err
		}
		if v < lo.Seconds() || v > hi.Seconds() {
			return fmt.Errorf("%q must be from %s to %s", s, units.Format(lo.Seconds(), units.Seconds), units.Format(hi.Seconds(), units.Seconds))
		}
		*p = time.Duration(math.Round(v * 1e9))
		return nil
	})
}

func (d *decoder) bytes(p *int64, lo, hi int64) field {
	var v float64
	f := d.quantity(&v, units.Bytes, float64(lo), float64(hi))
	return func(key string, n *yaml.Node) {
		before := len(d.errs)
		if f(key, n); len(d.errs) == before {
			*p = int64(v)
		}
	}
}

func (d *decoder) integers(p *[]int, lo, hi int) field {
	return func(key string, n *yaml.Node) {
		*p = nil
		d.nonEmpty("a number", func(key string, n *yaml.Node) {
			var v int
			before := len(d.errs)
			if d.integer(&v, lo, hi)(key, n); len(d.errs) == before {
				*p = append(*p, v)
			}
		})(key, n)
	}
}

// size reads a dimension.
func (d *decoder) size(p *int64) field {
	var v int
	f := d.integer(&v, 1, 1<<30)
	return func(key string, n *yaml.Node) {
		before := len(d.errs)
		if f(key, n); len(d.errs) == before {
			*p = int64(v)
		}
	}
}

// shape reads a list of dimensions.
func (d *decoder) shape(p *[]int64) field {
	return func(key string, n *yaml.Node) {
		var v []int
		d.integers(&v, 0, 1<<30)(key, n)
		for _, x := range v {
			*p = append(*p, int64(x))
		}
	}
}

func (d *decoder) boolean(p *bool) field {
	return d.scalar(func(s string) error {
		switch s {
		case "true":
			*p = true
		case "false":
			*p = false
		default:
			return fmt.Errorf("%q is neither true nor false", s)
		}
		return nil
	})
}

// models reads one pattern of models' names or a list of them.
func (d *decoder) models(p *[]string) field { return d.patternsOf(p, checkModelPattern) }

// patterns reads one shell pattern or a list of them.
func (d *decoder) patterns(p *[]string) field { return d.patternsOf(p, checkPattern) }

func (d *decoder) patternsOf(p *[]string, check func(string) error) field {
	one := d.scalar(func(s string) error {
		*p = append(*p, s)
		return check(s)
	})
	return func(key string, n *yaml.Node) {
		*p = nil
		if n.Kind == yaml.SequenceNode {
			d.list(one)(key, n)
			return
		}
		one(key, n)
	}
}

func checkPattern(s string) error {
	if _, err := path.Match(s, ""); err != nil || s == "" {
		return fmt.Errorf("%q is not a pattern: write a model's name, or one such as \"resnet*\"", s)
	}
	return nil
}

// checkModelPattern also refuses what no model's name can match.
func checkModelPattern(s string) error {
	if list := strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' }); len(list) > 1 && strings.Contains(s, ",") {
		return fmt.Errorf("%q is one pattern, and no model's name holds a comma: write a list, [%s]", s, strings.Join(list, ", "))
	}
	return checkPattern(s)
}

func resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == 0 || n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}

func sortedKeys(m map[string]field) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// suggestion names the nearest known key, or else all of them.
func suggestion(name string, known []string) string {
	best, distance := "", 3
	for _, k := range known {
		if x := editDistance(name, k); x < distance {
			best, distance = k, x
		}
	}
	if best != "" {
		return fmt.Sprintf(": did you mean %q?", best)
	}
	return ": known are " + strings.Join(known, ", ")
}

// editDistance is Levenshtein's: how many insertions, deletions and
// replacements turn a into b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}

// each decodes a mapping whose keys are free.
func (d *decoder) each(key string, n *yaml.Node, item func(name, key string, n *yaml.Node)) {
	fields := map[string]field{}
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			name := n.Content[i].Value
			fields[name] = func(key string, n *yaml.Node) { item(name, key, n) }
		}
	}
	d.mapping(key, n, fields)
}

// named is a list whose items have names, no two alike.
func (d *decoder) named(list field) field {
	return func(key string, n *yaml.Node) {
		list(key, n)
		given := map[string]bool{}
		for i, x := range n.Content {
			name, ok := nameOf(resolve(x))
			if ok && given[name] {
				d.errorf(x, fmt.Sprintf("%s[%d]", key, i), "the name %q is taken by an earlier one: rename one of them", name)
			}
			given[name] = true
		}
	}
}

// nameOf is the name that a mapping holds.
func nameOf(n *yaml.Node) (name string, ok bool) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == "name" {
			return n.Content[i+1].Value, true
		}
	}
	return "", false
}

func names[T any](list []T, name func(T) string) []string {
	out := make([]string, len(list))
	for i, x := range list {
		out[i] = name(x)
	}
	return out
}

// labelValue reports whether s reads well as a label value everywhere.
func labelValue(s string) bool {
	if s == "" || len(s) > 100 || strings.TrimSpace(s) != s {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_. ", r))
	})
}
