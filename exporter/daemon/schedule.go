package daemon

import (
	"context"
	"errors"
	"time"

	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/pass"
)

// renewEvery is how often the forecasts are made again while nothing else
// happens: deadlines come nearer all the same.
const renewEvery = time.Minute

// every does something again and again, until ctx ends; what fails is logged and tried
// again.
func (d *Daemon) every(ctx context.Context, pause time.Duration, what string, do func(context.Context) error) {
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := do(ctx); err != nil && ctx.Err() == nil {
				d.log.Error("Cannot "+what+"; will retry", "err", err)
			}
		}
	}
}

// schedule makes a pass at once, when the timetable has one and on request,
// until ctx ends; then it waits for the running pass to end. A reload makes a
// pass as well, under the new timetable. A pass that is due while another runs is
// left out. An error says that the state is no longer plancast's own.
func (d *Daemon) schedule(ctx context.Context) error {
	cfg, renewed := d.inForce()
	table := newTimetable(cfg.Schedule, cfg.Location, d.now())
	d.act(func(a *activity) { a.next = table.next })
	d.requests.add("")

	renew := time.NewTicker(renewEvery)
	defer renew.Stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var ended chan error // has the result of the running pass; nil while none runs
	begin := func(only func(model string) bool, again ...pass.Again) {
		ended = make(chan error, 1)
		go func() { ended <- d.Pass(ctx, only, again...) }()
	}
	for {
		wake := d.requests.wake
		if ended != nil {
			wake = nil // they wait for the running pass
		}
		due := time.NewTimer(table.wait(d.now()))
		select {
		case <-ctx.Done():
			due.Stop()
			if ended != nil {
				<-ended //nolint:errcheck // what ends the schedule says more
			}
			return nil
		case <-due.C:
		case <-renew.C:
			d.Renew()
		case <-renewed:
			cfg, renewed = d.inForce()
			table = newTimetable(cfg.Schedule, cfg.Location, d.now())
			d.requests.add("")
		case <-wake:
			only, again := d.requests.take()
			begin(only, again...)
		case err := <-ended:
			ended = nil
			switch {
			case errors.Is(err, ErrLost), errors.Is(err, history.ErrReplaced):
				return err
			case err != nil && ctx.Err() == nil:
				d.log.Error("Pass ended early", "err", err)
			}
			d.Renew()
		}
		due.Stop()
		if err := d.lock.check(); err != nil {
			cancel()
			if ended != nil {
				<-ended //nolint:errcheck // what ends the schedule says more
			}
			return err
		}
		scheduled, step := table.check(d.now())
		if step != 0 {
			d.log.Warn("Clock was set; the schedule continues from the new time", "step", step, "next", table.next)
		}
		switch {
		case scheduled && ended == nil:
			begin(nil)
		case scheduled:
			d.log.Debug("Scheduled pass skipped: another one is running")
		}
		d.act(func(a *activity) { a.next = table.next })
	}
}
