// Package docs holds the documentation. Its tests check the links in it, and the words
// of everything that people read.
package docs

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// tracked lists the repository's files that match the patterns, relative to its root.
func tracked(t *testing.T, patterns ...string) []string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"ls-files", "--"}, patterns...)...)
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("no git checkout, so the tracked files are not known: %v", err)
	}
	return strings.Fields(string(out))
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// avoided reads the words to avoid from the table in style.md.
func avoided(t *testing.T) *regexp.Regexp {
	t.Helper()
	_, table, ok := strings.Cut(read(t, "docs/style.md"), "| --- | --- |\n")
	if !ok {
		t.Fatal("style.md has no table of words to avoid")
	}
	var words []string
	for row := range strings.Lines(table) {
		cells := strings.Split(row, "|")
		if len(cells) != 4 {
			t.Fatalf("style.md: not a row of two cells: %q", row)
		}
		for word := range strings.SplitSeq(cells[1], ",") {
			words = append(words, regexp.QuoteMeta(strings.TrimSpace(word)))
		}
	}
	return regexp.MustCompile(`(?i)\b(` + strings.Join(words, "|") + `)\b`)
}

func TestNobodyReadsWordsToAvoid(t *testing.T) {
	words := avoided(t)
	if avoid := strings.ToUpper("for") + " ever"; !words.MatchString(avoid) || words.MatchString("forever") {
		t.Fatalf("the table does not work: %v", words)
	}
	for _, name := range tracked(t, "*.go", "*.md", "*.html", "*.ts", "*.tsx", "*.yml", "*.yaml", "*.sh", "*.py", "*.json", "*.cpp", "*.h", "Makefile") {
		if name == "docs/style.md" || strings.HasSuffix(name, "package-lock.json") {
			continue
		}
		lines := bufio.NewScanner(bytes.NewReader([]byte(read(t, name))))
		lines.Buffer(nil, 1<<24)
		for n := 1; lines.Scan(); n++ {
			if word := words.FindString(lines.Text()); word != "" {
				t.Errorf("%s:%d: %q: see docs/style.md", name, n, word)
			}
		}
		if err := lines.Err(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	dropped = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchor is the name that GitHub gives a heading.
func anchor(h string) string {
	return strings.ReplaceAll(strings.ToLower(dropped.ReplaceAllString(h, "")), " ", "-")
}

func TestLinksLeadSomewhere(t *testing.T) {
	for _, name := range tracked(t, "*.md") {
		if strings.Contains(name, "testdata/") {
			continue // reports link to what a test invents
		}
		for _, m := range link.FindAllStringSubmatch(read(t, name), -1) {
			if err := resolve(name, m[1]); err != nil {
				t.Errorf("%s: link %s: %v", name, m[1], err)
			}
		}
	}
}

// resolve reports why a link in a file leads nowhere. It follows links inside the repository only.
func resolve(from, target string) error {
	if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
		return nil
	}
	file, section, _ := strings.Cut(target, "#")
	to := from
	if file != "" {
		to = path.Join(path.Dir(from), file)
	}
	text, err := os.ReadFile(filepath.Join("..", to))
	if err != nil || section == "" {
		if info, e := os.Stat(filepath.Join("..", to)); e == nil && info.IsDir() {
			return nil
		}
		return err
	}
	for _, h := range heading.FindAllStringSubmatch(string(text), -1) {
		if anchor(h[1]) == section {
			return nil
		}
	}
	return fmt.Errorf("%s has no heading %q", to, section)
}

var (
	// A call of make at the start of a line or of code, perhaps after variables.
	makeCall = regexp.MustCompile("(?m)(?:`|^(?: {4})?)(?:[A-Z_]+=[^` ]+ )*make ([^`\n#&]+)")
	rule     = regexp.MustCompile(`(?m)^([a-z][a-z -]*):`)
)

func TestTargetsOfMakeExist(t *testing.T) {
	targets := map[string]map[string]bool{}
	calls := 0
	for _, name := range append(tracked(t, "docs/*.md"), "README.md", "CONTRIBUTING.md", "SECURITY.md") {
		for _, m := range makeCall.FindAllStringSubmatch(read(t, name), -1) {
			dir, words := ".", strings.Fields(m[1])
			if len(words) > 1 && words[0] == "-C" {
				dir, words = words[1], words[2:]
			}
			if targets[dir] == nil {
				targets[dir] = map[string]bool{}
				for _, r := range rule.FindAllStringSubmatch(read(t, path.Join(dir, "Makefile")), -1) {
					for target := range strings.FieldsSeq(r[1]) {
						targets[dir][target] = true
					}
				}
			}
			for _, word := range words {
				if strings.Contains(word, "=") {
					break // variables come last
				}
				if calls++; !targets[dir][word] {
					t.Errorf("%s: make %s: %s/Makefile has no target %s", name, m[1], dir, word)
				}
			}
		}
	}
	if calls < 20 {
		t.Errorf("only %d targets found: the expression no longer fits the pages", calls)
	}
}
