package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
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

// source says where a series comes from: the durable history, a CSV file or a
// Prometheus-compatible API.
type source struct {
	historyFlags
	model, precision *string
	csv, unit        *string
	url, query       *string
	last             *string
	step, timeout    *time.Duration
	everySample      *bool
}

func sourceFlags(cmd *kingpin.CmdClause, flags historyFlags) source {
	return source{
		historyFlags: flags,
		model:        cmd.Flag("model", "History: the model.").String(),
		precision:    cmd.Flag("precision", "History: the engine that counts.").Default(config.Best).Enum(config.Best, "fp32", "fp16", "int8"),
		csv:          cmd.Flag("csv", "CSV file with the columns date,value; - is stdin. It says what it read (docs/forecasting.md).").String(),
		unit:         cmd.Flag("unit", "CSV: unit of numbers that bring none, such as ms, %, MiB or /s. Prometheus: base unit of the values (seconds, ratio, bytes, per_second).").String(),
		url:          cmd.Flag("prometheus.url", "Prometheus, Mimir, Thanos or VictoriaMetrics, such as http://localhost:9090.").String(),
		query:        cmd.Flag("query", "Prometheus: PromQL expression that gives one series.").String(),
		last:         cmd.Flag("last", "Prometheus: how far back to read, such as 90d or 1y.").Default("365d").String(),
		step:         cmd.Flag("step", "Prometheus: resolution. By default, the finest that one request allows.").Duration(),
		timeout:      cmd.Flag("prometheus.timeout", "Prometheus: timeout of one request.").Default("1m").Duration(),
		everySample:  cmd.Flag("every-sample", "Prometheus: count every sample as an iteration, instead of each plancast_iteration or each new value.").Bool(),
	}
}

// unitOf is the unit of a metric: those of the history have theirs, others that
// of --unit.
func (s source) unitOf(metric string) (units.Unit, error) {
	if *s.csv == "" && *s.url == "" {
		return history.UnitOf(metric)
	}
	u, _, err := s.given()
	if known, unknown := history.UnitOf(metric); *s.unit == "" && *s.csv != "" && unknown == nil {
		return known, nil
	}
	return u, err
}

// given is the base unit that --unit means, and the suffix of a number in it, "" for
// the base unit itself.
func (s source) given() (u units.Unit, suffix string, err error) {
	if u := units.Unit(*s.unit); u.Valid() {
		return u, "", nil
	}
	for _, u := range []units.Unit{units.Seconds, units.Ratio, units.Bytes, units.PerSec} {
		if _, err := units.Parse("1"+*s.unit, u); err == nil {
			return u, *s.unit, nil
		}
	}
	return "", "", fmt.Errorf("--unit %q is no unit: write one such as ms, s, %%, MiB or /s", *s.unit)
}

// table reads a series from a CSV file.
func (s source) table(r io.Reader, c forecast.Criterion) ([]forecast.Observation, []string, error) {
	u, suffix, err := s.given()
	if err != nil {
		return nil, nil, err
	}
	if suffix != "" && u != c.Unit {
		return nil, nil, fmt.Errorf("--unit %s does not fit the criterion, which is about %s", suffix, c)
	}
	out, note, err := forecasting.CSV{Unit: c.Unit, Suffix: suffix, Metric: c.Metric}.Read(r)
	if note == "" {
		return out, nil, err
	}
	return out, []string{note}, err
}

// read returns the series that c is about, the other ones of its history, and how
// it was read.
func (s source) read(ctx context.Context, p program, c forecast.Criterion) (out forecast.Series, others []forecast.Series, basis forecasting.Basis, err error) {
	out = forecast.Series{Model: *s.model, Criterion: c}
	switch {
	case *s.csv != "" && *s.url != "":
		return out, nil, basis, errors.New("--csv and --prometheus.url exclude each other: give one source")
	case *s.csv == "-":
		out.Observations, basis.Notes, err = s.table(p.stdin, c)
	case *s.csv != "":
		var f *os.File
		if f, err = os.Open(*s.csv); err == nil {
			defer f.Close()
			out.Observations, basis.Notes, err = s.table(f, c)
		}
	case *s.url != "":
		if *s.query == "" {
			return out, nil, basis, errors.New("--prometheus.url needs --query, a PromQL expression")
		}
		if basis.LookBack, err = terms.ParseDuration(*s.last); err != nil {
			return out, nil, basis, fmt.Errorf("--last: %q is not a duration such as 90d, 1y or 2160h", *s.last)
		}
		out, basis.Notes, err = forecasting.ReadPrometheus(ctx, forecasting.PromQuery{
			URL: *s.url, Expr: *s.query, Criterion: c, Now: p.now(), LookBack: basis.LookBack, Step: *s.step, EverySample: *s.everySample, Timeout: *s.timeout,
		})
	default:
		out, others, err = s.fromHistory(ctx, c, p.now())
	}
	return out, others, basis, err
}

// zone is the one of a deadline that names none: the configuration's, where the
// series comes from its history, and else UTC.
func (s source) zone() (*time.Location, error) {
	if *s.csv != "" || *s.url != "" || *s.file != "" {
		return time.UTC, nil
	}
	cfg, err := config.Load(*s.config)
	if err != nil {
		return nil, err
	}
	return cfg.Location, nil
}

// fromHistory returns the series of the model asked about, and those of the
// other models, whose record the forecast learns from.
func (s source) fromHistory(ctx context.Context, c forecast.Criterion, now time.Time) (out forecast.Series, others []forecast.Series, err error) {
	if *s.model == "" {
		return out, nil, errors.New("name a --model of the history, or give --csv or --prometheus.url")
	}
	store, err := s.open()
	if err != nil {
		return out, nil, err
	}
	defer store.Close()
	all, err := seriesOf(ctx, store, config.Select{Precision: *s.precision}, c, now)
	if err != nil {
		return out, nil, err
	}
	i := slices.IndexFunc(all, func(x forecast.Series) bool { return x.Model == *s.model })
	if i < 0 {
		return out, nil, nothingOf(store, *s.model)
	}
	return all[i], slices.Delete(slices.Clone(all), i, i+1), nil
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

// forecastCommand is plancast forecast.
type forecastCommand struct {
	source
	jsonl     *bool
	criterion *string
	deadline  *string
	horizon   *int
	ready     *float64
	format    *string
	output    *string
}

func registerForecast(app *kingpin.Application) (string, command) {
	cmd := app.Command("forecast", "Forecast how likely one series is to reach a target, and when.")
	flags := historyFlags{config: configFlag(cmd), file: cmd.Flag("history.file", "History file. By default, the one in the configuration.").String()}
	return cmd.FullCommand(), &forecastCommand{
		source:    sourceFlags(cmd, flags),
		jsonl:     cmd.Flag("jsonl", "Read JSON questions from stdin, one per line, and write answers to stdout. Other flags are ignored (docs/forecasting.md).").Bool(),
		criterion: cmd.Flag("criterion", `The target, such as "p99 < 50ms".`).String(),
		deadline:  cmd.Flag("deadline", `Date by which to reach it, such as "2027-01-31" or "2027-01-31 18:00 Europe/Berlin".`).String(),
		horizon:   cmd.Flag("horizon", fmt.Sprintf("Further iterations within which to reach it; %d by default without --deadline.", terms.Horizon)).Int(),
		ready:     cmd.Flag("ready", "Probability from which it counts as on track.").Default(fmt.Sprint(terms.Ready)).Float64(),
		format:    cmd.Flag("format", "text, json, or svg: a chart of the history and the forecast.").Default("text").Enum("text", "json", "svg"),
		output:    cmd.Flag("output", "Output file. By default, stdout.").String(),
	}
}

func (c *forecastCommand) run(ctx context.Context, p program) (int, error) {
	if *c.jsonl {
		return exitOK, forecasting.ServeJSONL(p.stdin, p.stdout)
	}
	if *c.criterion == "" {
		return 0, errors.New(`--criterion is needed, such as --criterion "p99 < 50ms"`)
	}
	criterion, err := forecast.ParseCriterion(*c.criterion, c.unitOf)
	if err != nil {
		return 0, fmt.Errorf("--criterion: %w", err)
	}
	goal := forecast.Goal{Iterations: *c.horizon, Ready: *c.ready}
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
	cmd := app.Command("backtest", "Score the forecast on the past: compare what it would have said at each moment with what happened.")
	flags := historyFlags{config: configFlag(cmd), file: cmd.Flag("history.file", "History file. By default, the one in the configuration.").String()}
	return cmd.FullCommand(), &backtestCommand{
		historyFlags: flags,
		metric:       cmd.Flag("metric", "History: the quantity, such as p99.").Default("p99").String(),
		precision:    cmd.Flag("precision", "History: the engine that counts.").Default(config.Best).Enum(config.Best, "fp32", "fp16", "int8"),
		csv:          cmd.Flag("csv", "CSV file of one series with the columns time,value, instead of the history. Repeatable.").Strings(),
		higher:       cmd.Flag("higher-is-better", "CSV: larger values are better.").Bool(),
		format:       cmd.Flag("format", "text, json, or svg: the reliability diagram.").Default("text").Enum("text", "json", "svg"),
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
			return nil, fmt.Errorf("%s: %w", name, err)
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
		fmt.Fprintf(b.w, "%3d %% of %d histories\n", n*10, total)
	}
}
