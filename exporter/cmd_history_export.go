package main

import (
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/metrics"
	"github.com/plancast/plancast/exporter/standing"
)

// samplesFlags say which samples of the history are meant.
type samplesFlags struct {
	historyFlags
	model  *string
	step   *time.Duration
	labels *[]string
	replay *bool
}

func addSamplesFlags(cmd *kingpin.CmdClause, flags historyFlags, prefix string) samplesFlags {
	return samplesFlags{
		historyFlags: flags,
		model:        cmd.Flag("model", "Only this model.").String(),
		step: cmd.Flag("step", prefix+"Repeat each result at this interval until the next one, as scraping would; "+
			"at most 5m makes instant queries see the past. Without it, a sample on both sides of each change.").Default("0s").Duration(),
		labels: cmd.Flag("label", prefix+"Label for every series, such as job=plancast. Repeatable.").Strings(),
		replay: cmd.Flag("replay", prefix+"Add what depends on the current configuration: builds by result, targets, milestones and their forecasts. "+
			"Each point uses only what was known at that time.").Bool(),
	}
}

// options are those of the export until a moment.
func (c samplesFlags) options(until time.Time) (metrics.ExportOptions, error) {
	o := metrics.ExportOptions{Step: *c.step, Edges: *c.step == 0, Until: until}
	if *c.step < 0 {
		return o, fmt.Errorf("--step %s: give 0s or more, such as 5m", *c.step)
	}
	for _, text := range *c.labels {
		name, value, err := metrics.ParseLabel(text)
		if err != nil {
			return o, fmt.Errorf("--label: %w", err)
		}
		o.Labels = append(o.Labels, name, value)
	}
	return o, nil
}

// records are those of the history that are selected; damaged ones are reported,
// counted and left out.
func (c samplesFlags) records(ctx context.Context, p program, s *history.Store, damaged *int) (iter.Seq2[history.Record, error], error) {
	if *c.model != "" {
		next, stop := iter.Pull2(s.Entries(ctx, history.Filter{Model: *c.model, Limit: 1}))
		_, _, any := next()
		stop()
		if !any {
			return nil, nothingOf(s, *c.model)
		}
	}
	// Whole: an export notices damage, and records that are missing.
	return history.Skip(s.Records(ctx, history.Filter{Model: *c.model, Whole: true}), reportDamage(p, damaged)), nil
}

// historyExport is plancast history export.
type historyExport struct {
	samplesFlags
	format *string
	output *string
}

func registerHistoryExport(app *kingpin.Application) (string, command) {
	cmd, flags := historyCommand(app, "export", "Write the history for other programs.")
	return cmd.FullCommand(), &historyExport{
		samplesFlags: addSamplesFlags(cmd, flags, "openmetrics: "),
		format:       cmd.Flag("format", "Format: openmetrics (for promtool tsdb create-blocks-from openmetrics, and VictoriaMetrics), csv or jsonl.").Default("openmetrics").Enum("openmetrics", "csv", "jsonl"),
		output:       cmd.Flag("output", "Output file. By default, stdout.").String(),
	}
}

func (c *historyExport) run(ctx context.Context, p program) (status int, err error) {
	options, err := c.options(p.now())
	if err != nil {
		return 0, err
	}
	s, err := c.open()
	if err != nil {
		return 0, err
	}
	defer s.Close()
	damaged := 0
	records, err := c.records(ctx, p, s, &damaged)
	if err != nil {
		return 0, err
	}
	if *c.replay {
		if options.Replay, err = c.past(records); err != nil {
			return 0, err
		}
		damaged = 0 // it is read, and reported, once more
	}
	err = toFile(*c.output, p.stdout, func(w io.Writer) error {
		switch *c.format {
		case "csv":
			return c.table(ctx, w, s, records)
		case "jsonl":
			return history.WriteJSONLines(w, records)
		default:
			return metrics.WriteOpenMetrics(w, records, options)
		}
	})
	if err == nil && damaged > 0 {
		err = fmt.Errorf("%d of the history's records are damaged and not in the export", damaged)
	}
	return exitOK, err
}

// table writes the history as CSV, with a column for each figure of a workload that it
// holds.
func (c *historyExport) table(ctx context.Context, w io.Writer, s *history.Store, records iter.Seq2[history.Record, error]) error {
	unread := func(error) {} // the records report what is damaged
	workloads, err := history.WorkloadQuantities(history.Skip(s.Entries(ctx, history.Filter{Model: *c.model}), unread))
	if err != nil {
		return err
	}
	return history.WriteCSV(w, records, workloads)
}

// past answers what was known at a moment of the history, under the
// configuration as it stands: the models are those with a record by then.
func (c samplesFlags) past(records iter.Seq2[history.Record, error]) (func(time.Time) (*standing.State, error), error) {
	cfg, err := config.Load(*c.config)
	if err != nil {
		return nil, err
	}
	var all []history.Record
	for r, err := range records {
		if err != nil {
			return nil, err
		}
		if r.Excluded == nil && r.SupersededBy == 0 {
			all = append(all, r)
		}
	}
	return func(at time.Time) (*standing.State, error) {
		e := standing.Evidence{Now: at, Targets: cfg.Targets, Milestones: cfg.Milestones}
		known := map[string]bool{}
		for _, r := range all {
			// An export has milliseconds.
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
