package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/units"
)

// historyMark is plancast history exclude and restore.
type historyMark struct {
	historyFlags
	authorFlags
	filter  history.Filter
	exclude bool
}

func registerHistoryExclude(app *kingpin.Application) (string, command) {
	return registerMark(app, true, "exclude", "Exclude results: they stay in the list with the reason, but no verdict or forecast uses them.")
}

func registerHistoryRestore(app *kingpin.Application) (string, command) {
	return registerMark(app, false, "restore", "Let excluded results count again.")
}

func registerMark(app *kingpin.Application, exclude bool, name, help string) (string, command) {
	cmd, flags := historyCommand(app, name, help)
	c := &historyMark{historyFlags: flags, exclude: exclude}
	cmd.Arg("id", "The record's ID, as list prints it; or give --model.").Int64Var(&c.filter.ID)
	cmd.Flag("model", "All results of this model.").StringVar(&c.filter.Model)
	cmd.Flag("version", "Only results of this version of the model.").StringVar(&c.filter.Version)
	c.authorFlags = newAuthorFlags(cmd)
	return cmd.FullCommand(), c
}

func (c *historyMark) run(ctx context.Context, p program) (int, error) {
	switch {
	case c.filter.ID != 0 && (c.filter.Model != "" || c.filter.Version != ""):
		return 0, errors.New("give either an ID or --model, not both")
	case c.filter.ID == 0 && c.filter.Model == "":
		return 0, errors.New("give an ID as plancast history list prints it, or --model with or without --version")
	}
	s, err := c.edit()
	if err != nil {
		return 0, err
	}
	defer s.Close()
	mark, done, unchanged := s.Restore, "Restored", "none of them is excluded"
	if c.exclude {
		mark, done, unchanged = s.Exclude, "Excluded", "all of them are excluded already"
	}
	n, err := mark(ctx, c.filter, c.author(p.now()))
	switch {
	case err != nil:
		return 0, err
	case n == 0:
		fmt.Fprintf(p.stdout, "Nothing changed: %s.\n", unchanged)
	default:
		fmt.Fprintf(p.stdout, "%s: %s. plancast history audit shows who changed what.\n", done, units.Count(n, "result"))
	}
	return exitOK, nil
}

// historyAudit is plancast history audit.
type historyAudit struct {
	historyFlags
	format *string
}

func registerHistoryAudit(app *kingpin.Application) (string, command) {
	cmd, flags := historyCommand(app, "audit", "Print who changed the history, when and why.")
	return cmd.FullCommand(), &historyAudit{flags, cmd.Flag("format", "Format: text or json.").Default("text").Enum("text", "json")}
}

func (c *historyAudit) run(ctx context.Context, p program) (int, error) {
	s, err := c.open()
	if err != nil {
		return 0, err
	}
	defer s.Close()
	trail, err := s.Audit(ctx, 0)
	if err != nil {
		return 0, err
	}
	if *c.format == "json" {
		if trail == nil {
			trail = []history.Audit{}
		}
		return exitOK, indented(p.stdout, trail)
	}
	tw := tabwriter.NewWriter(p.stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "TIME\tWHO\tACTION\tRECORD\tBECAUSE")
	for _, a := range trail {
		record := "-"
		if a.Record != 0 {
			record = fmt.Sprint(a.Record)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", a.At.Format(time.RFC3339), outside.Line(a.Who, 0), a.Action, record, outside.Line(a.Because, 0))
	}
	return exitOK, tw.Flush()
}
