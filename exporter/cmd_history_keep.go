package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/model"

	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/units"
)

// historyVerify is plancast history verify.
type historyVerify struct{ historyFlags }

func registerHistoryVerify(app *kingpin.Application) (string, command) {
	cmd, flags := historyCommand(app, "verify", "Read the whole history and check every record. Exits with 1 if something is damaged.")
	return cmd.FullCommand(), &historyVerify{flags}
}

func (c *historyVerify) run(ctx context.Context, p program) (int, error) {
	path, err := c.path()
	if err != nil {
		return 0, err
	}
	v, err := history.Verify(ctx, path)
	if err != nil {
		return 0, err
	}
	for _, x := range append(v.Damaged, v.Other...) {
		fmt.Fprintln(p.stdout, x)
	}
	if v.OK() {
		fmt.Fprintf(p.stdout, "%s: all %s are intact.\n", path, units.Count(v.Records, "record"))
		return exitOK, nil
	}
	fmt.Fprintf(p.stdout, "%s is damaged: %s intact, %d damaged. Restore a backup, or save what can be read: plancast history salvage NEWFILE\n",
		path, units.Count(v.Records, "record"), len(v.Damaged))
	return exitMissed, nil
}

// historySalvage is plancast history salvage.
type historySalvage struct {
	historyFlags
	to *string
}

func registerHistorySalvage(app *kingpin.Application) (string, command) {
	cmd, flags := historyCommand(app, "salvage", "Copy every readable record of a damaged history into a new one. The damaged one stays unchanged.")
	return cmd.FullCommand(), &historySalvage{flags, cmd.Arg("file", "The new history.").Required().String()}
}

func (c *historySalvage) run(ctx context.Context, p program) (int, error) {
	path, err := c.path()
	if err != nil {
		return 0, err
	}
	none := ""
	by := authorFlags{who: &none, because: &none}.author(p.now())
	by.Because = "salvaged from " + outside.Line(path, 0)
	got, err := history.Salvage(ctx, path, *c.to, by)
	if err != nil {
		return 0, err
	}
	fmt.Fprintf(p.stdout, "%s holds %s.\n", *c.to, units.Count(got.Kept, "record"))
	if len(got.Unproven) > 0 {
		fmt.Fprintf(p.stdout, "Their checksums are lost; check them: %s.\n", numbers(got.Unproven))
	}
	if len(got.Lost) > 0 {
		fmt.Fprintf(p.stdout, "Lost: %s.\n", numbers(got.Lost))
	}
	for _, x := range got.Other {
		fmt.Fprintf(p.stdout, "Not carried over: %v\n", x)
	}
	fmt.Fprintf(p.stdout, "To use it, stop plancast, remove %s-wal and %s-shm, move the new file to %s, and start plancast.\n", path, path, path)
	return exitOK, nil
}

// numbers reads "3, 5-9, 12".
func numbers(ids []int64) string {
	var parts []string
	for i := 0; i < len(ids); {
		j := i + 1
		for j < len(ids) && ids[j] == ids[j-1]+1 {
			j++
		}
		if j == i+1 {
			parts = append(parts, fmt.Sprint(ids[i]))
		} else {
			parts = append(parts, fmt.Sprintf("%d-%d", ids[i], ids[j-1]))
		}
		i = j
	}
	return strings.Join(parts, ", ")
}

// historyBackup is plancast history backup.
type historyBackup struct {
	historyFlags
	to *string
}

func registerHistoryBackup(app *kingpin.Application) (string, command) {
	cmd, flags := historyCommand(app, "backup", "Copy the history into a new file. Safe while plancast serve writes to it.")
	return cmd.FullCommand(), &historyBackup{flags, cmd.Arg("file", "The copy.").Required().String()}
}

func (c *historyBackup) run(ctx context.Context, p program) (int, error) {
	s, err := c.open()
	if err != nil {
		return 0, err
	}
	defer s.Close()
	if err := s.Backup(ctx, *c.to); err != nil {
		return 0, err
	}
	v, err := history.Verify(ctx, *c.to)
	if err != nil {
		return 0, err
	}
	if !v.OK() {
		return 0, fmt.Errorf("back up history %s: the copy %s is damaged as well: %w", s.Path(), *c.to, errors.Join(append(v.Damaged, v.Other...)...))
	}
	fmt.Fprintf(p.stdout, "%s holds %s, all verified.\n", *c.to, units.Count(v.Records, "record"))
	return exitOK, nil
}

// historyPrune is plancast history prune.
type historyPrune struct {
	historyFlags
	authorFlags
	olderThan *string
	keep      *int
	vacuum    *bool
}

func registerHistoryPrune(app *kingpin.Application) (string, command) {
	cmd, flags := historyCommand(app, "prune", "Remove old records permanently. The current standing of each model is always kept.")
	return cmd.FullCommand(), &historyPrune{
		historyFlags: flags, authorFlags: newAuthorFlags(cmd),
		olderThan: cmd.Flag("older-than", "Minimum age of records to remove, such as 730d.").Required().String(),
		keep:      cmd.Flag("keep", "Newest candidates to keep of each model in each environment, regardless of age.").Default("20").Int(),
		vacuum:    cmd.Flag("vacuum", "Return the space to the file system. plancast serve waits meanwhile.").Bool(),
	}
}

func (c *historyPrune) run(ctx context.Context, p program) (int, error) {
	age, err := model.ParseDuration(*c.olderThan)
	if err != nil || age <= 0 {
		return 0, fmt.Errorf("--older-than %q: give an age such as 730d or 2160h", *c.olderThan)
	}
	if *c.keep < 1 {
		return 0, fmt.Errorf("--keep %d: give 1 or more", *c.keep)
	}
	s, err := c.edit()
	if err != nil {
		return 0, err
	}
	defer s.Close()
	before := p.now().UTC().Add(-time.Duration(age))
	n, err := s.Prune(ctx, history.PruneOptions{Before: before, Keep: *c.keep}, c.author(p.now()))
	if err != nil {
		return 0, err
	}
	fmt.Fprintf(p.stdout, "%s from before %s removed.\n", units.Count(n, "record"), before.Format(time.DateOnly))
	if !*c.vacuum {
		return exitOK, nil
	}
	if err := s.Vacuum(ctx); err != nil {
		return 0, err
	}
	size, err := s.Size()
	if err != nil {
		return 0, err
	}
	fmt.Fprintf(p.stdout, "The history now takes %s.\n", units.Format(float64(size), units.Bytes))
	return exitOK, nil
}
