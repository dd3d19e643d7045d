// Package ci_test runs the commands of the CI examples: extracted from the
// YAML, in the order of the job, with the real plancast on a real model. What
// needs the service itself (checkout, caches, apt-get) is prepared instead.
package ci_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/plancast/plancast/exporter/engine/onnxruntime/runtimetest"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
)

const root = "../.."

// job is a folder as a CI job finds it: the repository of models checked out,
// and plancast's own beside it in .plancast.
type job struct {
	t   *testing.T
	dir string
	env []string
}

// newJob checks out a model. It skips the test where ONNX Runtime is not
// installed: the examples would download it.
func newJob(t *testing.T) *job {
	t.Helper()
	if testing.Short() {
		t.Skip("builds plancast and measures")
	}
	runtimetest.Need(t)
	j := &job{t: t, dir: t.TempDir()}
	// Copied in this process, so that go test sees which files the result hangs on.
	for _, name := range []string{"Makefile", "go.mod", "go.sum"} {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		j.write(filepath.Join(".plancast", name), string(text))
	}
	for _, name := range []string{"scripts", "exporter", "forecast", "terms", "trt", "tsdb", "units"} {
		if err := os.CopyFS(j.path(filepath.Join(".plancast", name)), os.DirFS(filepath.Join(root, name))); err != nil {
			t.Fatal(err)
		}
	}
	config, err := os.ReadFile("plancast.yml")
	if err != nil {
		t.Fatal(err)
	}
	// The example with short windows, int8 aside: what a CPU gains from it is no matter here.
	text := strings.Replace(string(config), "[fp32, int8]", "[fp32]", 1) +
		"benchmark: {warm_up: 0s, min_window: 0s, min_queries: 662, max_windows: 2, sweep_window: 10ms, concurrency: [1], max_disturbance: 100%, repeat: 0}\nonnxruntime: {threads: 1}\n"
	j.write("plancast.yml", text)
	j.env = append(os.Environ(), "BASH_ENV=", "GITHUB_OUTPUT="+j.path("output"), "GITHUB_STEP_SUMMARY="+j.path("summary.md"))
	j.push("net", "1", "matmul_fp32.onnx")
	return j
}

func (j *job) path(name string) string {
	p := filepath.Join(j.dir, name)
	if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
		j.t.Fatal(err)
	}
	return p
}

func (j *job) write(name, text string) {
	j.t.Helper()
	if err := os.WriteFile(j.path(name), []byte(text), 0o644); err != nil {
		j.t.Fatal(err)
	}
}

func (j *job) read(name string) string {
	text, err := os.ReadFile(j.path(name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		j.t.Fatal(err)
	}
	return string(text)
}

// push puts one of the generated test models into the repository.
func (j *job) push(model, version, file string) {
	j.t.Helper()
	text, err := os.ReadFile(onnxtest.Generated(j.t, file))
	if err != nil {
		j.t.Fatal(err)
	}
	j.write(filepath.Join("models", model, version, "model.onnx"), string(text))
}

func (j *job) replace(old, new string) {
	j.t.Helper()
	text := j.read("plancast.yml")
	if !strings.Contains(text, old) {
		j.t.Fatalf("plancast.yml has no %q", old)
	}
	j.write("plancast.yml", strings.Replace(text, old, new, 1))
}

// bash runs one step the way both services do: a fresh shell that stops at
// the first error. It returns the exit status and what was written.
func (j *job) bash(script string, env ...string) (int, string) {
	j.t.Helper()
	cmd := exec.CommandContext(j.t.Context(), "bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script)
	cmd.Dir, cmd.Env = j.dir, append(slices.Clone(j.env), env...)
	out, err := cmd.CombinedOutput()
	if failed := (*exec.ExitError)(nil); err != nil && !errors.As(err, &failed) {
		j.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// steps reads the commands of a GitHub job, in their order.
func githubSteps(t *testing.T) []struct{ Name, Run string } {
	t.Helper()
	var w struct {
		Jobs map[string]struct {
			Steps []struct{ Name, Uses, Run string }
		}
	}
	decode(t, "github-actions.yml", &w)
	var out []struct{ Name, Run string }
	for _, s := range w.Jobs["measure"].Steps {
		if s.Run != "" {
			out = append(out, struct{ Name, Run string }{s.Name, s.Run})
		} else if !regexp.MustCompile(`^[a-z-]+/[a-z-]+@v\d+$`).MatchString(s.Uses) {
			t.Errorf("%q is not a pinned action", s.Uses)
		}
	}
	return out
}

func decode(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatal(err)
	}
}

func TestGitHubActions(t *testing.T) {
	j := newJob(t)
	// The one service that is not here: a gh that notes down what it is asked.
	j.write("bin/gh", "#!/bin/sh\nprintf '%s\\n' \"$*\" >> \"$GH_LOG\"\n")
	if err := os.Chmod(j.path("bin/gh"), 0o755); err != nil {
		t.Fatal(err)
	}
	run := func(installed bool, base string) (status int, log string) {
		t.Helper()
		for _, name := range []string{"output", "summary.md", "gh.log", "plancast.md", "plancast.xml"} {
			_ = os.Remove(j.path(name))
		}
		for _, s := range githubSteps(t) {
			if installed && s.Name == "Install plancast" {
				continue
			}
			_, judged, _ := strings.Cut(strings.TrimSpace(j.read("output")), "status=")
			status, out := j.bash(s.Run, "PATH="+j.path("bin")+":"+os.Getenv("PATH"), "GH_LOG="+j.path("gh.log"), "GH_TOKEN=x", "PULL_REQUEST=7", "STATUS="+judged,
				"COMMIT=0123456789", "GITHUB_ACTOR=ann", "BRANCH=int8", "LINK=https://git.example.org/pull/7", "BASE="+base)
			log += s.Name + ":\n" + out
			if status != 0 {
				return status, log
			}
		}
		return 0, log
	}

	j.replace("p99 < 50ms", "p99 < 10s")
	if status, log := run(false, ""); status != 0 || !strings.Contains(log, "Every target is met.") {
		t.Fatalf("a model that meets its target: status %d\n%s", status, log)
	}
	summary := j.read("summary.md")
	if !strings.Contains(summary, "| net ") && !strings.Contains(summary, "net") || !strings.Contains(summary, "| --") {
		t.Errorf("the summary has no table of the model:\n%s", summary)
	}
	if got := j.read("gh.log"); got != "pr comment 7 --edit-last --create-if-none --body-file plancast.md\n" {
		t.Errorf("gh was asked for %q", got)
	}
	if status, log := run(true, "main"); status != 0 || !strings.Contains(strings.SplitN(j.read("summary.md"), "\n", 2)[0], " against plancast-base.json") || !strings.Contains(j.read("plancast.xml"), `tests="`) {
		t.Errorf("a pull request that changes no model: status %d\n%s%s", status, log, j.read("summary.md"))
	}

	j.replace("p99 < 10s", "p99 < 1ns")
	if status, log := run(true, ""); status != 1 || !strings.Contains(log, "::error title=plancast::A target is missed") || !strings.Contains(j.read("summary.md"), "net") {
		t.Errorf("a missed target: status %d\n%s", status, log)
	}
	j.push("net", "2", "custom_operator.onnx")
	if status, log := run(true, ""); status != 2 || !strings.Contains(log, "could not be measured") {
		t.Errorf("a broken candidate: status %d\n%s", status, log)
	}
	j.replace("criteria:", "criterion:")
	if status, log := run(true, ""); status == 0 || !strings.Contains(log, "criterion") {
		t.Errorf("a mistake in plancast.yml: status %d\n%s", status, log)
	}
}

func TestGitLab(t *testing.T) {
	j := newJob(t)
	var mu sync.Mutex
	var posted []string
	notes := func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(posted)
	}
	gitlab := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("PRIVATE-TOKEN") != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		posted = append(posted, r.Method+" "+r.URL.Path+" "+string(body[:min(len(body), 5)]))
		w.WriteHeader(http.StatusCreated)
	}))
	defer gitlab.Close()

	var f map[string]struct {
		Before []string `yaml:"before_script"`
		Script []string
	}
	decode(t, "gitlab-ci.yml", &f)
	// GitLab joins all commands into one shell.
	needsService := regexp.MustCompile(`^(apt-get|git) `)
	script := func(installed bool) string {
		lines := slices.Concat(f["plancast"].Before, f["plancast"].Script)
		return strings.Join(slices.DeleteFunc(lines, func(s string) bool {
			return needsService.MatchString(s) || installed && strings.HasPrefix(s, "make ")
		}), "\n")
	}
	push, request := []string{"CI_COMMIT_BRANCH=main"}, []string{"CI_MERGE_REQUEST_IID=3", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME=int8"}
	run := func(installed bool, token string, of []string) (int, string) {
		_ = os.Remove(j.path("plancast.md"))
		return j.bash(script(installed), append(slices.Clone(of), "CI_API_V4_URL="+gitlab.URL+"/api/v4", "CI_PROJECT_ID=12", "PLANCAST_GITLAB_TOKEN="+token,
			"CI_PROJECT_URL=https://git.example.org/vision", "CI_COMMIT_SHA=0123456789", "CI_COMMIT_AUTHOR=Ann <ann@example.org>")...)
	}

	j.replace("p99 < 50ms", "p99 < 10s")
	status, log := run(false, "secret", push)
	if status != 0 || !strings.Contains(log, "Every target is met.") || !strings.Contains(log, "net") || len(notes()) != 0 {
		t.Fatalf("a model that meets its target: status %d, notes %q\n%s", status, notes(), log)
	}
	if status, log = run(true, "secret", request); status != 0 || !strings.Contains(log, " against plancast-base.json") || !strings.Contains(j.read("plancast.xml"), `tests="`) {
		t.Errorf("a merge request that changes no model: status %d\n%s", status, log)
	}
	if len(notes()) != 1 || notes()[0] != "POST /api/v4/projects/12/merge_requests/3/notes body=" {
		t.Errorf("notes %q", notes())
	}
	if bytes.Contains([]byte(log), []byte("secret")) {
		t.Error("the token is in the log")
	}
	if status, log := run(true, "wrong", request); status == 0 || !strings.Contains(log, "401") {
		t.Errorf("a wrong token goes unnoticed: status %d\n%s", status, log)
	}
	j.replace("p99 < 10s", "p99 < 1ns")
	if status, log := run(true, "", request); status != 1 || !strings.Contains(log, "A target is missed") {
		t.Errorf("a missed target: status %d\n%s", status, log)
	}
	j.push("net", "2", "custom_operator.onnx")
	if status, log := run(true, "", request); status != 2 || !strings.Contains(log, "could not be measured") {
		t.Errorf("a broken candidate: status %d\n%s", status, log)
	}
}
