package main

import (
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/daemon"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/metrics"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/units"
)

// historyFlags say which history a command reads.
type historyFlags struct {
	config *string
	file   *string
}

func historyCommand(app *kingpin.Application, name, help string) (*kingpin.CmdClause, historyFlags) {
	parent := app.GetCommand("history")
	if parent == nil {
		parent = app.Command("history", "Reads the durable history, also while plancast serve writes to it.")
	}
	cmd := parent.Command(name, help)
	return cmd, historyFlags{
		config: configFlag(cmd),
		file:   cmd.Flag("history.file", "The history itself; without it, the one of the configuration.").String(),
	}
}

func (f historyFlags) open() (*history.Store, error) {
	file := *f.file
	if file == "" {
		cfg, err := config.Load(*f.config)
		if err != nil {
			return nil, err
		}
		file = daemon.HistoryFile(cfg)
	}
	return history.OpenReadOnly(file)
}

// historyList is plancast history list.
type historyList struct {
	historyFlags
	model *string
}

func registerHistoryList(app *kingpin.Application) (string, command) {
	cmd, flags := historyCommand(app, "list", "Lists every record, a line each.")
	return cmd.FullCommand(), &historyList{flags, cmd.Flag("model", "Only this model.").String()}
}

func (c *historyList) run(ctx context.Context, p program) (int, error) {
	s, err := c.open()
	if err != nil {
		return 0, err
	}
	defer s.Close()
	tw := tabwriter.NewWriter(p.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "ID\tFINISHED\tMODEL\tVERSION\tITERATION\tMODE\tENVIRONMENT\tP99\tTHROUGHPUT\tOUTCOME")
	n := 0
	for r, err := range s.Records(ctx, history.Filter{Model: *c.model}) {
		if err != nil {
			return 0, err
		}
		n++
		writeLine(tw, r)
	}
	if err := tw.Flush(); err != nil {
		return 0, err
	}
	if n == 0 && *c.model != "" {
		return 0, nothingOf(s, *c.model)
	} else if n == 0 {
		fmt.Fprintln(p.stderr, "There are no records yet.")
	}
	return exitOK, nil
}

func nothingOf(s *history.Store, model string) error {
	return fmt.Errorf("history %s has nothing of model %s: plancast history list prints what it has", s.Path(), model)
}

func writeLine(w io.Writer, r history.Record) {
	iteration := fmt.Sprint(r.Iteration)
	if r.Iteration == 0 {
		iteration = "-" // came out of order
	}
	p99, rate, outcome := "-", "-", "measured"
	if r.OK() {
		if q, ok := r.Measurement.Latency.At(0.99); ok {
			p99 = units.Format(q.Value, units.Seconds)
		}
		rate = units.Format(r.Measurement.Throughput, units.PerSec)
		if !r.Measurement.Stable {
			outcome = "measured, unstable"
		}
	} else {
		outcome = string(r.Failure.Kind)
	}
	fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.ID, r.Finished.Format(time.RFC3339), r.Model, r.Version, iteration,
		r.Precision, r.Fingerprint, p99, rate, outcome)
}

// historyShow is plancast history show.
type historyShow struct {
	historyFlags
	id *int64
}

func registerHistoryShow(app *kingpin.Application) (string, command) {
	cmd, flags := historyCommand(app, "show", "Prints one record as JSON, with its layers.")
	return cmd.FullCommand(), &historyShow{flags, cmd.Arg("id", "The record's ID, as list prints it.").Required().Int64()}
}

func (c *historyShow) run(ctx context.Context, p program) (int, error) {
	s, err := c.open()
	if err != nil {
		return 0, err
	}
	defer s.Close()
	for r, err := range s.Records(ctx, history.Filter{AfterID: *c.id - 1, Layers: true}) {
		if err != nil {
			return 0, err
		}
		if r.ID != *c.id {
			break
		}
		return exitOK, indented(p.stdout, r)
	}
	return 0, fmt.Errorf("history %s has no record %d: plancast history list prints what it has", s.Path(), *c.id)
}

// historyExport is plancast history export.
type historyExport struct {
	historyFlags
	model  *string
	format *string
	output *string
	step   *time.Duration
	labels *[]string
	replay *bool
}

func registerHistoryExport(app *kingpin.Application) (string, command) {
	cmd, flags := historyCommand(app, "export", "Writes the history for other programs.")
	return cmd.FullCommand(), &historyExport{
		historyFlags: flags,
		model:        cmd.Flag("model", "Only this model.").String(),
		format:       cmd.Flag("format", "openmetrics (for promtool tsdb create-blocks-from openmetrics, and VictoriaMetrics), csv or jsonl.").Default("openmetrics").Enum("openmetrics", "csv", "jsonl"),
		output:       cmd.Flag("output", "File to write; stdout without it.").String(),
		step: cmd.Flag("step", "openmetrics: repeat each result at this interval until the next, as scraping would have; "+
			"at most 5m makes instant queries see the past. Without it, one sample for each result.").Default("0s").Duration(),
		labels: cmd.Flag("label", "openmetrics: a label for every series, such as job=plancast (repeatable).").Strings(),
		replay: cmd.Flag("replay", "openmetrics: add what depends on the configuration as it stands, walked through from the beginning with nothing from the future: "+
			"builds by result, targets, milestones and their forecasts.").Bool(),
	}
}

func (c *historyExport) run(ctx context.Context, p program) (status int, err error) {
	if *c.step < 0 {
		return 0, fmt.Errorf("--step %s: give 0s or more, such as 5m", *c.step)
	}
	options := metrics.ExportOptions{Step: *c.step, Until: p.now()}
	for _, text := range *c.labels {
		name, value, err := metrics.ParseLabel(text)
		if err != nil {
			return 0, fmt.Errorf("--label: %w", err)
		}
		options.Labels = append(options.Labels, name, value)
	}
	s, err := c.open()
	if err != nil {
		return 0, err
	}
	defer s.Close()
	records := s.Records(ctx, history.Filter{Model: *c.model})
	if *c.replay {
		if options.Replay, err = c.past(records); err != nil {
			return 0, err
		}
	}
	if *c.model != "" {
		next, stop := iter.Pull2(records)
		_, _, any := next()
		stop()
		if !any {
			return 0, nothingOf(s, *c.model)
		}
	}
	return exitOK, toFile(*c.output, p.stdout, func(w io.Writer) error {
		switch *c.format {
		case "csv":
			return history.WriteCSV(w, records)
		case "jsonl":
			return history.WriteJSONLines(w, records)
		default:
			return metrics.WriteOpenMetrics(w, records, options)
		}
	})
}

// past answers what was known at a moment of the history, under the
// configuration as it stands: the models are those with a record by then.
func (c *historyExport) past(records iter.Seq2[history.Record, error]) (func(time.Time) (*standing.State, error), error) {
	cfg, err := config.Load(*c.config)
	if err != nil {
		return nil, err
	}
	var all []history.Record
	for r, err := range records {
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return func(at time.Time) (*standing.State, error) {
		e := standing.Evidence{Now: at, Targets: cfg.Targets, Milestones: cfg.Milestones}
		known := map[string]bool{}
		for _, r := range all {
			// An export tells milliseconds.
			if r.Finished.Truncate(time.Millisecond).After(at) {
				continue
			}
			r.Finished = r.Finished.Truncate(time.Millisecond)
			e.Records = append(e.Records, r)
			if !known[r.Model] {
				known[r.Model] = true
				e.Models = append(e.Models, standing.Held{Name: r.Model, Owner: cfg.ModelFor(r.Model).Owner, Precisions: cfg.Precisions})
			}
		}
		slices.SortFunc(e.Models, func(a, b standing.Held) int { return strings.Compare(a.Name, b.Name) })
		return standing.Derive(e)
	}, nil
}
