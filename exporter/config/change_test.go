package config

import (
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/change"
)

func TestAChangeIsReadStrictly(t *testing.T) {
	c, err := ParseChange("change.yml", []byte(`
commit: 0123456789abcdef0123456789abcdef01234567
author: Ann
kinds: [quantization, batch]
link: https://example.org/pull/7
tags: {ticket: ML-12}
`))
	want := change.Change{Commit: "0123456789abcdef0123456789abcdef01234567", Author: "Ann", Link: "https://example.org/pull/7",
		Kinds: []change.Kind{change.Quantization, change.Batch}, Tags: map[string]string{"ticket": "ML-12"}}
	if err != nil || !c.Equal(want) {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := ParseChange("change.yml", nil); err != nil || !c.Empty() {
		t.Errorf("an empty file: %+v, %v", c, err)
	}
	for text, wanted := range map[string][]string{
		"author: Ann\nbranche: main":               {`change.yml:2:1: unknown key "branche": did you mean "branch"?`},
		"kinds: [quantization, magic]":             {`change.yml:1:23: kinds[1]: "magic" is not a kind of change`},
		"kinds: fusion, pruning":                   nil,
		"author: [a]\ntags: {token: x, b: [1]}":    {"change.yml:1:9: author: must be a single value", "change.yml:2:15: tags.token: looks like a secret", "change.yml:2:21: tags.b: must be a single value"},
		"author:":                                  {"author: has no value"},
		"- a":                                      {"must be a mapping"},
		"a: b: c":                                  {"change.yml: not YAML"},
		"author: a\n---\nauthor: b":                {"more than one YAML document"},
		"x: &a [b]\nkinds: *a\nauthor: Ann\nx: *a": {`unknown key "x"`, `"b" is not a kind`, "set twice"},
	} {
		_, err := ParseChange("change.yml", []byte(text))
		if (err == nil) != (wanted == nil) {
			t.Errorf("%q: %v", text, err)
		}
		for _, w := range wanted {
			if err != nil && !strings.Contains(err.Error(), w) {
				t.Errorf("%q: %v; want %q", text, err, w)
			}
		}
	}
}

func FuzzParseChange(f *testing.F) {
	f.Add([]byte("author: a\ntags: {b: c}\nkinds: [fusion]"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) > change.MaxFile {
			return
		}
		_, _ = ParseChange("change.yml", text)
	})
}
