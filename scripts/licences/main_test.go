package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestThePageListsWhatIsLinked(t *testing.T) {
	t.Chdir("../..")
	modules, err := linked()
	if err != nil {
		t.Fatal(err)
	}
	want, err := describe(modules)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("docs/licences.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Error("docs/licences.md is not of today's modules: go run ./scripts/licences > docs/licences.md, and read the difference")
	}
}

func TestALicenceThatNobodyHasReadIsRefused(t *testing.T) {
	text := func(name string) string {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	mit := text("mit.txt")
	for _, c := range []struct{ name, file, text, licence, refusal string }{
		{name: "known", file: "LICENSE", text: mit, licence: "MIT"},
		{name: "of others", file: "LICENSE-3RD-PARTY", text: mit, refusal: "no licence"},
		{name: "own words", file: "COPYING", text: "Do as you please, but not on Sundays.\n", refusal: "only 0 % of COPYING"},
		{name: "none", file: "README.md", text: mit, refusal: "no licence"},
		{name: "not allowed", file: "LICENSE", text: text("zlib.txt"), refusal: "Zlib is not among the licences"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, c.file), []byte(c.text), 0o644); err != nil {
				t.Fatal(err)
			}
			got, err := of(dir)
			if got != c.licence || (err != nil) != (c.refusal != "") || err != nil && !strings.Contains(err.Error(), c.refusal) {
				t.Errorf("%q, %v; want %q, %q", got, err, c.licence, c.refusal)
			}
		})
	}
}
