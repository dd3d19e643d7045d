package change_test

import (
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/change"
)

func TestTagsBecomeAChange(t *testing.T) {
	got, err := change.FromTags(map[string]string{
		"commit": "1a2b", "branch": " int8 ", "author": "Ann O'Hara", "link": "https://example.org/pull/7", "kinds": "pruning, quantization,pruning",
		"time": "2026-11-27", "ticket": "ML-12",
	})
	want := change.Change{
		Commit: "1a2b", Branch: "int8", Author: "Ann O'Hara", Link: "https://example.org/pull/7", Kinds: []change.Kind{change.Quantization, change.Pruning},
		Time: time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC), Tags: map[string]string{"ticket": "ML-12"},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	if !got.Equal(want) || got.Equal(change.Change{}) || got.Empty() || !(change.Change{}).Empty() {
		t.Error("what is equal is not, or the other way round")
	}
}

func TestWhatCannotBeAChangeSaysWhy(t *testing.T) {
	many := map[string]string{}
	for i := range 21 {
		many[strings.Repeat("t", i+1)] = "x"
	}
	for _, c := range []struct {
		tags map[string]string
		want string
	}{
		{map[string]string{"kinds": "quantisation"}, "is not a kind of change: the kinds are quantization, "},
		{map[string]string{"time": "yesterday"}, "write 2026-11-27"},
		{map[string]string{"link": "pull/7"}, "link: is not a link"},
		{map[string]string{"link": "javascript:alert(1)"}, "is not a link"},
		{map[string]string{"link": "https://0%220/pull/7"}, "is not a link"},
		{map[string]string{"link": "https://a%2fb/pull/7"}, "is not a link"},
		{map[string]string{"link": "https://example.org/" + strings.Repeat("x", 2000)}, "longer than 1000"},
		{map[string]string{"author": strings.Repeat("x", 201)}, "author: is longer than 200"},
		{map[string]string{"branch": "a\x1b[31m"}, "control characters"},
		{map[string]string{"branch": "a\u202eb"}, "control characters"},
		{map[string]string{"branch": "a\xff"}, "not UTF-8"},
		{map[string]string{"a b": "x"}, "a b: cannot be a tag's name"},
		{map[string]string{"api_key": "x"}, "api_key: looks like a secret"},
		{map[string]string{"note": "ghp_" + strings.Repeat("a", 36)}, "note: looks like a secret"},
		{many, "more than 20 tags"},
	} {
		_, err := change.FromTags(c.tags)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v; want %q", c.tags, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "aaaa") {
			t.Errorf("the error repeats the secret: %v", err)
		}
	}
}

// No secret that stands in a link or in another URL is kept, however it is written.
func TestCredentialsAreTakenOut(t *testing.T) {
	const word = "hunter2"
	for _, tags := range []map[string]string{
		{"link": "https://ann:hunter2@example.org/pull/7"},
		{"link": "https://hunter2@example.org/pull/7"},
		{"link": "https://ann:p@hunter2@example.org/pull/7"},
		{"link": "https://example.org/pull/7?access_token=hunter2&view=all"},
		{"link": "https://example.org/pull/7?view=all&private-token=hunter2"},
		{"link": "https://example.org/pull/7?%74oken=hunter2"},
		{"link": "https://example.org/pull/7?a=1;token=hunter2"},
		{"link": "https://example.org/pull/7#access_token=hunter2"},
		{"branch": "of https://ann:hunter2@example.org/x"},
		{"ticket": "https://ann:p@hunter2@example.org/x"},
	} {
		c, err := change.FromTags(tags)
		if err != nil {
			t.Errorf("%v: %v", tags, err)
		}
		for _, text := range append([]string{c.Link, c.Branch}, strings.Join(mapValues(c.Tags), " ")) {
			if strings.Contains(text, word) {
				t.Errorf("%v: kept %q", tags, text)
			}
		}
	}
	c, err := change.FromTags(map[string]string{"link": "https://ann:x@example.org/pull/7?view=all&token=y#files"})
	if want := "https://example.org/pull/7?view=all#files"; err != nil || c.Link != want {
		t.Errorf("%q, %v; want %q", c.Link, err, want)
	}
}

// A link is one word of ASCII, so that it ends where it ends in any markup.
func TestALinkIsOneWord(t *testing.T) {
	for link, want := range map[string]string{
		"https://example.org/a b?x=c d":        "https://example.org/a%20b?x=c%20d",
		`https://example.org/?x="><script>`:    "https://example.org/?x=%22%3E%3Cscript%3E",
		"https://example.org/ä?ö=`b`":          "https://example.org/%C3%A4?%C3%B6=%60b%60",
		"https://example.org/pull/7/files#r12": "https://example.org/pull/7/files#r12",
	} {
		c, err := change.FromTags(map[string]string{"link": link})
		if err != nil || c.Link != want {
			t.Errorf("%s: %q, %v; want %q", link, c.Link, err, want)
		}
	}
}

func mapValues(m map[string]string) (out []string) {
	for v := range maps.Values(m) {
		out = append(out, v)
	}
	return out
}

func TestWhatIsSaidLaterCompletesWhatWasSaid(t *testing.T) {
	below := change.Change{Commit: "1", Author: "ann", Kinds: []change.Kind{change.Fusion}, Tags: map[string]string{"a": "1", "b": "1"}}
	got := change.Change{Commit: "2", Branch: "main", Tags: map[string]string{"b": "2"}}.Over(below)
	want := change.Change{Commit: "2", Branch: "main", Author: "ann", Kinds: below.Kinds, Tags: map[string]string{"a": "1", "b": "2"}}
	if !got.Equal(want) {
		t.Errorf("%+v; want %+v", got, want)
	}
	if below.Tags["b"] != "1" {
		t.Error("what was said before is changed")
	}
}

func TestAChangeInWords(t *testing.T) {
	for _, c := range []struct {
		of   change.Change
		want string
	}{
		{change.Change{}, ""},
		{change.Change{Kinds: []change.Kind{change.Quantization, change.RuntimeUpgrade}}, "quantization, runtime upgrade"},
		{change.Change{Author: "ann"}, "by ann"},
		{change.Change{Branch: "main"}, "on main"},
		{change.Change{Commit: strings.Repeat("a1", 20), Branch: "main"}, "commit a1a1a1a1a1 on main"},
		{change.Change{Kinds: []change.Kind{change.Fusion}, Author: "ann", Commit: "r12"}, "fusion by ann (commit r12)"},
	} {
		if got := c.of.Text(); got != c.want {
			t.Errorf("%+v: %q; want %q", c.of, got, c.want)
		}
	}
}

func FuzzFromTags(f *testing.F) {
	f.Add("link", "https://a:b@c/d?token=x#y")
	f.Add("kinds", "batch,kernel")
	f.Add("x", "y")
	f.Fuzz(func(t *testing.T, key, value string) {
		c, err := change.FromTags(map[string]string{key: value})
		if err != nil {
			return
		}
		// What was taken is taken again as it is.
		again := change.Change{}
		for k, v := range map[string]string{"link": c.Link, "author": c.Author, "branch": c.Branch, "commit": c.Commit} {
			if v == "" {
				continue
			}
			if err := again.Set(k, v); err != nil {
				t.Fatalf("%q: %v", v, err)
			}
		}
		if again.Link != c.Link || again.Author != c.Author || again.Branch != c.Branch || again.Commit != c.Commit {
			t.Errorf("%+v became %+v", c, again)
		}
	})
}
