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
	cmd, flags := historyCommand(app, "export", "Write the history for other programs.")
	return cmd.FullCommand(), &historyExport{
		historyFlags: flags,
		model:        cmd.Flag("model", "Only this model.").String(),
		format:       cmd.Flag("format", "openmetrics (for promtool tsdb create-blocks-from openmetrics, and VictoriaMetrics), csv or jsonl.").Default("openmetrics").Enum("openmetrics", "csv", "jsonl"),
		output:       cmd.Flag("output", "Output file. By default, stdout.").String(),
		step: cmd.Flag("step", "openmetrics: repeat each result at this interval until the next one, as scraping would; "+
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
	if *c.model != "" {
		next, stop := iter.Pull2(s.Entries(ctx, history.Filter{Model: *c.model, Limit: 1}))
		_, _, any := next()
		stop()
		if !any {
			return 0, nothingOf(s, *c.model)
		}
	}
	damaged := 0
	// Whole: an export notices damage, and records that are missing.
	records := history.Skip(s.Records(ctx, history.Filter{Model: *c.model, Whole: true}), reportDamage(p, &damaged))
	if *c.replay {
		if options.Replay, err = c.past(records); err != nil {
			return 0, err
		}
		damaged = 0 // it is read, and reported, once more
	}
	err = toFile(*c.output, p.stdout, func(w io.Writer) error {
		switch *c.format {
		case "csv":
			return history.WriteCSV(w, records)
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
