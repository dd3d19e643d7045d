package main

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/pass"
)

// againFlags say what plancast run measures once more.
type againFlags struct {
	again              *bool
	version, precision *string
	against            *string
	by                 authorFlags
}

func newAgainFlags(cmd *kingpin.CmdClause) againFlags {
	return againFlags{
		again:     cmd.Flag("again", "Measure again what already has a result: the newest version, or --version. The newer result counts; the earlier one is kept and marked superseded.").Bool(),
		version:   cmd.Flag("version", "With --again: this version, which may be an older one.").String(),
		against:   cmd.Flag("against", "With --again: time it in turns with this version, instead of the one before it.").String(),
		precision: cmd.Flag("precision", "With --again: only this precision.").String(),
		by:        authorFlags{because: cmd.Flag("because", "With --again: reason, shown in the audit trail.").String(), who: whoFlag(cmd)},
	}
}

// request is what to measure once more, of the models that only selects.
func (f againFlags) request(cfg config.Config, only func(string) bool, now time.Time) ([]pass.Again, error) {
	if !*f.again {
		if *f.version != "" || *f.precision != "" || *f.against != "" || *f.by.because != "" || *f.by.who != "" {
			return nil, errors.New("--version, --against, --precision, --because and --who need --again")
		}
		return nil, nil
	}
	precision := engine.Precision(*f.precision)
	if precision != "" && !cfg.Measures(precision) {
		return nil, fmt.Errorf("--precision %s: the configuration has %v", precision, cfg.Precisions)
	}
	by := f.by.author(now)
	by.Because = cmp.Or(by.Because, pass.OnRequest)
	return []pass.Again{{Models: only, Version: *f.version, Precision: precision, Against: *f.against, By: by}}, nil
}
