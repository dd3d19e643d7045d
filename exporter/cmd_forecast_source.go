package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/forecasting"
	"github.com/plancast/plancast/exporter/history"
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
	http             *string
	step, timeout    *time.Duration
	everySample      *bool
	siblings         *[]string
}

func sourceFlags(cmd *kingpin.CmdClause, flags historyFlags) source {
	return source{
		historyFlags: flags,
		model:        cmd.Flag("model", "History: model.").String(),
		precision:    precisionFlag(cmd),
		csv:          cmd.Flag("csv", "CSV file with the columns date,value; - is stdin. Prints how it read the file (docs/forecasting.md).").String(),
		unit:         cmd.Flag("unit", "CSV: unit of numbers without one, such as ms, %, MiB or /s. Prometheus: base unit of the values (seconds, ratio, bytes, per_second).").String(),
		url:          cmd.Flag("prometheus.url", "Prometheus, Mimir, Thanos or VictoriaMetrics, such as http://localhost:9090.").String(),
		http:         storeFlag(cmd),
		query:        cmd.Flag("query", "Prometheus: PromQL expression that gives one series.").String(),
		last:         cmd.Flag("last", "Prometheus: how far back to read, such as 90d or 1y.").Default("365d").String(),
		step:         cmd.Flag("step", "Prometheus: resolution. By default, the finest that one request allows.").Duration(),
		timeout:      cmd.Flag("prometheus.timeout", "Prometheus: timeout of one request.").Default("1m").Duration(),
		siblings:     cmd.Flag("sibling", "Other series of the same metric and project, from which the forecast learns how often gains come: CSV: a file. Prometheus: a PromQL expression; the series asked about is left out. Repeatable.").Strings(),
		everySample:  cmd.Flag("every-sample", "Prometheus: count every sample as an iteration, instead of each plancast_iteration or each new value.").Bool(),
	}
}

// precisionFlag chooses among the engines of a model in the history.
func precisionFlag(cmd *kingpin.CmdClause) *string {
	choices := []string{config.Best}
	for _, p := range engine.AllPrecisions {
		choices = append(choices, string(p))
	}
	return cmd.Flag("precision", "History: the engine, best or one of fp32, fp16, int8 and as_built.").Default(config.Best).Enum(choices...)
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
	return "", "", fmt.Errorf("--unit %q is not a unit: write one such as ms, s, %%, MiB or /s", *s.unit)
}

// table reads a series from a CSV file.
func (s source) table(name string, p program, c forecast.Criterion) ([]forecast.Observation, string, error) {
	u, suffix, err := s.given()
	if err != nil {
		return nil, "", err
	}
	if suffix != "" && u != c.Unit {
		return nil, "", fmt.Errorf("--unit %s does not fit the criterion, which is about %s", suffix, c)
	}
	in := p.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, "", err
		}
		defer f.Close()
		in = f
	}
	return forecasting.CSV{Unit: c.Unit, Suffix: suffix, Metric: c.Metric}.Read(in)
}

// tables reads the series asked about and its siblings from CSV files.
func (s source) tables(p program, c forecast.Criterion) (all []forecast.Series, notes []string, err error) {
	for i, name := range append([]string{*s.csv}, *s.siblings...) {
		one := forecast.Series{Model: *s.model, Criterion: c}
		note := ""
		flag := "csv"
		if one.Observations, note, err = s.table(name, p, c); i > 0 {
			one.Model, note, flag = name, "sibling "+name+": "+note, "sibling"
		}
		if err != nil {
			return nil, nil, fmt.Errorf("--%s %s: %w", flag, name, err)
		}
		all, notes = append(all, one), append(notes, note)
	}
	return all, notes, nil
}

// read returns the series that c is about, the other ones that the forecast learns
// from, and how they were read.
func (s source) read(ctx context.Context, p program, c forecast.Criterion) (out forecast.Series, others []forecast.Series, basis forecasting.Basis, err error) {
	switch {
	case *s.csv != "" && *s.url != "":
		return out, nil, basis, errors.New("--csv and --prometheus.url are mutually exclusive: give one of them")
	case *s.csv != "":
		var all []forecast.Series
		if all, basis.Notes, err = s.tables(p, c); err != nil {
			return out, nil, basis, err
		}
		return all[0], all[1:], basis, nil
	case *s.url != "":
		if *s.query == "" {
			return out, nil, basis, errors.New("--prometheus.url needs --query, a PromQL expression")
		}
		if basis.LookBack, err = terms.ParseDuration(*s.last); err != nil {
			return out, nil, basis, fmt.Errorf("--last: %q is not a duration such as 90d, 1y or 2160h", *s.last)
		}
		var client *http.Client
		if client, err = storeClient(*s.http, *s.timeout); err != nil {
			return out, nil, basis, err
		}
		out, others, basis.Notes, err = forecasting.ReadPrometheus(ctx, forecasting.PromQuery{
			URL: *s.url, Expr: *s.query, Siblings: *s.siblings, Criterion: c, Now: p.now(), LookBack: basis.LookBack, Step: *s.step, EverySample: *s.everySample, Client: client,
		})
	case len(*s.siblings) > 0:
		return out, nil, basis, errors.New("--sibling goes with --csv or --prometheus.url: of a history, the other models are the siblings already")
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
		return out, nil, errors.New("give --model, --csv or --prometheus.url")
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
