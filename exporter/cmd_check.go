package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/compare"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/daemon"
	"github.com/plancast/plancast/exporter/fleet"
	"github.com/plancast/plancast/exporter/pass"
	"github.com/plancast/plancast/exporter/report"
	"github.com/plancast/plancast/exporter/workload"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/units"
)

// checkCommand is plancast check: it validates and promises, and does nothing.
type checkCommand struct{ config *string }

func registerCheck(app *kingpin.Application) (string, command) {
	cmd := app.Command("check", "Validate the configuration and the model repository, and show what a pass would do.")
	return cmd.FullCommand(), &checkCommand{config: configFlag(cmd)}
}

func (c *checkCommand) run(ctx context.Context, p program) (int, error) {
	cfg, err := config.Load(*c.config)
	if err != nil {
		return 0, err
	}
	w := p.stdout
	fmt.Fprintf(w, "Configuration %s is valid.\n\n", *c.config)
	if s := cfg.Source; s != nil {
		fmt.Fprintf(w, "Source      %s, read every %s; models are distinguished by %s\n", s.URL, units.Format(s.Interval.Seconds(), units.Seconds), strings.Join(s.By, ", "))
	} else {
		fmt.Fprintf(w, "Repository  %s, scanned %s\n", cfg.Repository.URL, cadence(cfg.Cron))
		fmt.Fprintf(w, "State       %s\n", cfg.State)
	}
	for _, x := range cfg.Workloads {
		fmt.Fprintf(w, "Workload    %s\n", workloadSentence(x, cfg.Benchmark, cfg.Pair))
	}
	for _, t := range cfg.Targets {
		fmt.Fprintf(w, "Target      %s: %s\n", t.Name, selectionWords(t.Select, t.Criteria, t.Relative...))
	}
	for _, m := range cfg.Milestones {
		fmt.Fprintf(w, "Milestone   %s\n", milestoneSentence(m))
	}
	if cfg.Source != nil {
		return exitOK, fleet.Check(ctx, w, cfg)
	}

	plan, err := daemon.Plan(ctx, p.daemon(cfg))
	if err != nil {
		return 0, err
	}
	fmt.Fprintf(w, "Backend     %s\n", backendSentence(plan.Backend))
	if t := cfg.Settings(plan.Backend.Name, plan.Backend.Environment).Threads; t > 0 {
		fmt.Fprintf(w, "Threads     %s\n", threadsSentence(t, plan.Backend.Environment.Cores))
	}
	fmt.Fprintf(w, "Worker      %s\n", workerSentence(cfg.Worker, plan.Backend))
	fmt.Fprintf(w, "History     %s, %s\n", daemon.HistoryFile(cfg), count(plan.Records, "record"))
	writePlan(w, plan.Plan)
	for _, a := range daemon.Absences(cfg, plan.Plan) {
		fmt.Fprintf(w, "Attention: %s.\n", report.AbsenceText(a))
	}
	for _, x := range plan.Deleted {
		fmt.Fprintf(w, "Attention: %s.\n", daemon.DeletedText(cfg, x))
	}
	for _, x := range findings(cfg, plan.Plan) {
		fmt.Fprintf(w, "Attention: %s.\n", x)
	}
	writeReceivers(w, cfg, slices.Sorted(maps.Keys(plan.Scan.Models)))
	return exitOK, nil
}

// backendSentence reads "tensorrt 10.6.0 on NVIDIA L4 (2 side by side): it is the
// preferred backend and works here".
func backendSentence(b pass.Backend) string {
	device := b.Environment.Device
	if n := len(b.Devices); n > 1 {
		device += fmt.Sprintf(" (%d side by side)", n)
	}
	return fmt.Sprintf("%s %s on %s: %s", b.Name, b.Environment.BackendVersion, device, b.Reason)
}

// threadsSentence says on how many cores an inference runs. Where it takes all of
// several, every process that wakes up interrupts it: even on a quiet machine its
// results are disturbed.
func threadsSentence(threads, cores int) string {
	s := fmt.Sprintf("%s on %s", count(threads, "thread"), count(cores, "core"))
	if cores > 1 && threads >= cores {
		s += fmt.Sprintf("; other programs interrupt an inference on all cores, so if results are disturbed, set onnxruntime.threads to %d", cores-1)
	}
	return s
}

// workerSentence says what a worker is kept from.
func workerSentence(w config.Worker, b pass.Backend) string {
	switch {
	case w.Unconfined:
		return "not confined (worker.sandbox: off): it can read and reach what plancast can"
	case len(b.Gaps) > 0:
		return "partly confined: " + strings.Join(b.Gaps, "; ")
	}
	return "confined to its candidate's files, without network and other processes"
}

func cadence(cron string) string {
	if strings.HasPrefix(cron, "@") {
		return strings.TrimPrefix(cron, "@")
	}
	return "at " + cron
}

// selectionWords reads "p99 < 50 ms and accuracy_deviation < 0.5 % by the best
// engine of resnet*".
func selectionWords(s config.Select, criteria []forecast.Criterion, relative ...compare.Criterion) string {
	models := "every model"
	if len(s.Models) > 0 {
		models = strings.Join(s.Models, ", ")
	}
	if where := s.Where.String(); where != "" {
		models += " with " + where
	}
	engine := s.Precision + " engine"
	words := make([]string, 0, len(criteria)+len(relative))
	for _, c := range criteria {
		words = append(words, c.String())
	}
	for _, c := range relative {
		words = append(words, c.String()+" (with --baseline)")
	}
	return fmt.Sprintf("%s by the %s of %s", strings.Join(words, " and "), engine, models)
}

// workloadSentence reads "chat: 70 % sequence 32, 30 % 128, at 200 requests a second,
// for bert*; takes each engine 9 s to 19 s, up to twice that in turns with the candidate
// before".
func workloadSentence(w workload.Workload, o bench.Options, pair bool) string {
	models := "every model"
	if len(w.Models) > 0 {
		models = strings.Join(w.Models, ", ")
	}
	least, most := o.ExpectWorkload(w)
	seconds := func(d time.Duration) string { return units.Format(d.Round(time.Second).Seconds(), units.Seconds) }
	text := fmt.Sprintf("%s: %s, for %s; takes each engine %s to %s", w.Name, w, models, seconds(least), seconds(most))
	if pair {
		text += ", up to twice that in turns with the candidate before"
	}
	if remedy := o.MoreRequests(w); remedy != "" {
		text += ", which is too short for a P99: " + remedy
	}
	return text
}

// milestoneSentence reads a milestone back in words.
func milestoneSentence(m config.Milestone) string {
	var when []string
	if !m.Deadline.IsZero() {
		when = append(when, "by "+m.Deadline.Format("2 January 2006 15:04 MST"))
	}
	if m.Horizon > 0 {
		when = append(when, fmt.Sprintf("within %d iterations", m.Horizon))
	}
	share := "for all of them"
	if m.Share < 1 {
		share = "for " + units.Format(m.Share, units.Ratio) + " of them"
	}
	effort := ""
	switch m.Effort {
	case forecast.Active:
		effort = "; assumes that people work on the models"
	case forecast.Maintenance:
		effort = "; assumes that nobody works on the models"
	}
	return fmt.Sprintf("%s: %s, %s, %s; ready at a probability of %s%s",
		m.Name, selectionWords(m.Select, m.Criteria), share, strings.Join(when, " and "), units.Format(m.Ready, units.Ratio), effort)
}

func writePlan(w io.Writer, plan pass.Plan) {
	scan := plan.Scan
	fmt.Fprintf(w, "\n%s, %s.\n", count(len(scan.Models), "model"), count(scan.Versions, "version"))
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, name := range slices.Sorted(maps.Keys(scan.Models)) {
		versions := scan.Models[name]
		against := ""
		if s := plan.References[name]; s != "" {
			against = ", accuracy against " + s
		}
		fmt.Fprintf(tw, "  %s\tversions %s%s\n", name, versionRange(len(versions), versions[0].Version, versions[len(versions)-1].Version), against)
	}
	if err := tw.Flush(); err != nil {
		fmt.Fprintln(w, err)
	}
	for _, x := range scan.Pending {
		fmt.Fprintf(w, "  waiting: %s version %s: %s\n", x.Model, x.Version, x.Reason)
	}
	for _, x := range scan.Refused {
		fmt.Fprintf(w, "  rejected: %s: %s\n", x.Path, x.Reason)
	}
	fmt.Fprintf(w, "\n%s\n", outlook(plan))
	for _, j := range plan.Jobs {
		why := ""
		if j.Bridge {
			why = ", again: the environment changed (environment.remeasure)"
		}
		fmt.Fprintf(w, "  measure %s%s\n", j, expectedWords(j)+why)
	}
	for _, j := range plan.Failed {
		fmt.Fprintf(w, "  not retried: %s failed before\n", j)
	}
}

// expectedWords say how long a job takes, if that is known.
func expectedWords(j pass.Job) string {
	if j.Expected < time.Second {
		return ""
	}
	return fmt.Sprintf(", about %s", units.Format(j.Expected.Round(time.Second).Seconds(), units.Seconds))
}

// outlook says what a pass would do now.
func outlook(plan pass.Plan) string {
	var but []string
	if n := len(plan.Scan.Pending); n > 0 {
		but = append(but, count(n, "version")+" would wait")
	}
	if n := len(plan.Scan.Refused); n > 0 {
		but = append(but, fmt.Sprintf("%d rejected", n))
	}
	if n := len(plan.Failed); n > 0 {
		but = append(but, count(n, "job")+" failed before")
	}
	rest := strings.Join(but, ", ")
	switch {
	case len(plan.Jobs) > 0 && rest != "":
		return fmt.Sprintf("A pass would run %s (%s):", count(len(plan.Jobs), "job"), rest)
	case len(plan.Jobs) > 0:
		return fmt.Sprintf("A pass would run %s:", count(len(plan.Jobs), "job"))
	case rest != "":
		return fmt.Sprintf("A pass would measure nothing now: %s.", rest)
	case len(plan.Scan.Models) == 0:
		return "A pass would do nothing: the repository holds no candidate, <model>/<version>/model.onnx."
	}
	return "A pass would do nothing: every wanted version has results."
}

// count reads "1 model" or "3 models".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func versionRange(n int, first, last string) string {
	if n == 1 {
		return first
	}
	return fmt.Sprintf("%s to %s (%d)", first, last, n)
}
