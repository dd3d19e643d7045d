package daemon

import (
	"context"
	"time"
)

// tidyEvery is how soon a history is tidied after somebody changed it.
const tidyEvery = time.Minute

// Tidy does, in steps between passes, what keeps a history whole and quick to read and no
// start waits for: see history.Store.Tidy. Run calls it every minute.
func (d *Daemon) Tidy(ctx context.Context) error {
	derived := 0
	progress := seldom(d.now, func(done, _ int64) { d.log.Info("Deriving older entries again", "done", done) })
	for ctx.Err() == nil {
		d.passing.Lock() // it would disturb what is measured
		t, err := d.store.Tidy(ctx)
		d.passing.Unlock()
		if err != nil {
			return err
		}
		switch {
		case t.Derived > 0 && derived == 0:
			d.log.Info("Deriving older entries again, the newest first: until that is done, they lack the quantities that the earlier plancast did not know")
		case t.Derived == 0 && derived > 0:
			if err := d.readAgain(ctx, ""); err != nil {
				return err
			}
			d.refresh()
			d.log.Info("Derived older entries again", "entries", derived)
			derived = 0
		}
		if t.Done {
			return nil
		}
		derived += t.Derived
		progress(int64(derived), 0)
	}
	return ctx.Err()
}
