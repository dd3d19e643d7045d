package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/alecthomas/kingpin/v2"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/units"
)

// historyImport is plancast history import.
type historyImport struct {
	historyFlags
	authorFlags
	csv, jsonl *string
	options    history.ImportOptions
}

func registerHistoryImport(app *kingpin.Application) (string, command) {
	cmd, flags := historyCommand(app, "import", "Import measurements from elsewhere, all or none. They are marked as imported and notify nobody.")
	c := &historyImport{historyFlags: flags, authorFlags: newAuthorFlags(cmd)}
	c.csv = cmd.Flag("csv", "Table with a header row: finished, time or date, and quantities such as p99_seconds or p99 (cells such as 12ms); - is stdin.").String()
	c.jsonl = cmd.Flag("jsonl", "Records as plancast history export --format=jsonl writes them; - is stdin.").String()
	cmd.Flag("environment", "Environment name for rows without one. Results are compared only within one environment.").Default("elsewhere").StringVar(&c.options.Environment)
	cmd.Flag("model", "Model for rows that name none.").StringVar(&c.options.Model)
	cmd.Flag("precision", "Precision for rows that name none.").Default(string(engine.FP32)).StringVar((*string)(&c.options.Precision))
	return cmd.FullCommand(), c
}

func (c *historyImport) run(ctx context.Context, p program) (int, error) {
	file, read := *c.csv, history.ReadCSV
	if *c.jsonl != "" {
		file = *c.jsonl
		read = history.ReadJSONLines
	}
	if (*c.csv == "") == (*c.jsonl == "") {
		return 0, errors.New("give either --csv or --jsonl")
	}
	in := p.stdin
	c.options.Source = "stdin"
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return 0, err
		}
		defer f.Close()
		in, c.options.Source = f, outside.Line(filepath.Base(file), 0)
	}
	records, skipped, err := read(in, c.options)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", file, err)
	}
	if len(records) == 0 {
		return 0, fmt.Errorf("%s: it holds no measurement", file)
	}
	path, err := c.path()
	if err != nil {
		return 0, err
	}
	s, err := history.Open(path) // which may be the first of its records
	if err != nil {
		return 0, err
	}
	defer s.Close()
	n, err := s.Import(ctx, records, c.author(p.now()))
	if err != nil {
		return 0, err
	}
	fmt.Fprintf(p.stdout, "%s imported.\n", units.Count(n, "record"))
	if skipped > 0 {
		fmt.Fprintf(p.stdout, "%s skipped: they hold no result that counts.\n", units.Count(skipped, "row"))
	}
	return exitOK, nil
}
