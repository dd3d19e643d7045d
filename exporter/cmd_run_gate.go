package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/alecthomas/kingpin/v2"

	"github.com/plancast/plancast/exporter/baseline"
	"github.com/plancast/plancast/exporter/compare"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/daemon"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/report"
)

// gateFlags say what else a run is held to, and who reads it.
type gateFlags struct {
	baseline *string
	gates    *[]string
	junit    *string
}

func newGateFlags(cmd *kingpin.CmdClause) gateFlags {
	return gateFlags{
		baseline: cmd.Flag("baseline", "Results to compare with: a file (plancast run --format json, or plancast history export --format jsonl), the URL of a plancast serve, version:N, or branch:NAME. Relative criteria of targets, such as \"p99 <= base + 5%\", decide. Without relative criteria, a regression exits with 1.").String(),
		gates:    cmd.Flag("gate", "Least probability of a milestone, such as \"milestone spring >= 60%\". Below it, the run exits with 1. Repeatable.").Strings(),
		junit:    cmd.Flag("junit", "Output file of a JUnit report of the checks behind the exit status.").String(),
	}
}

// gate is what the flags ask for, read before anything is measured.
type gate struct {
	gateFlags
	gates []report.Gate
	base  []history.Record
	cfg   config.Config
}

// open reads the gates and the baseline; the history of d is where version:N and
// branch:NAME are looked up.
func (f gateFlags) open(ctx context.Context, p program, cfg config.Config) (gate, error) {
	g := gate{gateFlags: f, cfg: cfg}
	for _, text := range *f.gates {
		x, err := report.ParseGate(text)
		if err == nil && !slices.ContainsFunc(cfg.Milestones, func(m config.Milestone) bool { return m.Name == x.Milestone }) {
			err = fmt.Errorf("the configuration has no milestone %q: plancast check lists those that it has", x.Milestone)
		}
		if err != nil {
			return g, fmt.Errorf("--gate: %w", err)
		}
		g.gates = append(g.gates, x)
	}
	if *f.baseline == "" {
		if slices.ContainsFunc(cfg.Targets, func(t config.Target) bool { return len(t.Relative) > 0 }) {
			p.log.Warn("Relative criteria of targets are not judged", "note", "give --baseline")
		}
		return g, nil
	}
	s, err := history.OpenReadOnly(daemon.HistoryFile(cfg))
	if err != nil {
		return g, err
	}
	defer s.Close()
	g.base, err = baseline.Sources{History: s, Report: report.Records}.Load(ctx, *f.baseline)
	return g, err
}

// judge adds to a view what the flags ask for.
func (g gate) judge(ctx context.Context, d *daemon.Daemon, v *report.View) error {
	for _, x := range g.gates {
		v.Gates = append(v.Gates, x.Judge(*v))
	}
	if *g.baseline == "" {
		return nil
	}
	own, err := d.Newest(ctx)
	if err != nil {
		return err
	}
	b := baseline.Compare(*g.baseline, g.base, own, g.cfg.Targets, compare.Options{Margin: g.cfg.Guard.Margin})
	v.Baseline = &b
	return nil
}

// write writes the JUnit report, when one was asked for.
func (g gate) write(p program, v report.View) error {
	if *g.junit == "" {
		return nil
	}
	if err := toFile(*g.junit, p.stdout, func(w io.Writer) error { return report.JUnit(w, v) }); err != nil {
		return fmt.Errorf("write JUnit report: %w", err)
	}
	return nil
}
