package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/user"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/daemon"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/units"
)

// historyFlags say which history a command works on.
type historyFlags struct {
	config *string
	file   *string
}

func historyCommand(app *kingpin.Application, name, help string) (*kingpin.CmdClause, historyFlags) {
	parent := app.GetCommand("history")
	if parent == nil {
		parent = app.Command("history", "Read, correct and maintain the history. Safe while plancast serve writes to it.")
	}
	cmd := parent.Command(name, help)
	return cmd, newHistoryFlags(cmd)
}

func newHistoryFlags(cmd *kingpin.CmdClause) historyFlags {
	return historyFlags{
		config: configFlag(cmd),
		file:   cmd.Flag("history.file", "History file. By default, the one in the configuration.").String(),
	}
}

func (f historyFlags) path() (string, error) {
	if *f.file != "" {
		return *f.file, nil
	}
	cfg, err := config.Load(*f.config)
	if err != nil {
		return "", err
	}
	return daemon.HistoryFile(cfg), nil
}

// open opens the history for reading.
func (f historyFlags) open() (*history.Store, error) {
	path, err := f.path()
	if err != nil {
		return nil, err
	}
	return history.OpenReadOnly(path)
}

// edit opens the history, which must exist, for writing.
func (f historyFlags) edit() (*history.Store, error) {
	s, err := f.open()
	if err != nil {
		return nil, err
	}
	if err := s.Close(); err != nil {
		return nil, err
	}
	return history.Open(s.Path())
}

// authorFlags say who changes the history and why.
type authorFlags struct {
	who     *string
	because *string
}

func newAuthorFlags(cmd *kingpin.CmdClause) authorFlags {
	return authorFlags{
		because: cmd.Flag("because", "Reason, shown in the audit trail and the list.").Required().String(),
		who:     whoFlag(cmd),
	}
}

func whoFlag(cmd *kingpin.CmdClause) *string {
	return cmd.Flag("who", "Who makes the change. By default, the operating system's user.").String()
}

func (f authorFlags) author(now time.Time) history.Author {
	who := *f.who
	if who == "" {
		if u, err := user.Current(); err == nil {
			who = u.Username
		}
	}
	return history.Author{Who: outside.Line(who, 0), Because: outside.Line(*f.because, 0), At: now.UTC()}
}

// historyList is plancast history list.
type historyList struct {
	historyFlags
	filter history.Filter
}

func registerHistoryList(app *kingpin.Application) (string, command) {
	cmd, flags := historyCommand(app, "list", "List the newest records, one per line.")
	c := &historyList{historyFlags: flags}
	cmd.Flag("model", "Only this model.").StringVar(&c.filter.Model)
	cmd.Flag("version", "Only this version.").StringVar(&c.filter.Version)
	cmd.Flag("precision", "Only this precision.").StringVar((*string)(&c.filter.Precision))
	cmd.Flag("author", "Only candidates whose change is by this author.").StringVar(&c.filter.By.Author)
	cmd.Flag("branch", "Only candidates whose change comes from this branch.").StringVar(&c.filter.By.Branch)
	cmd.Flag("commit", "Only candidates of this commit.").StringVar(&c.filter.By.Commit)
	cmd.Flag("kind", "Only candidates whose change is of this kind, such as quantization.").StringVar((*string)(&c.filter.By.Kind))
	cmd.Flag("limit", "Number of records; 0 for all.").Default("100").IntVar(&c.filter.Limit)
	cmd.Flag("before", "Only records before this ID, for the previous page.").Int64Var(&c.filter.BeforeID)
	return cmd.FullCommand(), c
}

func (c *historyList) run(ctx context.Context, p program) (int, error) {
	if c.filter.Limit < 0 {
		return 0, fmt.Errorf("--limit %d: give 1 or more, or 0 for all", c.filter.Limit)
	}
	s, err := c.open()
	if err != nil {
		return 0, err
	}
	defer s.Close()
	tw := tabwriter.NewWriter(p.stdout, 0, 8, 2, ' ', 0)
	n, first, damaged := 0, int64(0), 0
	for e, err := range history.Skip(s.Entries(ctx, c.filter), reportDamage(p, &damaged)) {
		if err != nil {
			return 0, err
		}
		if n++; n == 1 {
			first = e.ID
			fmt.Fprintln(tw, "ID\tFINISHED\tMODEL\tVERSION\tITERATION\tPRECISION\tENVIRONMENT\tP99\tTHROUGHPUT\tOUTCOME")
		}
		mark, err := markOf(ctx, s, e)
		if err != nil {
			return 0, err
		}
		writeLine(tw, e, mark)
	}
	if err := tw.Flush(); err != nil {
		return 0, err
	}
	switch {
	case damaged > 0:
		return exitError, nil
	case n == 0 && c.filter.Model != "" && c.filter.By == (history.By{}):
		return 0, nothingOf(s, c.filter.Model)
	case n == 0:
		fmt.Fprintf(p.stderr, "No records match in %s.\n", s.Path())
	case n == c.filter.Limit && first > 1:
		fmt.Fprintf(p.stderr, "These are the newest %d. For the ones before: --before=%d; for all: --limit=0\n", n, first)
	}
	return exitOK, nil
}

func nothingOf(s *history.Store, model string) error {
	return fmt.Errorf("history %s has no records for model %s: plancast history list prints what it has", s.Path(), model)
}

// reportDamage prints each damaged record and counts them.
func reportDamage(p program, n *int) func(error) {
	return func(err error) {
		*n++
		fmt.Fprintf(p.stderr, "plancast: %v\n", err)
	}
}

// markOf says why a result does not count; "" when it does.
func markOf(ctx context.Context, s *history.Store, e history.Entry) (string, error) {
	if e.Counts() {
		return "", nil
	}
	r, err := s.Record(ctx, e.ID)
	if errors.Is(err, history.ErrDamaged) {
		return "does not count", nil
	}
	if err != nil {
		return "", err
	}
	var parts []string
	if r.SupersededBy != 0 {
		parts = append(parts, fmt.Sprintf("superseded by %d", r.SupersededBy))
	}
	if x := r.Excluded; x != nil {
		parts = append(parts, fmt.Sprintf("excluded by %s on %s: %s", x.By, x.At.Format(time.DateOnly), x.Because))
	}
	return strings.Join(parts, "; "), nil
}

func writeLine(w io.Writer, e history.Entry, mark string) {
	iteration := fmt.Sprint(e.Iteration)
	if e.Iteration == 0 {
		iteration = "-" // came out of order
	}
	figure := func(quantity string, u units.Unit) string {
		if v, ok := e.Value(quantity); ok {
			return units.Format(v, u)
		}
		return "-"
	}
	outcome := "measured"
	switch {
	case !e.OK():
		outcome = string(e.Failure)
	case !e.Stable:
		outcome = "measured, unstable"
	}
	if mark != "" {
		outcome += "; " + mark
	}
	cells := []string{
		fmt.Sprint(e.ID), e.Finished.Time().Format(time.RFC3339), e.Model, e.Version, iteration,
		string(e.Precision), e.Fingerprint, figure("p99", units.Seconds), figure("throughput", units.PerSec), outcome,
	}
	for i, s := range cells {
		cells[i] = outside.Line(s, 0)
	}
	fmt.Fprintln(w, strings.Join(cells, "\t"))
}

// historyShow is plancast history show.
type historyShow struct {
	historyFlags
	id *int64
}

func registerHistoryShow(app *kingpin.Application) (string, command) {
	cmd, flags := historyCommand(app, "show", "Print one record as JSON, with its layers.")
	return cmd.FullCommand(), &historyShow{flags, cmd.Arg("id", "The record's ID, as list prints it.").Required().Int64()}
}

func (c *historyShow) run(ctx context.Context, p program) (int, error) {
	s, err := c.open()
	if err != nil {
		return 0, err
	}
	defer s.Close()
	r, err := s.Record(ctx, *c.id)
	if err != nil {
		return 0, err
	}
	return exitOK, indented(p.stdout, r)
}
