package daemon

import (
	"context"
	"errors"
	"time"

	"github.com/plancast/plancast/exporter/history"
)

// correctionsEvery is how soon what somebody changed in the history is shown.
const correctionsEvery = 2 * time.Second

// TakeCorrections reads again the models that the audit trail has new lines of.
// Run does it every few seconds, since plancast history exclude, restore, import and
// prune are other processes. It is called by one goroutine at a time.
func (d *Daemon) TakeCorrections(ctx context.Context) error {
	lines, err := d.store.Audit(ctx, d.audited)
	if err != nil || len(lines) == 0 {
		return err
	}
	models := map[string]bool{}
	for _, line := range lines {
		switch {
		case line.Action == history.ActionAgain: // a pass of this daemon's, which says so itself
		case line.Record == 0:
			models[""] = true // whatever it may be
		default:
			for e, err := range d.store.Entries(ctx, history.Filter{ID: line.Record}) {
				if err != nil && !errors.Is(err, history.ErrDamaged) {
					return err
				}
				models[e.Model] = true
			}
		}
	}
	if models[""] {
		models = map[string]bool{"": true} // the filter that selects all
	}
	for name := range models {
		if err := d.readAgain(ctx, name); err != nil {
			return err
		}
	}
	d.audited = lines[len(lines)-1].ID
	if len(models) > 0 {
		d.log.Info("History corrected", "lines", len(lines), "by", lines[len(lines)-1].Who, "because", lines[len(lines)-1].Because)
		d.refresh()
	}
	return nil
}

// readAgain replaces what is known of a model by what the store holds; "" is
// all models.
func (d *Daemon) readAgain(ctx context.Context, model string) error {
	d.deriving.Lock()
	defer d.deriving.Unlock()
	d.catchUp() // what is recorded from here on is in the store as well
	d.tracker.Forget(model)
	d.mu.Lock()
	d.evidence.tracked = false
	d.mu.Unlock()
	return d.readHistory(ctx, model)
}
