package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/fake"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/report/reporttest"
)

// book makes a history with four models, the given iterations of each at three
// precisions, and returns its path.
func book(t *testing.T, iterations int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "history.db")
	s, err := history.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range reporttest.Many(4, iterations).Records {
		if _, err := s.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestANoisyResultIsTakenOutAndPutBack(t *testing.T) {
	s := newSite(t, launchTarget)
	for i, latency := range []float64{6, 4} {
		s.Push("net", fmt.Sprint(i+1), fake.Script{Latency: ms(latency)})
	}
	if status, _, stderr := s.plancast("run", "--config.file", s.File()); status != exitOK {
		t.Fatalf("run: %d %s", status, stderr)
	}
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"history", "exclude", "2", "--because=a backup ran", "--who=ann"}, exitOK, "Excluded: 1 result."},
		{[]string{"history", "exclude", "2", "--because=a backup ran"}, exitOK, "Nothing changed"},
		{[]string{"history", "list"}, exitOK, "measured; excluded by ann on"},
		{[]string{"history", "show", "2"}, exitOK, `"because": "a backup ran"`},
		{[]string{"history", "export", "--format=csv"}, exitOK, "a backup ran"},
		{[]string{"history", "export", "--format=jsonl"}, exitOK, `"excluded":{"because":"a backup ran","by":"ann"`},
		{[]string{"history", "audit"}, exitOK, "exclude  2       a backup ran"},
		{[]string{"history", "restore", "--model=net", "--version=2", "--because=it was not"}, exitOK, "Restored: 1 result."},
		{[]string{"history", "audit", "--format=json"}, exitOK, `"action": "restore"`},
		{[]string{"history", "exclude", "--because=x"}, exitError, "give an ID as plancast history list prints it"},
		{[]string{"history", "exclude", "9", "--because=x"}, exitError, "no such record"},
		{[]string{"history", "exclude", "1", "--model=net", "--because=x"}, exitError, "not both"},
		{[]string{"history", "exclude", "1"}, exitError, "--because"},
		{[]string{"history", "exclude", "1", "--because= \x1b[31m"}, exitOK, "1 result"},
	} {
		status, out, errs := s.plancast(append(c.args, "--config.file", s.File())...)
		if status != c.status || !strings.Contains(out+errs, c.want) {
			t.Errorf("plancast %q: status %d; want %d and %q\n%s%s", c.args, status, c.status, c.want, out, errs)
		}
		if strings.Contains(out, "\x1b") {
			t.Errorf("plancast %q prints control characters", c.args)
		}
	}
	// What is excluded is not evidence elsewhere: version 1 is out, version 2 is back.
	_, out, _ := s.plancast("history", "export", "--config.file", s.File())
	if strings.Contains(out, `version="1"`) || !strings.Contains(out, `version="2"`) {
		t.Errorf("the export for Prometheus:\n%s", out)
	}
}

// Names and messages of models, and what somebody typed, are shown on terminals.
func TestNothingThatIsPrintedCommandsATerminal(t *testing.T) {
	const hostile = "\x1b]0;title\x07\r\x9b31m \u009b31m \x7f \u202e end"
	path := filepath.Join(t.TempDir(), "history.db")
	s, err := history.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	b := reporttest.NewBuilder(reporttest.Now)
	b.Add("net", hostile, 1, engine.FP32, reporttest.Environment(hostile), reporttest.Measured(0.05))
	b.Add("net", hostile, 2, engine.FP32, reporttest.Environment(hostile), reporttest.Failed(engine.Error{Kind: hostile, Op: hostile, Node: hostile, Message: hostile, Hint: hostile}, hostile))
	for _, r := range b.Records {
		if _, err := s.Append(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"list"}, {"show", "1"}, {"show", "2"}, {"export", "--format=csv"}, {"export", "--format=jsonl"}, {"export", "--format=openmetrics"},
		{"list", "--model=" + hostile}, {"show", hostile}, {hostile},
	} {
		var out, errs bytes.Buffer
		run(t.Context(), append(append([]string{"history"}, args...), "--history.file="+path), testProgram(&out, &errs))
		printed := out.String() + errs.String()
		if !strings.Contains(printed, "end") && !strings.Contains(printed, "plancast_") {
			t.Errorf("history %q does not show the text:\n%s", args, printed)
		}
		for _, r := range printed {
			if unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r) {
				t.Errorf("history %q prints %U raw:\n%q", args, r, printed)
				break
			}
		}
	}
	var out, errs bytes.Buffer
	var r history.Record
	if run(t.Context(), []string{"history", "show", "2", "--history.file=" + path}, testProgram(&out, &errs)); json.Unmarshal(out.Bytes(), &r) != nil || r.Failure == nil || r.Failure.Hint != strings.ToValidUTF8(hostile, "\uFFFD") {
		t.Errorf("the JSON of a record means something else:\n%s", out.String())
	}
}

func TestMeasurementsFromElsewhereBecomeAHistory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	for _, c := range []struct {
		args   []string
		stdin  string
		status int
		want   string
	}{
		{[]string{"import", "--csv=-", "--model=net", "--because=the old rig"}, "date,p99\n2026-01-01,12ms\n2026-02-01,9ms\n", exitOK, "2 records imported."},
		{[]string{"list"}, "", exitOK, "9 ms"},
		{[]string{"import", "--csv=-", "--model=net", "--because=once more"}, "date,p99\n2026-01-01,12ms\n", exitError, "already has a measurement"},
		{[]string{"import", "--csv=-", "--because=x"}, "date,p99,model\n", exitError, "it holds no measurement"},
		{[]string{"import", "--because=x"}, "", exitError, "either --csv or --jsonl"},
		{[]string{"audit"}, "", exitOK, "the old rig"},
		{[]string{"export", "--format=jsonl"}, "", exitOK, `"source":"stdin"`},
		{[]string{"export"}, "", exitOK, `plancast_engine_latency_seconds{model="net",precision="fp32",backend="imported",device="elsewhere",quantile="0.99"} 0.009`},
	} {
		var out, errs bytes.Buffer
		p := testProgram(&out, &errs)
		p.stdin = strings.NewReader(c.stdin)
		status := run(t.Context(), append(append([]string{"history"}, c.args...), "--history.file", path), p)
		if status != c.status || !strings.Contains(out.String()+errs.String(), c.want) {
			t.Errorf("%q: status %d; want %d and %q\n%s%s", c.args, status, c.status, c.want, out.String(), errs.String())
		}
	}
}

func TestTheVersionIsPrinted(t *testing.T) {
	var out, errs bytes.Buffer
	if status := run(t.Context(), []string{"--version"}, testProgram(&out, &errs)); status != exitOK || !strings.HasPrefix(out.String(), "plancast, version") {
		t.Errorf("status %d, %q", status, out.String())
	}
}

func TestTheListComesInPages(t *testing.T) {
	path := book(t, 5) // 60 records
	for _, c := range []struct {
		args       []string
		lines      int
		first, err string
	}{
		{nil, 60, "1 ", ""},
		{[]string{"--limit=10"}, 10, "51 ", "--before=51"},
		{[]string{"--limit=10", "--before=51"}, 10, "41 ", "--before=41"},
		{[]string{"--limit=0"}, 60, "1 ", ""},
		{[]string{"--precision=int8", "--limit=4"}, 4, "", "--before="},
		{[]string{"--version=none"}, 0, "", "No records match"},
	} {
		var out, errs bytes.Buffer
		status := run(t.Context(), append([]string{"history", "list", "--history.file", path}, c.args...), testProgram(&out, &errs))
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")[1:]
		if status != exitOK || len(lines) != c.lines || len(lines) > 0 && !strings.HasPrefix(lines[0], c.first) || !strings.Contains(errs.String(), c.err) || c.err == "" && errs.Len() > 0 {
			t.Errorf("%v: status %d, %d lines, %q, %q", c.args, status, len(lines), lines, errs.String())
		}
	}
}

func TestADamagedHistoryIsVerifiedAndSalvaged(t *testing.T) {
	path := book(t, 3)
	plancast := func(args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		status := run(t.Context(), append(args, "--history.file", path), testProgram(&out, &errs))
		return status, out.String(), errs.String()
	}
	if status, out, _ := plancast("history", "verify"); status != exitOK || !strings.Contains(out, "all 36 records are intact") {
		t.Errorf("verify: %d %s", status, out)
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	if status, out, errs := plancast("history", "backup", copied); status != exitOK || !strings.Contains(out, "36 records") {
		t.Errorf("backup: %d %s%s", status, out, errs)
	}
	// A digit of the throughput of one record.
	s, err := history.OpenReadOnly(path)
	if err != nil {
		t.Fatal(err)
	}
	var victim history.Record
	for r, err := range s.Records(t.Context(), history.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.OK() {
			victim = r
		}
	}
	s.Close()
	text, err := json.Marshal(victim.Measurement.Throughput)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	was := []byte(`"throughput_per_s":` + string(text))
	becomes := bytes.Clone(was)
	becomes[len(was)-1] ^= 1
	if err := os.WriteFile(path, bytes.ReplaceAll(b, was, becomes), 0o644); err != nil {
		t.Fatal(err)
	}
	named := fmt.Sprintf("record %d", victim.ID)
	if status, out, _ := plancast("history", "verify"); status != exitMissed || !strings.Contains(out, named) {
		t.Errorf("verify: %d %s", status, out)
	}
	if status, out, errs := plancast("history", "export", "--format=jsonl"); status != exitError || !strings.Contains(errs, named) || strings.Count(out, "\n") < 30 {
		t.Errorf("export: %d, %d lines, %s", status, strings.Count(out, "\n"), errs)
	}
	if status, _, errs := plancast("history", "show", fmt.Sprint(victim.ID)); status != exitError || !strings.Contains(errs, named) {
		t.Errorf("show: %d %s", status, errs)
	}
	saved := filepath.Join(t.TempDir(), "saved.db")
	if status, out, errs := plancast("history", "salvage", saved); status != exitOK || !strings.Contains(out, fmt.Sprintf("Lost: %d", victim.ID)) {
		t.Errorf("salvage: %d %s%s", status, out, errs)
	}
	path = saved
	if status, out, _ := plancast("history", "verify"); status != exitOK {
		t.Errorf("verify what was saved: %d %s", status, out)
	}
}

// Whatever is killed while it changes the history leaves it whole, and no
// result excluded without a line in the trail.
func TestKilledCorrectionsLeaveTheHistoryWhole(t *testing.T) {
	path := book(t, 60)
	table := filepath.Join(t.TempDir(), "more.jsonl")
	f, err := os.Create(table)
	if err != nil {
		t.Fatal(err)
	}
	imported := reporttest.Many(9, 30).Records
	for i, r := range imported {
		imported[i].Model = "more-" + r.Model
		if err := json.NewEncoder(f).Encode(imported[i]); err != nil {
			t.Fatal(err)
		}
	}
	f.Close()
	const seed = 2
	random := rand.New(rand.NewPCG(seed, seed))
	commands := [][]string{
		{"exclude", "--model=%s", "--because=noise"}, {"restore", "--model=%s", "--because=no noise"},
		{"prune", "--older-than=1h", "--keep=%d", "--because=space"}, {"backup", "%c"},
		{"import", "--jsonl=" + table, "--because=more"},
	}
	kills, keep := 0, 60
	for i := range 24 {
		args := append([]string{"history"}, commands[random.IntN(len(commands))]...)
		keep = max(keep-1, 1)
		copied := filepath.Join(t.TempDir(), fmt.Sprint("copy", i))
		name := reporttest.Many(4, 1).Models[random.IntN(4)].Name
		for j := range args {
			args[j] = strings.NewReplacer("%s", name, "%d", fmt.Sprint(keep), "%c", copied).Replace(args[j])
		}
		cmd := exec.Command(os.Args[0], append(args, "--history.file", path)...)
		cmd.Env = append(os.Environ(), actAsProgram+"=1")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(random.IntN(120))*time.Millisecond, func() { _ = cmd.Process.Kill() })
		if cmd.Wait() != nil {
			kills++
		}
		timer.Stop()
		if v, err := history.Verify(t.Context(), path); err != nil || !v.OK() {
			t.Fatalf("after %v, killed: %+v, %v", args, v, err)
		}
		if _, err := os.Stat(copied); err == nil {
			if v, err := history.Verify(t.Context(), copied); err != nil || !v.OK() {
				t.Fatalf("half a backup: %+v, %v", v, err)
			}
		}
		s, err := history.OpenReadOnly(path)
		if err != nil {
			t.Fatal(err)
		}
		trail, err := s.Audit(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		more := 0
		excluded := map[int64]bool{}
		for _, a := range trail {
			excluded[a.Record] = a.Action == history.ActionExclude
		}
		for e, err := range s.Entries(t.Context(), history.Filter{}) {
			if err != nil || e.Excluded != excluded[e.ID] {
				t.Fatalf("after %v, killed: record %d is excluded: %v, and the trail says %v; %v", args, e.ID, e.Excluded, excluded[e.ID], err)
			}
			if strings.HasPrefix(e.Model, "more-") {
				more++
			}
		}
		s.Close()
		if more != 0 && more < 9*3 { // all of them came in at once; some may be pruned since
			t.Fatalf("after %v, killed: %d of %d imported records are there", args, more, len(imported))
		}
	}
	t.Logf("killed %d times", kills)
}

func TestHistoryIsReadWhileItIsWritten(t *testing.T) {
	s := newSite(t, "")
	s.Push("net", "1", fake.Script{})
	if err := s.Open().Pass(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	status, out, errs := s.plancast("history", "list", "--config.file", s.File())
	if status != exitOK || !strings.Contains(out, "net") || !strings.Contains(out, "measured") {
		t.Errorf("list: status %d\n%s%s", status, out, errs)
	}
	status, out, _ = s.plancast("history", "show", "--config.file", s.File(), "1")
	var r history.Record
	if err := json.Unmarshal([]byte(out), &r); status != exitOK || err != nil || r.Model != "net" || !r.OK() {
		t.Errorf("show: status %d, %v\n%s", status, err, out)
	}
	if status, _, errs := s.plancast("history", "show", "--config.file", s.File(), "99"); status != exitError || !strings.Contains(errs, "record 99: no such record") {
		t.Errorf("show 99: status %d, %s", status, errs)
	}
}

func TestAReplayedExportKnowsOnlyThePast(t *testing.T) {
	s := newSite(t, launchTarget+`
milestones:
  - {name: spring, criteria: ["p99 < 3ms"], horizon: 5, share: 80%}
`)
	for i, latency := range []float64{5, 4, 3.5, 2} {
		s.Push("net", strconv.Itoa(i+1), fake.Script{Latency: ms(latency)})
	}
	if status, _, stderr := s.plancast("run", "--config.file="+s.File()); status == exitError {
		t.Fatalf("run: %s", stderr)
	}
	status, out, stderr := s.plancast("history", "export", "--config.file="+s.File(), "--replay", "--label=job=plancast", "--label=instance=host-1")
	if status != exitOK {
		t.Fatal(stderr)
	}
	var ready []string
	for _, line := range strings.Split(out, "\n") {
		if strings.HasPrefix(line, "plancast_milestone_models_ready{") {
			ready = append(ready, strings.Fields(line)[1])
		}
		if strings.HasPrefix(line, "plancast_") && !strings.Contains(line, `{job="plancast",instance="host-1",`) {
			t.Errorf("without the labels: %s", line)
		}
	}
	if want := []string{"0", "0", "1", "1"}; !slices.Equal(ready, want) { // the only change comes with the fourth result
		t.Errorf("models ready on both sides of each change: %v; want %v", ready, want)
	}
	for _, want := range []string{
		"# TYPE plancast_builds counter\n", `plancast_builds_total{job="plancast",instance="host-1",model="net",result="success"} 4 `,
		`plancast_milestone_share_ratio{job="plancast",instance="host-1",milestone="spring"} 0.8 `,
		`plancast_milestone_horizon_iterations{job="plancast",instance="host-1",milestone="spring"} 5 `,
		`milestone="spring",state="met"} 1 `, `plancast_milestone_probability{job="plancast",instance="host-1",milestone="spring"} 1 `,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("there is no %q", want)
		}
	}
	for flag, want := range map[string]string{
		"--label=job":        "write name=value",
		"--label=model=x":    "a label of plancast's own",
		"--label=my-label=x": "cannot be a label name",
	} {
		if status, _, stderr := s.plancast("history", "export", "--config.file="+s.File(), flag); status != exitError || !strings.Contains(stderr, want) {
			t.Errorf("%s: %d %s", flag, status, stderr)
		}
	}
}
