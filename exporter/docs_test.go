package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/common/promslog"
)

var (
	inline = regexp.MustCompile("`(plancast [^`]+)`")
	// A line of a block: a prompt, programs before a pipe and the folder of the program may come first.
	blockLine = regexp.MustCompile(`(?m)^(?:    )?(?:\$ )?(?:.*\| )?(?:bin/)?(plancast [a-z-][^\n]*)$`)
	fenced    = regexp.MustCompile("(?s)```sh\n.*?```|(?m:^    [^\n]*\n)+")
	word      = regexp.MustCompile(`(?:"[^"]*"|'[^']*'|\$\([^)]*\)|[^\s"'])+`)
)

// commandsIn finds the calls of plancast in a page: whole lines of its blocks, and code within text.
func commandsIn(page string) [][]string {
	var out [][]string
	add := func(call string) {
		for _, end := range []string{" #", " | ", " > ", " && ", " …"} {
			call, _, _ = strings.Cut(call, end)
		}
		var args []string
		for _, w := range word.FindAllString(call, -1)[1:] {
			args = append(args, strings.NewReplacer(`"`, "", `'`, "").Replace(w))
		}
		if len(args) > 0 {
			out = append(out, args)
		}
	}
	for _, m := range inline.FindAllStringSubmatch(page, -1) {
		add(strings.ReplaceAll(m[1], "\n", " "))
	}
	for _, block := range fenced.FindAllString(page, -1) {
		for _, m := range blockLine.FindAllStringSubmatch(strings.ReplaceAll(block, "\\\n", " "), -1) {
			add(m[1])
		}
	}
	return out
}

// Commands and flags that the pages name exist. Text may name a flag without its value.
func TestCommandsInTheDocumentationParse(t *testing.T) {
	pages, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	for _, page := range append(pages, "../README.md", "../SECURITY.md", "../CONTRIBUTING.md", "../grafana-plugin/README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, args := range commandsIn(string(text)) {
			if args[0] == "--version" {
				continue // main answers it without kingpin
			}
			calls++
			app, _ := application(&promslog.Config{})
			if _, err := app.ParseContext(args); err != nil && !strings.HasPrefix(err.Error(), "expected argument for flag") {
				t.Errorf("%s: plancast %q: %v", page, args, err)
			}
		}
	}
	if calls < 100 {
		t.Errorf("only %d calls of plancast found: the expressions no longer fit the pages", calls)
	}
}
