package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/plancast/plancast/exporter/chart"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/forecasting"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/units"
)

// forecastCommand is plancast forecast.
type forecastCommand struct {
	source
	jsonl     *bool
	criterion *string
	deadline  *string
	horizon   *int
	bounded   bool // by --horizon
	ready     *float64
	effort    *string
	format    *string
	output    *string
}

func registerForecast(app *kingpin.Application) (string, command) {
	cmd := app.Command("forecast", "Forecast how likely one series is to reach a target, and by when.")
	flags := historyFlags{config: configFlag(cmd), file: cmd.Flag("history.file", "History file. By default, the one in the configuration.").String()}
	c := &forecastCommand{
		source:    sourceFlags(cmd, flags),
		jsonl:     cmd.Flag("jsonl", "Read JSON questions from stdin, one per line, and write answers to stdout. Other flags are ignored (docs/forecasting.md).").Bool(),
		criterion: cmd.Flag("criterion", `Target, such as "p99 < 50ms".`).String(),
		deadline:  cmd.Flag("deadline", `Date by which to reach it, such as "2027-01-31" or "2027-01-31 18:00 Europe/Berlin".`).String(),
		horizon:   cmd.Flag("horizon", fmt.Sprintf("Further iterations within which to reach it; %d by default without --deadline.", terms.Horizon)).Int(),
		ready:     cmd.Flag("ready", "Probability from which it counts as on track.").Default(fmt.Sprint(terms.Ready)).Float64(),
		effort:    cmd.Flag("effort", "Whether people work on the models: active or maintenance. By default, inferred from the history.").Enum(string(forecast.Active), string(forecast.Maintenance)),
		format:    cmd.Flag("format", "Format: text, json or svg (a chart of the history and the forecast).").Default("text").Enum("text", "json", "svg"),
		output:    cmd.Flag("output", "Output file. By default, stdout.").String(),
	}
	cmd.GetFlag("horizon").IsSetByUser(&c.bounded)
	return cmd.FullCommand(), c
}

func (c *forecastCommand) run(ctx context.Context, p program) (int, error) {
	if *c.jsonl {
		return exitOK, forecasting.ServeJSONL(p.stdin, p.stdout)
	}
	if *c.criterion == "" {
		return 0, errors.New(`--criterion is needed, such as --criterion "p99 < 50ms"`)
	}
	if *c.ready <= 0 || *c.ready >= 1 {
		return 0, fmt.Errorf("--ready %v: write a probability of more than 0 and less than 1", *c.ready)
	}
	if c.bounded && *c.horizon < 1 || *c.horizon > terms.MaxHorizon {
		return 0, fmt.Errorf("--horizon %d: write 1 to %d", *c.horizon, terms.MaxHorizon)
	}
	criterion, err := forecast.ParseCriterion(*c.criterion, c.unitOf)
	if err != nil && *c.url != "" && *c.unit == "" {
		err = fmt.Errorf("%w: write a number in the base unit, or name the unit with --unit, such as --unit seconds", err)
	}
	if err == nil {
		err = config.CheckCriterion(*c.criterion, criterion)
	}
	if err != nil {
		return 0, fmt.Errorf("--criterion: %w", err)
	}
	goal := forecast.Goal{Iterations: *c.horizon, Ready: *c.ready, Effort: forecast.EffortLevel(*c.effort)}
	if *c.deadline == "" && goal.Iterations == 0 {
		goal.Iterations = terms.Horizon
	}
	if *c.deadline != "" {
		zone, err := c.zone()
		if err != nil {
			return 0, err
		}
		if goal.Deadline, err = terms.ParseDeadline(*c.deadline, zone); err != nil {
			return 0, fmt.Errorf("--deadline: %w", err)
		}
	}
	series, others, basis, err := c.read(ctx, p, criterion)
	if err != nil {
		return 0, err
	}
	for _, o := range series.Observations {
		if o.Time.After(p.now()) {
			basis.Notes = append(basis.Notes, "A result is from "+o.Time.Format(time.DateOnly)+", which is yet to come: check the dates")
			break
		}
	}
	f, err := forecast.Single(series, goal, p.now(), forecast.Options{Score: true, Siblings: others})
	if err != nil {
		return 0, err
	}
	return exitOK, toFile(*c.output, p.stdout, func(w io.Writer) error {
		switch *c.format {
		case "json":
			return indented(w, forecasting.Answer{Forecast: f, Basis: basis})
		case "svg":
			return chart.Fan(w, series, f, goal)
		default:
			return forecasting.WriteText(w, f, basis, criterion.Unit)
		}
	})
}

func indented(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// seriesOf returns the series of every model of a history for a criterion.
func seriesOf(ctx context.Context, store *history.Store, sel config.Select, c forecast.Criterion, now time.Time) (out []forecast.Series, err error) {
	var records []history.Record
	for r, err := range store.Records(ctx, history.Filter{}) {
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	for _, h := range history.ByModel(history.Entries(records)) {
		out = append(out, standing.Series(sel, c, h, now))
	}
	return out, nil
}

// backtestCommand is plancast backtest.
type backtestCommand struct {
	historyFlags
	metric    *string
	precision *string
	csv       *[]string
	higher    *bool
	format    *string
	output    *string
}

func registerBacktest(app *kingpin.Application) (string, command) {
	cmd := app.Command("backtest", "Back-test the forecast: compare what it would have said at each moment with what happened.")
	flags := historyFlags{config: configFlag(cmd), file: cmd.Flag("history.file", "History file. By default, the one in the configuration.").String()}
	return cmd.FullCommand(), &backtestCommand{
		historyFlags: flags,
		metric:       cmd.Flag("metric", "History: the quantity, such as p99.").Default("p99").String(),
		precision:    precisionFlag(cmd),
		csv:          cmd.Flag("csv", "CSV file of one series with the columns time,value, instead of the history. Repeatable.").Strings(),
		higher:       cmd.Flag("higher-is-better", "CSV: larger values are better.").Bool(),
		format:       cmd.Flag("format", "Format: text, json or svg (the reliability diagram).").Default("text").Enum("text", "json", "svg"),
		output:       cmd.Flag("output", "Output file. By default, stdout.").String(),
	}
}

func (c *backtestCommand) run(ctx context.Context, p program) (int, error) {
	series, err := c.series(ctx, p)
	if err != nil {
		return 0, err
	}
	bar := progressBar{w: p.stderr}
	report := forecast.Backtest(series, forecast.BacktestOptions{Peers: true, Progress: bar.show})
	return exitOK, toFile(*c.output, p.stdout, func(w io.Writer) error {
		switch *c.format {
		case "json":
			return indented(w, report)
		case "svg":
			return chart.Reliability(w, report)
		default:
			return forecasting.WriteReport(w, report)
		}
	})
}

func (c *backtestCommand) series(ctx context.Context, p program) ([]forecast.Series, error) {
	if len(*c.csv) > 0 {
		return c.fromFiles()
	}
	q, err := history.QuantityByName(*c.metric)
	if err != nil {
		return nil, fmt.Errorf("--metric: %w", err)
	}
	s, err := c.open()
	if err != nil {
		return nil, err
	}
	defer s.Close()
	// The back-test asks about targets of its own; this one only says which
	// figure is meant and which way is better.
	return seriesOf(ctx, s, config.Select{Precision: *c.precision}, figure(q.Name, q.Unit, q.LowerIsBetter), p.now())
}

func figure(name string, u units.Unit, lowerIsBetter bool) forecast.Criterion {
	c := forecast.Criterion{Metric: name, Comparison: forecast.AtMost, Unit: u}
	if !lowerIsBetter {
		c.Comparison = forecast.AtLeast
	}
	return c
}

func (c *backtestCommand) fromFiles() ([]forecast.Series, error) {
	var out []forecast.Series
	for _, name := range *c.csv {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		observations, err := forecasting.ReadCSV(f, units.None)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("--csv %s: %w", name, err)
		}
		out = append(out, forecast.Series{Model: name, Criterion: figure("value", units.None, !*c.higher), Observations: observations})
	}
	return out, nil
}

// progressBar shows how far a long command is, on a terminal or in a log.
type progressBar struct {
	w     io.Writer
	shown int // in tenths
}

func (b *progressBar) show(done, total int) {
	if n := done * 10 / max(total, 1); n > b.shown {
		b.shown = n
		fmt.Fprintf(b.w, "%3d %% done\n", n*10)
	}
}
