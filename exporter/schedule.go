package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/robfig/cron/v3"
)

// kicks collects requests for a pass outside the schedule. Those that come
// while a pass runs become one.
type kicks struct {
	mu     sync.Mutex
	all    bool
	models map[string]bool
	wake   chan struct{}
}

func newKicks() *kicks { return &kicks{models: map[string]bool{}, wake: make(chan struct{}, 1)} }

// kick asks for a pass over one model, or over all when model is "".
func (k *kicks) kick(model string) {
	k.mu.Lock()
	if model == "" {
		k.all = true
	} else {
		k.models[model] = true
	}
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default: // it is awake already
	}
}

// take returns what was asked for since the last time, as a selection of
// models; nil selects all.
func (k *kicks) take() func(model string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	all, models := k.all, k.models
	k.all, k.models = false, map[string]bool{}
	if all {
		return nil
	}
	return func(model string) bool { return models[model] }
}

// forecastEvery is how often the forecasts are made anew while nothing else
// happens: deadlines come nearer all the same.
const forecastEvery = time.Minute

// schedule makes a pass at once, whenever the cron fires and whenever kicked,
// until ctx ends; then it waits for the running pass to end. A reload makes a
// pass as well, under the new schedule.
func (a *app) schedule(ctx context.Context, k *kicks) {
	for ctx.Err() == nil {
		a.mu.Lock()
		cfg, renewed := a.cfg, a.renewed
		log := cronLog{a.log}
		// Recover inside: were it outside, one panic would keep the token of
		// SkipIfStillRunning for ever.
		c := cron.New(cron.WithLocation(cfg.Location), cron.WithLogger(log),
			cron.WithChain(cron.SkipIfStillRunning(log), cron.Recover(log)))
		id := c.Schedule(cfg.Schedule, cron.FuncJob(func() { a.tryPass(ctx, nil) }))
		a.nextPass = func() time.Time { return c.Entry(id).Next.UTC() }
		a.mu.Unlock()
		c.Start()
		k.kick("")
		a.serveKicks(ctx, k, renewed)
		<-c.Stop().Done()
	}
}

func (a *app) serveKicks(ctx context.Context, k *kicks, renewed <-chan struct{}) {
	clock := time.NewTicker(forecastEvery)
	defer clock.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-clock.C:
			a.asTimePasses()
		case <-renewed:
			return
		case <-k.wake:
			a.tryPass(ctx, k.take())
			a.asTimePasses()
		}
	}
}

func (a *app) tryPass(ctx context.Context, only func(model string) bool) {
	if err := a.pass(ctx, only); err != nil && ctx.Err() == nil {
		a.log.Error("Pass ended early", "err", err)
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
