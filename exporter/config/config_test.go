package config

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/units"
)

func TestAnEmptyFileIsTheDefault(t *testing.T) {
	c, err := Parse(strings.NewReader(""), "empty.yml")
	if err != nil {
		t.Fatal(err)
	}
	if c.Backend != "auto" || c.Repository.URL != "models" || len(c.Precisions) != 3 || c.Schedule == nil {
		t.Errorf("default is %+v", c)
	}
}

func TestTargetsAndMilestonesAreReadWithTheirUnits(t *testing.T) {
	c, err := Parse(strings.NewReader(`
timezone: Europe/Berlin
worker: {timeout: 90s, memory: 1GiB}
models:
  - match: "silero*"
    owner: speech
    dims: {sequence: 512, past: 0}
    output: scores
    inputs: {state: [2, 1, 128]}
targets:
  - name: launch
    models: "resnet*"
    criteria: ["p99 < 50ms", "memory <= 1GiB", "throughput > 1,5/s"]
milestones:
  - {name: spring, criteria: [p99 < 50ms, accuracy_deviation < 0.5%], share: 80%, deadline: 2027-01-31, horizon: 5, ready: 90%, effort: active}
`), "plancast.yml")
	if err == nil || !strings.Contains(err.Error(), `plancast.yml:13:48: targets[0].criteria[2]: criterion "throughput > 1,5/s": "1,5/s" is not a rate`) {
		t.Errorf("error is %v", err)
	}
	if got := c.Worker; got.Timeout != 90*time.Second || got.Memory != 1<<30 {
		t.Errorf("worker is %+v", got)
	}
	if got := c.ModelFor("silero_vad"); got.Owner != "speech" || got.Dims["sequence"] != 512 || c.BenchmarkFor("silero_vad").Output != "scores" || len(got.Inputs["state"]) != 3 {
		t.Errorf("model is %+v", got)
	}
	want := []forecast.Criterion{
		{Metric: "p99", Comparison: forecast.Below, Target: 0.05, Unit: units.Seconds},
		{Metric: "memory", Comparison: forecast.AtMost, Target: 1 << 30, Unit: units.Bytes},
	}
	for i, w := range want {
		if c.Targets[0].Criteria[i] != w {
			t.Errorf("criterion %d is %+v; want %+v", i, c.Targets[0].Criteria[i], w)
		}
	}
	if !c.Targets[0].Matches("resnet50") || c.Targets[0].Matches("vgg") {
		t.Error("the pattern resnet* does not select by name")
	}
	m := c.Milestones[0]
	if m.Share != 0.8 || m.Horizon != 5 || m.Ready != 0.9 || m.Effort != forecast.Active || m.Criteria[1].Target != 0.005 {
		t.Errorf("milestone is %+v", m)
	}
	// The date alone is due at its end, in the file's time zone.
	if want := time.Date(2027, 1, 31, 22, 59, 59, 0, time.UTC); !m.Deadline.Equal(want) {
		t.Errorf("deadline is %v; want %v", m.Deadline, want)
	}
}

// Every file testdata/bad-NAME.yml begins with comment lines that hold the
// complete error, so the folder reads as the list of what is refused.
func TestBadFilesAreRefusedWithTheirPlace(t *testing.T) {
	files, err := filepath.Glob("testdata/bad-*.yml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for line := range strings.SplitSeq(string(text), "\n") {
				rest, ok := strings.CutPrefix(line, "# ")
				if !ok {
					break
				}
				want = append(want, rest)
			}
			_, err = Parse(strings.NewReader(string(text)), "bad.yml")
			if err == nil || err.Error() != strings.Join(want, "\n") {
				t.Errorf("error:\n%v\nwant:\n%s", err, strings.Join(want, "\n"))
			}
		})
	}
}

func TestRelativePathsAreRelativeToTheFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "plancast.yml")
	text := "repository: {url: m}\nstate: s\nonnxruntime: {library: ort.so}\ntensorrt: {libraries: [trt, /opt/trt]}\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := Load(file)
	if err != nil {
		t.Fatal(err)
	}
	if c.Repository.URL != filepath.Join(dir, "m") || c.State != filepath.Join(dir, "s") {
		t.Errorf("repository %s, state %s", c.Repository.URL, c.State)
	}
	if got, want := c.TensorRT.Libraries, []string{filepath.Join(dir, "trt"), "/opt/trt"}; c.ONNXRuntime.Library != filepath.Join(dir, "ort.so") || !slices.Equal(got, want) {
		t.Errorf("libraries are %s and %q, want %q", c.ONNXRuntime.Library, got, want)
	}
	if _, err := Load(filepath.Join(dir, "none.yml")); err == nil || !strings.Contains(err.Error(), "--config.file") {
		t.Errorf("a missing file gives %v", err)
	}
}

func TestPathsThatOnlyLookLikeAShellsAreTaken(t *testing.T) {
	for _, text := range []string{"data/~x", "plain", "price$", "a$1", "s3://bucket/models?region=eu-west-1"} {
		if c, err := Parse(strings.NewReader("repository: {url: '"+text+"'}\nstate: '"+text+"'\n"), "x.yml"); err != nil || c.State != text {
			t.Errorf("%s: state %s, %v", text, c.State, err)
		}
	}
}

func TestSchedulesThatFireAreTaken(t *testing.T) {
	noon := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	for text, next := range map[string]time.Time{
		"@every 1s":               noon.Add(time.Second),
		"@hourly":                 noon.Add(time.Hour),
		"0 0 29 2 *":              time.Date(2028, 2, 29, 0, 0, 0, 0, time.UTC),
		"*/7 * * * *":             noon.Add(7 * time.Minute),
		"TZ=Asia/Tokyo 0 5 * * *": time.Date(2026, 6, 1, 20, 0, 0, 0, time.UTC),
	} {
		c, err := Parse(strings.NewReader("schedule: '"+text+"'\n"), "x.yml")
		if err != nil || c.Cron != text || !c.Schedule.Next(noon).Equal(next) {
			t.Errorf("%s: %q, %v", text, c.Cron, err)
		}
	}
}

// What is refused beyond a limit is taken at it.
func TestLimitsThemselvesAreTaken(t *testing.T) {
	for _, text := range []string{
		"benchmark: {patience: 0s, max_disturbance: 100%, margin: 0.1%, cores: [0, 1023]}",
		"benchmark: {patience: 1h, max_disturbance: 0.1%, margin: 50%, min_queries: 1}",
		"worker: {timeout: 1s}",
		"worker: {timeout: 168h}",
		"onnxruntime: {threads: 1024}",
		"tensorrt: {profile: {min: 4, opt: 4, max: 4}, devices: [0, 1]}",
		"benchmark: {min_window: 10s, max_window: 10s}",
		"targets: [{name: az AZ-09_., models: a model, criteria: [p99 < 50ms]}]",
		"targets: [{name: " + strings.Repeat("n", 100) + ", criteria: [p99 < 50ms]}]",
	} {
		if _, err := Parse(strings.NewReader(text), "x.yml"); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// A list in the file takes the place of the default.
func TestAListReplacesTheDefault(t *testing.T) {
	c, err := Parse(strings.NewReader("precisions: [int8]\nbenchmark: {batches: [4, 8]}\n"), "x.yml")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Precisions, []engine.Precision{engine.INT8}) || !slices.Equal(c.Benchmark.Batches, []int{4, 8}) {
		t.Errorf("precisions %v, batches %v", c.Precisions, c.Benchmark.Batches)
	}
}

func TestAThresholdJudgesTheBestPrecisionUnlessItNamesOne(t *testing.T) {
	c, err := Parse(strings.NewReader("targets: [{name: a, criteria: [p99 < 50ms]}, {name: b, precision: int8, criteria: [p99 < 50ms]}]"), "x.yml")
	if err != nil || c.Targets[0].Precision != Best || c.Targets[1].Precision != "int8" {
		t.Errorf("targets %+v, %v", c.Targets, err)
	}
}

func TestAModelHasItsOwnDeviationAndProfiles(t *testing.T) {
	c, err := Parse(strings.NewReader(`
benchmark: {deviation: top1}
models:
  - {match: own, deviation: relative_l2, profiles: {x: {min: [1, 3], opt: [8, 3], max: [16, 3]}}}
`), "x.yml")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"own": "relative_l2", "other": "top1"} {
		if got := c.BenchmarkFor(name).Deviation; got != want {
			t.Errorf("%s: deviation %s, want %s", name, got, want)
		}
	}
	want := engine.Profile{Min: []int64{1, 3}, Opt: []int64{8, 3}, Max: []int64{16, 3}}
	if got := c.ModelFor("own").Profiles["x"]; !reflect.DeepEqual(got, want) {
		t.Errorf("profile %v, want %v", got, want)
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.yml")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("a: &a [*a]")
	f.Add("repository: {url: s3://u:p@b}")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse(strings.NewReader(text), "x.yml")
		if err == nil && (c.Schedule == nil || len(c.Precisions) == 0 || c.Location == nil) {
			t.Fatalf("accepted without what the program needs: %+v", c)
		}
	})
}

// Every key of the decoder is in the documentation, and the other way round.
func TestEveryKeyIsDocumented(t *testing.T) {
	var text, source []byte
	for _, page := range []string{"../../docs/configuration.md", "../../docs/repository.md"} { // change.yml is in the latter
		part, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, part...)
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		part, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		source = append(source, part...)
	}
	keys := regexp.MustCompile(`(?m)^\s+"([a-z0-9_]+)":\s+(?:d\.|func|c\.)`).FindAllSubmatch(source, -1)
	if len(keys) < 30 {
		t.Fatalf("only %d keys found: the expression no longer fits the source", len(keys))
	}
	for _, k := range keys {
		if !regexp.MustCompile("[`.]" + string(k[1]) + "[`.\\[]").Match(text) {
			t.Errorf("the docs have no key %s", k[1])
		}
	}
}

func TestTheExamplesInTheDocsAreValid(t *testing.T) {
	for _, page := range []string{"../../docs/configuration.md", "../../README.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		_, example, found := strings.Cut(string(text), "```yaml\n")
		example, _, closed := strings.Cut(example, "```")
		if !found || !closed {
			t.Fatalf("%s has no example", page)
		}
		if c, err := Parse(strings.NewReader(example), page); err != nil || len(c.Milestones) != 1 {
			t.Errorf("%s: %v, %+v", page, err, c.Milestones)
		}
	}
}

// The highest percentile that anything asks of a model decides what is believed
// of its latency.
func TestTheDecidingPercentileIsTheHighestOfTheCriteria(t *testing.T) {
	c, err := Parse(strings.NewReader(`
targets:
  - {name: fast, models: ["resnet*"], criteria: [p50 < 5ms, size < 1GB]}
  - {name: even, models: [resnet50], criteria: [p90 < 5ms]}
milestones:
  - {name: spring, models: [bert], criteria: [p99 < 50ms], horizon: 5}
`), "x.yml")
	if err != nil {
		t.Fatal(err)
	}
	for model, want := range map[string]float64{"resnet18": 0.5, "resnet50": 0.9, "bert": 0.99, "other": 0} {
		if got := c.GuardFor(model).Percentile; got != want {
			t.Errorf("%s: %v, want %v", model, got, want)
		}
	}
}
