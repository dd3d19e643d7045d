// Package notify sends people what must not wait for a scrape: a new result
// and a failed build, each to those whom the configuration names for the
// model's owner.
//
// News goes through an outbox in the history. Observe derives it from records
// and queues it in one transaction with the mark of how far the records were
// looked at, so that each record is news exactly once however plancast ends;
// Run sends what is queued and marks it after the receiver took it. Delivery
// is therefore at least once: killed between the two, plancast sends a message
// again (with the same ID), and never loses one.
//
// A receiver's URL is a secret. It is read where it is used, and is in no
// error, log line, metric or row of the outbox.
package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/standing"
)

const (
	firstDelay = 10 * time.Second    // after the first failed attempt
	lastDelay  = 30 * time.Minute    // between attempts at most
	stopGrace  = 5 * time.Second     // for a message under way when plancast stops
	idleCheck  = time.Hour           // the outbox is looked at that often even when nothing is due
	keepFor    = 90 * 24 * time.Hour // what was sent is known, to recognize repeats
)

// Options are what a Notifier works with; it owns none of it.
type Options struct {
	Store  *history.Store
	Config config.Config
	// Describe writes a model of a state down in the words of the report, so
	// that both say the same.
	Describe func(*standing.Model, *standing.State) Words
	// Send gives a message to a receiver, as Services does.
	Send func(ctx context.Context, r config.Receiver, m Message) error
	Now  func() time.Time
	// Random is a number in [0,1) that spreads attempts; nil is math/rand's.
	Random func() float64
	Log    *slog.Logger
}

// Words are what a report says of a model.
type Words interface {
	HeadlineText() string    // the newest result in one sentence
	ChangeText() string      // what the change was that led to the newest candidate; "" when that is not known
	EnvironmentText() string // how the environment changed; "" when it did not
	FailureTexts() []string  // precisions of the newest candidate that failed
	WarningTexts() []string  // precisions without effect, and reasons not to trust the result in the headline
	LastGoodText() string    // the last good result; "" without one
}

// Notifier queues and sends notifications. Observe, Skip, Configure and Stats
// may be called at any time; Run and Flush by one goroutine at a time.
type Notifier struct {
	Options
	wake   chan struct{}
	pruned time.Time // the sender's own

	mu        sync.Mutex // guards the rest
	cfg       config.Config
	observed  int64 // ID of the newest record that was looked at for news
	receivers map[string]*receiverState
	counts    map[string]map[Result]uint64
	queue     []time.Time // when each waiting message was, or will be, news
}

// receiverState is how a receiver has fared of late.
type receiverState struct {
	failures int       // attempts in a row
	next     time.Time // no attempt before
}

// Result is what became of a message, or of an attempt to send it.
type Result string

// The results.
const (
	Sent       Result = "sent"
	Failed     Result = "failed"     // an attempt; more follow
	Suppressed Result = "suppressed" // a repeat that was only counted
	Dropped    Result = "dropped"    // given up
)

// Results lists every result, so that each has a metric from the start.
var Results = []Result{Sent, Failed, Suppressed, Dropped}

// New makes a Notifier that goes on where the last one stopped.
func New(ctx context.Context, o Options) (*Notifier, error) {
	if o.Random == nil {
		o.Random = rand.Float64
	}
	n := &Notifier{Options: o, wake: make(chan struct{}, 1), counts: map[string]map[Result]uint64{}}
	n.Configure(o.Config)
	if err := o.Store.UpdateOutbox(ctx, func(tx *history.OutboxTx) (err error) {
		n.observed, err = tx.Observed()
		return err
	}); err != nil {
		return nil, err
	}
	return n, n.recount(ctx)
}

// Configure takes a new configuration. Receivers that failed are tried at once:
// their URLs may have been put right.
func (n *Notifier) Configure(c config.Config) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cfg = c
	n.receivers = map[string]*receiverState{}
	for _, r := range c.Notifications.Receivers {
		n.receivers[r.Name] = &receiverState{}
		if n.counts[r.Name] == nil {
			n.counts[r.Name] = map[Result]uint64{}
		}
	}
	n.rouse()
}

func (n *Notifier) rouse() {
	select {
	case n.wake <- struct{}{}:
	default: // it is awake already
	}
}

// waiting are the messages that wait. A time that lies further ahead than any
// that this package sets was written before the clock was set back: it is now.
func (n *Notifier) waiting(ctx context.Context) ([]history.OutboxEntry, error) {
	list, err := n.Store.Waiting(ctx)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	furthest := max(n.cfg.Notifications.Repeat, lastDelay)
	n.mu.Unlock()
	now := n.Now()
	for i := range list {
		for _, t := range []*time.Time{&list[i].Created, &list[i].Due} {
			if t.Sub(now) > furthest {
				*t = now
			}
		}
	}
	return list, nil
}

// recount renews what Stats says of the queue.
func (n *Notifier) recount(ctx context.Context) error {
	list, err := n.waiting(ctx)
	if err != nil {
		return err
	}
	queue := make([]time.Time, len(list))
	for i, e := range list {
		queue[i] = e.Created
	}
	n.mu.Lock()
	n.queue = queue
	n.mu.Unlock()
	return nil
}

func (n *Notifier) count(receiver string, r Result, k uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.counts[receiver] == nil {
		n.counts[receiver] = map[Result]uint64{}
	}
	n.counts[receiver][r] += k
}

// Stats is how the notifications fare.
type Stats struct {
	Counts map[string]map[Result]uint64 // by configured receiver, since the start
	Queued int                          // messages that wait to be sent now
	Oldest time.Duration                // age of the oldest of them; 0 without any
}

// Stats says how the notifications fare.
func (n *Notifier) Stats() Stats {
	now := n.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	s := Stats{Counts: map[string]map[Result]uint64{}}
	for name := range n.receivers {
		s.Counts[name] = map[Result]uint64{}
		for _, r := range Results {
			s.Counts[name][r] = n.counts[name][r]
		}
	}
	for _, t := range n.queue {
		if !t.After(now) { // summaries of repeats are not due yet
			s.Queued++
			s.Oldest = max(s.Oldest, now.Sub(t))
		}
	}
	return s
}

// Run sends what is queued until ctx ends; a message that is under way then
// has some seconds to arrive. It logs what fails and goes on.
func (n *Notifier) Run(ctx context.Context) {
	for ctx.Err() == nil {
		next, err := n.round(ctx)
		if err != nil && ctx.Err() == nil {
			n.Log.Error("Notifications wait", "err", err)
			next = n.Now().Add(time.Minute)
		}
		timer := time.NewTimer(min(next.Sub(n.Now()), idleCheck))
		select {
		case <-ctx.Done():
		case <-n.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// Flush tries everything that is due once and says how many messages are left.
func (n *Notifier) Flush(ctx context.Context) (left int, err error) {
	if _, err := n.round(ctx); err != nil {
		return 0, err
	}
	return n.Stats().Queued, nil
}

// round tries what is due, receiver by receiver at the same time, and says
// when there will be more to do.
func (n *Notifier) round(ctx context.Context) (next time.Time, err error) {
	if now := n.Now(); now.Sub(n.pruned).Abs() > 24*time.Hour {
		if err := n.Store.PruneOutbox(ctx, now.Add(-keepFor)); err != nil {
			return next, err
		}
		n.pruned = now
	}
	list, err := n.waiting(ctx)
	if err != nil {
		return next, err
	}
	n.mu.Lock()
	cfg, states := n.cfg.Notifications, n.receivers
	n.mu.Unlock()
	byReceiver := map[string][]history.OutboxEntry{}
	for _, e := range list {
		byReceiver[e.Receiver] = append(byReceiver[e.Receiver], e)
	}
	var mu sync.Mutex
	next = n.Now().Add(idleCheck)
	var errs []error
	var wg sync.WaitGroup
	for _, r := range cfg.Receivers {
		queue, state := byReceiver[r.Name], states[r.Name]
		delete(byReceiver, r.Name)
		if len(queue) == 0 {
			continue
		}
		wg.Go(func() {
			due, err := n.deliver(ctx, cfg, r, state, queue)
			mu.Lock()
			defer mu.Unlock()
			if due.Before(next) {
				next = due
			}
			if err != nil {
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	for name, queue := range byReceiver { // receivers that are not configured any more
		for _, e := range queue {
			if n.Now().Sub(e.Created) >= cfg.GiveUp {
				n.Log.Error("Notification dropped", "receiver", name, "id", e.Key, "err", "the receiver is no longer in the configuration")
				errs = append(errs, n.Store.Settle(ctx, e.ID, history.OutboxDropped, n.Now()))
			}
		}
	}
	for _, err := range errs {
		if err != nil {
			return next, err
		}
	}
	return next, n.recount(context.WithoutCancel(ctx))
}

// deliver sends a receiver its messages, those with the fewest attempts first,
// so that one that it never takes does not hold up the others. It stops at the
// first failure: the receiver is left alone for a while.
func (n *Notifier) deliver(ctx context.Context, cfg config.Notifications, r config.Receiver, state *receiverState, queue []history.OutboxEntry) (next time.Time, err error) {
	next = n.Now().Add(idleCheck)
	if wait := state.next.Sub(n.Now()); wait > 0 && wait <= lastDelay { // more, and the clock was set back
		return state.next, nil
	}
	// What is done must be noted even while plancast stops.
	durable := context.WithoutCancel(ctx)
	slices.SortStableFunc(queue, func(a, b history.OutboxEntry) int { return cmp.Compare(a.Attempts, b.Attempts) })
	for _, e := range queue {
		if ctx.Err() != nil {
			return next, nil
		}
		if e.Due.After(n.Now()) {
			if e.Due.Before(next) {
				next = e.Due
			}
			continue
		}
		var m Message
		if err := json.Unmarshal(e.Body, &m); err != nil {
			return next, fmt.Errorf("message %d for %s: %w", e.ID, r.Name, err)
		}
		if strings.HasPrefix(e.Key, "repeat/") {
			m = m.counted(e.Repeats)
		}
		err := n.send(ctx, r, m)
		now := n.Now()
		switch {
		case err == nil:
			state.failures = 0
			if err := n.Store.Settle(durable, e.ID, history.OutboxSent, now); err != nil {
				return next, err
			}
			n.count(r.Name, Sent, 1)
			n.Log.Info("Notification sent", "receiver", r.Name, "id", e.Key)
			continue
		case ctx.Err() != nil:
			return next, nil // it is tried again after the start
		case now.Sub(e.Created) >= cfg.GiveUp:
			n.Log.Error("Notification dropped", "receiver", r.Name, "id", e.Key, "attempts", e.Attempts+1, "err", err)
			if err := n.Store.Settle(durable, e.ID, history.OutboxDropped, now); err != nil {
				return next, err
			}
			n.count(r.Name, Failed, 1)
			n.count(r.Name, Dropped, 1)
		default:
			wait := delay(e.Attempts, n.Random())
			n.Log.Warn("Notification failed", "receiver", r.Name, "id", e.Key, "attempts", e.Attempts+1, "again_in", wait.Round(time.Second), "err", err)
			if err := n.Store.Postpone(durable, e.ID, now.Add(wait)); err != nil {
				return next, err
			}
			n.count(r.Name, Failed, 1)
		}
		state.next = now.Add(delay(state.failures, n.Random()))
		state.failures++
		return state.next, nil
	}
	return next, nil
}

// send gives a message under way some seconds when plancast stops.
func (n *Notifier) send(ctx context.Context, r config.Receiver, m Message) error {
	sending, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(stopGrace)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-sending.Done():
		}
	})
	defer stop()
	return n.Send(sending, r, m)
}

// delay doubles with each attempt and is spread over its upper half, so that
// several plancasts do not come back at the same moment.
func delay(attempts int, random float64) time.Duration {
	d := lastDelay
	if attempts < 16 {
		d = min(firstDelay<<attempts, lastDelay)
	}
	return d/2 + time.Duration(random*float64(d/2))
}

// Test sends a test message to a receiver at once, past the outbox.
func Test(ctx context.Context, s *Services, r config.Receiver, now time.Time) error {
	return s.Send(ctx, r, test(r.Name, place{now: now, location: time.UTC}))
}

// Environ leaves out of an environment what holds the URL of a receiver: a
// worker process has no use for it.
func Environ(env []string, n config.Notifications) []string {
	return slices.DeleteFunc(slices.Clone(env), func(s string) bool {
		name, _, _ := strings.Cut(s, "=")
		return slices.ContainsFunc(n.Receivers, func(r config.Receiver) bool { return name != "" && r.URLEnv == name })
	})
}
