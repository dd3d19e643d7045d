package terms

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Selector chooses models by the labels that a store knows of them; the zero
// value chooses all. Two are the same when their texts are.
type Selector struct {
	text   string
	labels []string
	match  []*regexp.Regexp // of the label at the same place
}

// With also asks for a label whose value one of the patterns matches: "*" stands
// for any text, "?" for one character.
func (s Selector) With(label string, patterns ...string) Selector {
	matcher := label + "=" + strconv.Quote(patterns[0])
	expr := regexp.QuoteMeta(patterns[0])
	if len(patterns) > 1 || strings.ContainsAny(patterns[0], "*?") {
		var any []string
		for _, p := range patterns {
			any = append(any, strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(p)))
		}
		expr = strings.Join(any, "|")
		matcher = label + "=~" + strconv.Quote(expr)
	}
	text := "{" + matcher + "}"
	if s.text != "" {
		text = strings.TrimSuffix(s.text, "}") + "," + matcher + "}"
	}
	return Selector{
		text: text, labels: append(slices.Clip(s.labels), label),
		match: append(slices.Clip(s.match), regexp.MustCompile("^(?s:"+expr+")$")),
	}
}

// String is the selector as PromQL writes it; "" for the one that chooses all.
func (s Selector) String() string { return s.text }

// Labels are the names that it looks at.
func (s Selector) Labels() []string { return s.labels }

// Matches reports whether it chooses what has these labels; one that is missing
// is as good as empty.
func (s Selector) Matches(values map[string]string) bool {
	for i, label := range s.labels {
		if !s.match[i].MatchString(values[label]) {
			return false
		}
	}
	return true
}
