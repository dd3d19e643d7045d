package advice

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/engine"
)

var update = flag.Bool("update", false, "write docs/troubleshooting.md from the table")

const page = "../../docs/troubleshooting.md"

func TestEveryEntryIsWholeAndFitsItsExample(t *testing.T) {
	list, err := Rejections()
	if err != nil {
		t.Fatal(err)
	}
	operators := regexp.MustCompile(`([\w.]+:\w+)\(-?\d+\)|^(\w+)\(\d+\)`)
	titles := map[string]bool{}
	for _, r := range list {
		if r.Title == "" || r.Example == "" || r.Cause == "" || r.Advice == "" || r.Operator == "" && r.Message == "" || titles[r.Title] {
			t.Errorf("%q lacks a part, or is listed twice: %+v", r.Title, r)
		}
		titles[r.Title] = true
		if r.Backend != "" && r.Backend != "onnxruntime" && r.Backend != "tensorrt" {
			t.Errorf("%q: no such backend %q", r.Title, r.Backend)
		}
		backend := r.Backend
		if backend == "" {
			backend = "onnxruntime"
		}
		e := engine.Errorf(engine.KindBuildFailed, "build", "model.onnx", "%s", r.Example)
		if m := operators.FindStringSubmatch(r.Example); m != nil {
			e.Operator = m[1] + m[2]
		} else if r.Operator != "" {
			e.Operator = strings.Trim(r.Operator, "^$")
		}
		if Apply(backend, e); e.Hint != r.Cause+": "+r.Advice {
			t.Errorf("%q: its example gets the advice %q", r.Title, e.Hint)
		}
	}
}

func TestOnlyRejectionsGetAdvice(t *testing.T) {
	for name, c := range map[string]struct {
		kind             engine.Kind
		backend, message string
	}{
		"another runtime's message":  {engine.KindBuildFailed, "onnxruntime", "Assertion !scopedOp failed"},
		"a plan of another platform": {engine.KindRunFailed, "tensorrt", "Error Code 1: Serialization (Serialization assertion plan->header.pad == expectedPlatformTag failed.Platform specific tag mismatch detected."},
		"a failure of no rejection":  {engine.KindTimeout, "tensorrt", "Assertion !scopedOp failed"},
		"a message of its own":       {engine.KindBuildFailed, "tensorrt", "something new"},
	} {
		e := engine.Errorf(c.kind, "build", "", "%s", c.message)
		e.Hint = "as before"
		if Apply(c.backend, e); e.Hint != "as before" {
			t.Errorf("%s: %q", name, e.Hint)
		}
	}
}

func TestThePageAgreesWithTheTable(t *testing.T) {
	list, err := Rejections()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(`# Troubleshooting

What runtimes reject, why, and the way out. plancast shows the same words in the report and in
notifications of failures. The page is written from exporter/advice/rejections.yml: to add what
you ran into, add an entry there and run ` + "`go test ./exporter/advice -update`" + `.

Kinds of failure and what to do on call are in [runbook.md](runbook.md).
`)
	for _, part := range []struct{ backend, title string }{{"", "With every runtime"}, {"onnxruntime", "ONNX Runtime"}, {"tensorrt", "TensorRT"}} {
		fmt.Fprintf(&b, "\n## %s\n", part.title)
		for _, r := range list {
			if r.Backend != part.backend {
				continue
			}
			fmt.Fprintf(&b, "\n### %s\n", r.Title)
			fmt.Fprintf(&b, "- **It says**, for example: `%s`\n- **Why**: %s.\n- **What to do**: %s.\n", strings.ReplaceAll(r.Example, "`", "'"), r.Cause, r.Advice)
		}
	}
	if *update {
		if err := os.WriteFile(page, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil || string(got) != b.String() {
		t.Errorf("docs/troubleshooting.md is not what the table gives (%v): run go test ./exporter/advice -update", err)
	}
}
