package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/robfig/cron/v3"
)

// requests collects requests for a pass outside the schedule. Those that come
// while a pass runs become one.
type requests struct {
	mu     sync.Mutex
	all    bool
	models map[string]bool
	wake   chan struct{}
}

func newRequests() *requests {
	return &requests{models: map[string]bool{}, wake: make(chan struct{}, 1)}
}

// add requests a pass over one model, or over all when model is "".
func (q *requests) add(model string) {
	q.mu.Lock()
	if model == "" {
		q.all = true
	} else {
		q.models[model] = true
	}
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default: // it is awake already
	}
}

// take returns what was requested since the last time, as a selection of
// models; nil selects all.
func (q *requests) take() func(model string) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	all, models := q.all, q.models
	q.all, q.models = false, map[string]bool{}
	if all {
		return nil
	}
	return func(model string) bool { return models[model] }
}

// forecastEvery is how often the forecasts are made anew while nothing else
// happens: deadlines come nearer all the same.
const forecastEvery = time.Minute

// schedule makes a pass at once, whenever the cron fires and on request, until
// ctx ends; then it waits for the running pass to end. A reload makes a
// pass as well, under the new schedule.
func (d *Daemon) schedule(ctx context.Context) {
	for ctx.Err() == nil {
		d.mu.Lock()
		cfg, renewed := d.Config, d.renewed
		log := cronLog{d.Log}
		// Recover inside: were it outside, one panic would keep the token of
		// SkipIfStillRunning for ever.
		c := cron.New(cron.WithLocation(cfg.Location), cron.WithLogger(log),
			cron.WithChain(cron.SkipIfStillRunning(log), cron.Recover(log)))
		id := c.Schedule(cfg.Schedule, cron.FuncJob(func() { d.tryPass(ctx, nil) }))
		d.nextPass = func() time.Time { return c.Entry(id).Next.UTC() }
		d.mu.Unlock()
		c.Start()
		d.requests.add("")
		d.serveRequests(ctx, renewed)
		<-c.Stop().Done()
	}
}

func (d *Daemon) serveRequests(ctx context.Context, renewed <-chan struct{}) {
	clock := time.NewTicker(forecastEvery)
	defer clock.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-clock.C:
			d.Renew()
		case <-renewed:
			return
		case <-d.requests.wake:
			d.tryPass(ctx, d.requests.take())
			d.Renew()
		}
	}
}

func (d *Daemon) tryPass(ctx context.Context, only func(model string) bool) {
	if err := d.Pass(ctx, only); err != nil && ctx.Err() == nil {
		d.Log.Error("Pass ended early", "err", err)
	}
}

// cronLog writes cron's words into the daemon's log.
type cronLog struct{ log *slog.Logger }

func (c cronLog) Info(msg string, keysAndValues ...any) {
	c.log.Debug("Schedule: "+msg, keysAndValues...)
}

func (c cronLog) Error(err error, msg string, keysAndValues ...any) {
	c.log.Error("Schedule: "+msg, append(keysAndValues, "err", fmt.Sprint(err))...)
}
