package outside

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestALineIsOneLineWithoutControlCharacters(t *testing.T) {
	for in, want := range map[string]string{
		"":                              "",
		"  two\r\n words\t ":            "two words",
		"\x1b[31mred\x1b[m":             "[31mred [m",
		"\u009b31mred":                  "31mred",
		"a\u202eb\u200bc\U000e0041d":    "abcd",
		"bad \xff byte":                 "bad \uFFFD byte",
		"exactly ten":                   "exactly te…",
		"ten letter":                    "ten letter",
		"ten letter \n":                 "ten letter",
		"ünïcödé is counted by letters": "ünïcödé is…",
	} {
		if got := Line(in, 10); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	if long := strings.Repeat("x", 5000); Line(long, 0) != long {
		t.Error("a line without a limit is cut")
	}
}

func TestALabelHasALimitInBytes(t *testing.T) {
	for in, want := range map[string]string{
		"short": "short", "12345678": "12345678", "123456789": "12345678", "üüüüü": "üüüü", "1üüüüü": "1üüü", "a\nb": "a b",
	} {
		if got := Label(in, 8); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestNoCellIsAFormula(t *testing.T) {
	for in, want := range map[string]string{
		"resnet50": "resnet50", "a=b": "a=b", "": "", "it's": "it's",
		"=SUM(A1)": "'=SUM(A1)", "+1": "'+1", "-1": "'-1", "@cmd": "'@cmd", "＝1": "'＝1",
		" =1": "'=1", "\t=1": "'=1", "\n=1": "'=1", "\x00=1": "'=1", "\u200b=1": "'=1", "\ufeff=1": "'=1",
		"'quoted'": "''quoted'", "a\x1b[31m\nb": "a [31m b",
	} {
		got := Cell(in)
		if got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
		if back := FromCell(got); back != Line(in, 0) {
			t.Errorf("%q comes back as %q", in, back)
		}
	}
	if got := FromCell("'12ms"); got != "'12ms" {
		t.Errorf("an apostrophe that Cell did not set is taken away: %q", got)
	}
}

// What a chat service or a mail program would act on.
var markup = map[string]*regexp.Regexp{
	"a tag, a mention or a channel":     regexp.MustCompile(`<[^\s\d=]`),
	"a mention":                         regexp.MustCompile(`@[\pL\d]`),
	"a channel or an issue":             regexp.MustCompile(`#[\pL\d]`),
	"a link or an image":                regexp.MustCompile(`\]\(|\]\[|\]:|!\[`),
	"a URL":                             regexp.MustCompile(`:/|mailto:|(?i)\bwww\.\pL`),
	"the name of a host":                regexp.MustCompile(`[\pL\d]\.\pL`),
	"the name of a picture":             regexp.MustCompile(`:\pL`),
	"emphasis, code, or what is struck": regexp.MustCompile("[*`~|]|(^|[^\\pL\\d])_|_([^\\pL\\d]|$)"),
	"a heading or a quote":              regexp.MustCompile(`^\s*[#>]`),
}

func TestAMessageHoldsNoMarkup(t *testing.T) {
	for in, want := range map[string]string{
		// What plancast itself says stays as it is.
		"resnet_50 on NVIDIA L4: P99 3.2 ms (down 53 %), 1,800/s": "resnet_50 on NVIDIA L4: P99 3.2 ms (down 53 %), 1,800/s",
		"p99 < 50ms and size <= 1GB, <5 %":                        "p99 < 50ms and size <= 1GB, <5 %",
		"see ./x and .so ... a.":                                  "see ./x and .so ... a.",
		"14:05, node /layer/0, [1, 3, 224], a -> b":               "14:05, node /layer/0, [1, 3, 224], a -> b",

		"@here @channel @all":            "@·here @·channel @·all",
		"<!channel> <@U024BE7LH> <#C1>":  "‹!channel> ‹@·U024BE7LH> ‹#·C1>",
		"<@&165511591545143296>":         "‹@&165511591545143296>",
		"[text](https://evil.example/x)": "[text]·(https:·//evil.·example/x)",
		"![](http://evil.example/i.png)": "!·[]·(http:·//evil.·example/i.·png)",
		"[a]: //evil.example":            "[a]·: //evil.·example",
		"<https://evil.example|bank>":    "‹https:·//evil.·example¦bank>",
		"www.evil.example":               "www.·evil.·example",
		"mailto:a@b.example":             "mailto:·a@·b.·example",
		"<script>x</script><img src=x>":  "‹script>x‹/script>‹img src=x>",
		"**bold** _it_ ~~gone~~ `code`":  "∗∗bold∗∗ ＿it＿ ∼∼gone∼∼ 'code'",
		"||spoiler|| :siren:":            "¦¦spoiler¦¦ :·siren:",
		"  # heading":                    "  ＃ heading",
		"> quote":                        "› quote",
	} {
		want = strings.ReplaceAll(want, "·", string(gap))
		if got := Message(in); got != want {
			t.Errorf("%q:\n  %q, want\n  %q", in, got, want)
		}
	}
}

func FuzzMessage(f *testing.F) {
	for _, s := range []string{"<!channel>", "[a](b)", "_a_", "#@<", "![", "a.b", "www.a", ":a:", "<\u200b@a", "]\u200b("} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Message(Line(s, 0))
		for what, x := range markup {
			if found := x.FindString(got); found != "" {
				t.Errorf("%q becomes %q, which holds %s: %q", s, got, what, found)
			}
		}
	})
}

func TestMarkdownShowsTextAsItIs(t *testing.T) {
	for in, want := range map[string]string{
		"<b>a & b</b>":               "&lt;b&gt;a &amp; b&lt;/b&gt;",
		"![x](http://a) *b* _c_ `d`": "\\!\\[x\\](http:\u200b//a) \\*b\\* \\_c\\_ \\`d\\`",
		"# a | b ~ c $ d \\":         "\\# a \\| b \\~ c \\$ d \\\\",
		"@team, a @ b, www.x, a@":    "@\u200bteam, a @ b, www\u200b.x, a@",
	} {
		if got := Markdown(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestACodeSpanEndsWhereItsTextDoes(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "`plain`", "a`b": "``a`b``", "a``b`c": "```a``b`c```", "`a": "`` `a ``", "a`": "`` a` ``",
	} {
		if got := Code(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestATerminalObeysNothing(t *testing.T) {
	for in, want := range map[string]string{
		"a line\twith a tab\n": "a line\twith a tab\n",
		"ünïcödé ✅ …":          "ünïcödé ✅ …",
		"\x1b]0;title\x07":     `\u001b]0;title\u0007`,
		"over\rwritten\b":      `over\u000dwritten\u0008`,
		"\x7f \u009b31m":       `\u007f \u009b31m`,
		"\x9b31m \xc3":         `\x9b31m \xc3`,
		"a\u202eb\u2066":       `a\u202eb\u2066`,
		"@\u200bteam \uFFFD":   "@\u200bteam \uFFFD",
	} {
		for size := 1; size <= len(in); size++ { // of what is written at a time
			var b bytes.Buffer
			w := Terminal(&b)
			for rest := []byte(in + "\n"); len(rest) > 0; {
				n := min(size, len(rest))
				if k, err := w.Write(rest[:n]); k != n || err != nil {
					t.Fatalf("%d of %d written, %v", k, n, err)
				}
				rest = rest[n:]
			}
			if b.String() != want+"\n" {
				t.Errorf("%q, %d at a time: %q, want %q", in, size, b.String(), want)
			}
		}
	}
}

func TestJSONKeepsItsMeaningOnATerminal(t *testing.T) {
	want := "\x1b[31m \u009b \u202e \x7f ü"
	var b bytes.Buffer
	if err := json.NewEncoder(Terminal(&b)).Encode(want); err != nil {
		t.Fatal(err)
	}
	var got string
	if err := json.Unmarshal(b.Bytes(), &got); err != nil || got != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	if !harmless(b.String()) {
		t.Errorf("raw: %q", b.String())
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestATerminalThatIsGoneIsAnError(t *testing.T) {
	if _, err := fmt.Fprintln(Terminal(full{}), "text"); err == nil {
		t.Error("no error")
	}
}

func harmless(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r)
	})
}

func FuzzTerminal(f *testing.F) {
	f.Add([]byte("\x1b[31m"), 1)
	f.Add([]byte("\xc2\x9b \xe2\x80"), 2)
	f.Fuzz(func(t *testing.T, text []byte, cut int) {
		var b bytes.Buffer
		w := Terminal(&b)
		cut = min(max(cut, 0), len(text))
		for _, part := range [][]byte{text[:cut], text[cut:], []byte("\n")} {
			if n, err := w.Write(part); n != len(part) || err != nil {
				t.Fatalf("%d of %d written, %v", n, len(part), err)
			}
		}
		if !harmless(b.String()) {
			t.Errorf("%q becomes %q", text, b.String())
		}
	})
}
