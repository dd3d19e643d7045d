package daemon

import (
	"context"
	"time"
)

// renewEvery is how often the forecasts are made anew while nothing else
// happens: deadlines come nearer all the same.
const renewEvery = time.Minute

// schedule makes a pass at once, when the timetable has one and on request,
// until ctx ends; then it waits for the running pass to end. A reload makes a
// pass as well, under the new timetable. A pass that is due while another runs is
// left out.
func (d *Daemon) schedule(ctx context.Context) {
	cfg, renewed := d.inForce()
	table := newTimetable(cfg.Schedule, cfg.Location, d.now())
	d.act(func(a *activity) { a.next = table.next })
	d.requests.add("")

	renew := time.NewTicker(renewEvery)
	defer renew.Stop()
	var ended chan struct{} // by the running pass; nil while none runs
	begin := func(only func(model string) bool) {
		ended = make(chan struct{})
		go func() {
			defer close(ended)
			if err := d.Pass(ctx, only); err != nil && ctx.Err() == nil {
				d.log.Error("Pass ended early", "err", err)
			}
		}()
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
				<-ended
			}
			return
		case <-due.C:
		case <-renew.C:
			d.Renew()
		case <-renewed:
			cfg, renewed = d.inForce()
			table = newTimetable(cfg.Schedule, cfg.Location, d.now())
			d.requests.add("")
		case <-wake:
			begin(d.requests.take())
		case <-ended:
			ended = nil
			d.Renew()
		}
		due.Stop()
		pass, step := table.look(d.now())
		if step != 0 {
			d.log.Warn("The clock was set; the schedule goes on from the new time", "step", step, "next", table.next)
		}
		switch {
		case pass && ended == nil:
			begin(nil)
		case pass:
			d.log.Debug("Scheduled pass left out: another runs")
		}
		d.act(func(a *activity) { a.next = table.next })
	}
}
