package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/daemon"
	"github.com/plancast/plancast/exporter/pass"
	"github.com/plancast/plancast/exporter/pause"
	"github.com/plancast/plancast/exporter/report"
	"github.com/plancast/plancast/exporter/web"
)

// configFlag is --config.file, the same for every command.
func configFlag(cmd *kingpin.CmdClause) *string {
	return cmd.Flag("config.file", "Path of plancast's configuration file.").Default("plancast.yml").String()
}

// runCommand is plancast run: one pass, for people and CI.
type runCommand struct {
	config *string
	models *[]string
	again  againFlags
	once   *bool
	format *string
	output *string
	notify *bool
	meta   *map[string]string
	gate   gateFlags
}

func registerRun(app *kingpin.Application) (string, command) {
	cmd := app.Command("run", "Measure what has no result yet and print the report. Exits with 0 if the newest version of every model is measured and meets every target, 1 if a target is missed, 2 if that cannot be decided.")
	return cmd.FullCommand(), &runCommand{
		config: configFlag(cmd),
		models: cmd.Flag("model", "Only this model, or models that match this pattern. Repeatable.").Strings(),
		again:  newAgainFlags(cmd),
		once:   cmd.Flag("once", "Make one pass and take every file as it is. Use it for a checkout, which is complete.").Bool(),
		format: cmd.Flag("format", "Format of the report: text, markdown or json.").Default("text").Enum("text", "markdown", "json"),
		output: cmd.Flag("output", "Output file of the report. By default, stdout.").String(),
		meta:   cmd.Flag("meta", "What changed in the candidates measured now: "+strings.Join(change.Keys, ", ")+", or a free tag, as key=value. It takes precedence over change.yml. Repeatable.").PlaceHolder("KEY=VALUE").StringMap(),
		gate:   newGateFlags(cmd),
		notify: cmd.Flag("notify", "Notify the configured receivers. Each message is tried once; the next plancast serve sends the rest.").Bool(),
	}
}

func (c *runCommand) run(ctx context.Context, p program) (int, error) {
	cfg, err := config.Load(*c.config)
	if err != nil {
		return 0, err
	}
	if cfg.Source != nil {
		return 0, fmt.Errorf("%s is a fleet daemon's configuration, which measures nothing: run plancast serve with it, or name an exporter's", *c.config)
	}
	only, err := selection(*c.models)
	if err != nil {
		return 0, err
	}
	again, err := c.again.request(cfg, only, p.now())
	if err != nil {
		return 0, err
	}
	meta, err := change.FromTags(*c.meta)
	if err != nil {
		return 0, fmt.Errorf("--meta %w", err)
	}
	if *c.once {
		cfg.Repository.Quiet = 0 // a checkout is complete
	}
	o := p.daemon(cfg)
	o.Only, o.Unnotified, o.Change = only, !*c.notify, meta
	d, err := daemon.New(o)
	if errors.Is(err, daemon.ErrBusy) && len(again) > 0 {
		return 0, fmt.Errorf("%w; a plancast serve with --web.enable-lifecycle takes POST /api/v1/run?again=true", err)
	}
	if err != nil {
		return 0, err
	}
	defer d.Close()
	g, err := c.gate.open(ctx, p, cfg)
	if err != nil {
		return 0, err
	}
	if err := c.measure(ctx, p, d, only, again); err != nil {
		v := d.View()
		if !d.Scanned() {
			return 0, err
		}
		v.Partial = fmt.Sprintf("the run ended early (%v); the results below are those so far", err)
		if ctx.Err() != nil {
			v.Partial = "the run was interrupted; the results below are those so far"
		}
		return 0, errors.Join(err, c.write(p, v))
	}
	d.Renew()
	v := d.View()
	if len(*c.models) > 0 && len(v.Models) == 0 {
		return 0, fmt.Errorf("no model in %s matches --model %s", cfg.Repository.URL, strings.Join(*c.models, ", "))
	}
	if err := g.judge(ctx, d, &v); err != nil {
		return 0, err
	}
	if err := errors.Join(c.write(p, v), g.write(p, v)); err != nil {
		return 0, err
	}
	for _, x := range v.Gaps {
		fmt.Fprintf(p.stderr, "plancast run: no result: %s\n", x.Text)
	}
	if *c.notify {
		left, err := d.Flush(ctx)
		if err != nil {
			return 0, err
		}
		if left > 0 {
			p.log.Warn("Notifications are waiting", "left", left, "note", "the next plancast serve or plancast run --notify with this state folder sends them")
		}
	}
	return v.ExitCode(nil), nil
}

// measure makes passes until nothing is left that time will change. The first one
// measures again what was asked for.
func (c *runCommand) measure(ctx context.Context, p program, d *daemon.Daemon, only func(string) bool, again []pass.Again) error {
	for {
		if err := d.Pass(ctx, only, again...); err != nil {
			return err
		}
		again = nil
		pending := d.Pending(only)
		if *c.once || len(pending) == 0 {
			return nil
		}
		next := slices.MinFunc(pending, func(a, b candidate.Pending) int { return a.Until.Compare(b.Until) })
		wait := max(next.Until.Sub(p.now()), minWait)
		p.log.Info("Waiting for a version", "model", next.Model, "version", next.Version, "reason", next.Reason, "wait", wait.Round(time.Millisecond))
		if err := pause.For(ctx, wait); err != nil {
			return err
		}
	}
}

// minWait keeps a file that changes all the time from a pass without pause.
const minWait = 200 * time.Millisecond

func (c *runCommand) write(p program, v report.View) error {
	err := toFile(*c.output, p.stdout, func(w io.Writer) error { return web.Formats[*c.format].Write(w, v) })
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// selection is a function that reports whether a model matches one of the
// patterns; nil, for all, when there are none.
func selection(patterns []string) (func(model string) bool, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	for _, x := range patterns {
		if _, err := path.Match(x, ""); err != nil {
			return nil, fmt.Errorf("--model %q is not a pattern: write a model's name, or one such as \"resnet*\"", x)
		}
	}
	return config.Select{Models: patterns}.Matches, nil
}

// toFile writes to a file, or to stdout when none is named.
func toFile(file string, stdout io.Writer, write func(io.Writer) error) error {
	if file == "" {
		return write(stdout)
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}
