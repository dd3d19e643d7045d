package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/alecthomas/kingpin/v2"

	"github.com/plancast/plancast/exporter/compare"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/report"
)

// compareCommand is plancast compare.
type compareCommand struct {
	historyFlags
	a, b, model, precision, format, output *string
}

func registerCompare(app *kingpin.Application) (string, command) {
	cmd := app.Command("compare", "Compare two results: latency, throughput, memory, accuracy, layers and conditions. Each is an ID as plancast history list prints it, version:N, newest, base (the one before the newest) or best.")
	return cmd.FullCommand(), &compareCommand{
		historyFlags: newHistoryFlags(cmd),
		a:            cmd.Arg("a", "The result to compare with.").Required().String(),
		b:            cmd.Arg("b", "The result that is compared.").Required().String(),
		model:        cmd.Flag("model", "Model for version:N, newest, base and best. Required if the history has several.").String(),
		precision:    cmd.Flag("precision", "Only this precision. By default, each one that both have.").String(),
		format:       cmd.Flag("format", "Format of the comparison: text, markdown or json.").Default("text").Enum("text", "markdown", "json"),
		output:       cmd.Flag("output", "Output file of the comparison. By default, stdout.").String(),
	}
}

func (c *compareCommand) run(ctx context.Context, p program) (int, error) {
	s, err := c.open()
	if err != nil {
		return 0, err
	}
	defer s.Close()
	results, err := compare.InStore(ctx, s, compare.Question{A: *c.a, B: *c.b, Model: *c.model, Precision: engine.Precision(*c.precision)}, compare.Options{Margin: c.margin()})
	if errors.Is(err, compare.ErrWhichModel) {
		return 0, fmt.Errorf("%w: name one with --model", err)
	}
	if err != nil {
		return 0, err
	}
	return exitOK, toFile(*c.output, p.stdout, func(w io.Writer) error { return report.CompareFormats[*c.format](w, results) })
}

// margin is that of the configuration, or the default beside --history.file.
func (c *compareCommand) margin() float64 {
	cfg := config.Default()
	if *c.file == "" {
		if own, err := config.Load(*c.config); err == nil {
			cfg = own
		}
	}
	return cfg.Guard.Margin
}
