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
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/standing"
)

const (
	firstDelay = 10 * time.Second    // after the first failed attempt
	lastDelay  = 30 * time.Minute    // between attempts at most
	stopGrace  = 5 * time.Second     // for a message under way when plancast stops
	maxWaiting = 1000                // messages for a receiver
	idleCheck  = time.Hour           // the outbox is looked at that often even when nothing is due
	keepFor    = 90 * 24 * time.Hour // what was sent is known, to recognize repeats
)

// Options are what a Notifier works with; it closes none of them.
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
	EnvironmentText() string // how the environment changed; "" when it did not
	FailureTexts() []string  // precisions of the newest candidate that failed
	WarningTexts() []string  // precisions without effect, and reasons not to trust the result in the headline
	LastGoodText() string    // the last good result; "" without one
}

// Notifier queues and sends notifications. Observe, Skip, Configure and Stats
// may be called at any time; Run and Flush by one goroutine at a time.
type Notifier struct {
	Options
	wake   chan struct{} // of tidy
	pruned time.Time     // tidy's own
	most   int           // messages that wait for a receiver; more drop the oldest

	counting sync.Mutex // held while the queue is counted

	mu       sync.Mutex // guards the rest
	cfg      config.Config
	observed int64              // ID of the newest record that was looked at for news
	senders  map[string]*sender // of every receiver that was ever configured, by name
	counts   map[string]map[Result]uint64
	queue    []time.Time // when each waiting message was, or will be, news
}

// Result is the outcome of a message, or of an attempt to send it.
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
	n := &Notifier{Options: o, wake: make(chan struct{}, 1), most: maxWaiting, senders: map[string]*sender{}, counts: map[string]map[Result]uint64{}}
	n.Configure(o.Config)
	if err := o.Store.UpdateOutbox(ctx, func(tx *history.OutboxTx) (err error) {
		n.observed, err = tx.Observed()
		return err
	}); err != nil {
		return nil, err
	}
	_, err := n.recount(ctx)
	return n, err
}

// Configure takes a new configuration. Receivers that failed are tried at once:
// their URLs may have been put right.
func (n *Notifier) Configure(c config.Config) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cfg = c
	for _, r := range c.Notifications.Receivers {
		if n.senders[r.Name] == nil {
			n.senders[r.Name] = &sender{n: n, receiver: r.Name, wake: make(chan struct{}, 1)}
			n.counts[r.Name] = map[Result]uint64{}
		}
		n.senders[r.Name].failures, n.senders[r.Name].next = 0, time.Time{}
	}
	n.rouse()
}

// rouse makes everything that waits look again. n.mu is held.
func (n *Notifier) rouse() {
	rouse(n.wake)
	for _, s := range n.senders {
		rouse(s.wake)
	}
}

func rouse(wake chan<- struct{}) {
	select {
	case wake <- struct{}{}:
	default: // it is awake already
	}
}

// furthest is the longest time that this package lets a message wait: one that is to
// wait longer was queued before the clock was set back.
func (n *Notifier) furthest() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return max(n.cfg.Notifications.Repeat, lastDelay)
}

// recount renews what Stats says of the queue, and returns it by receiver.
func (n *Notifier) recount(ctx context.Context) (map[string][]time.Time, error) {
	n.counting.Lock() // else an older answer could take the place of a newer one
	defer n.counting.Unlock()
	queued, err := n.Store.Queued(ctx)
	if err != nil {
		return nil, err
	}
	var queue []time.Time
	now, furthest := n.Now(), n.furthest()
	for _, list := range queued {
		for _, t := range list {
			if t.Sub(now) > furthest {
				t = now
			}
			queue = append(queue, t)
		}
	}
	n.mu.Lock()
	n.queue = queue
	n.mu.Unlock()
	return queued, nil
}

func (n *Notifier) count(receiver string, r Result, k uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
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
	for _, receiver := range n.cfg.Notifications.Receivers {
		s.Counts[receiver.Name] = map[Result]uint64{}
		for _, r := range Results {
			s.Counts[receiver.Name][r] = n.counts[receiver.Name][r]
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
// has some seconds to arrive. It logs what fails and goes on. Each receiver has a
// sender of its own, so that one that hangs delays no other.
func (n *Notifier) Run(ctx context.Context) {
	var senders sync.WaitGroup
	defer senders.Wait()
	started := map[*sender]bool{}
	n.repeat(ctx, n.wake, func() (time.Time, error) {
		for _, s := range n.all() {
			if !started[s] {
				started[s] = true
				senders.Go(func() { n.repeat(ctx, s.wake, func() (time.Time, error) { return s.deliver(ctx) }) })
			}
		}
		return n.tidy(ctx)
	})
}

// repeat works at once, whenever it is woken and when work says so, until ctx ends.
func (n *Notifier) repeat(ctx context.Context, wake <-chan struct{}, work func() (next time.Time, err error)) {
	for ctx.Err() == nil {
		next, err := work()
		if err != nil && ctx.Err() == nil {
			n.Log.Error("Cannot process notifications; will retry", "err", err)
			next = n.Now().Add(time.Minute)
		}
		timer := time.NewTimer(min(next.Sub(n.Now()), idleCheck))
		select {
		case <-ctx.Done():
		case <-wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// Flush tries everything that is due once and says how many messages are left.
func (n *Notifier) Flush(ctx context.Context) (left int, err error) {
	if _, err := n.tidy(ctx); err != nil {
		return 0, err
	}
	var senders errgroup.Group
	for _, s := range n.all() {
		senders.Go(func() error { _, err := s.deliver(ctx); return err })
	}
	if err := senders.Wait(); err != nil {
		return 0, err
	}
	return n.Stats().Queued, nil
}

func (n *Notifier) all() []*sender {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Collect(maps.Values(n.senders))
}

// tidy forgets what was sent long ago, and drops what waits for receivers that left
// the configuration. It says when it has more to do.
func (n *Notifier) tidy(ctx context.Context) (next time.Time, err error) {
	now := n.Now()
	next = now.Add(idleCheck)
	if now.Sub(n.pruned).Abs() > 24*time.Hour {
		if err := n.Store.PruneOutbox(ctx, now.Add(-keepFor)); err != nil {
			return next, err
		}
		n.pruned = now
	}
	queued, err := n.recount(ctx)
	if err != nil {
		return next, err
	}
	for name := range queued {
		if _, cfg, ok := n.receiver(name); !ok {
			if err := n.abandon(ctx, name, now.Add(-cfg.GiveUp)); err != nil {
				return next, err
			}
		}
	}
	return next, nil
}

// receiver is the one of a name, if the configuration has it.
func (n *Notifier) receiver(name string) (r config.Receiver, cfg config.Notifications, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	cfg = n.cfg.Notifications
	i := slices.IndexFunc(cfg.Receivers, func(r config.Receiver) bool { return r.Name == name })
	if i < 0 {
		return r, cfg, false
	}
	return cfg.Receivers[i], cfg, true
}

// abandon drops the messages of before for a receiver that is not configured any more.
func (n *Notifier) abandon(ctx context.Context, receiver string, before time.Time) error {
	list, _, err := n.Store.Due(ctx, receiver, n.Now(), n.furthest())
	if err != nil {
		return err
	}
	for _, e := range list {
		if e.Created.After(before) {
			continue
		}
		n.Log.Error("Notification dropped", "receiver", receiver, "id", e.Key, "err", "the receiver is no longer in the configuration")
		if err := n.Store.Settle(ctx, e.ID, history.OutboxDropped, n.Now()); err != nil {
			return err
		}
	}
	_, err = n.recount(context.WithoutCancel(ctx))
	return err
}

// Test sends a test message to a receiver at once, past the outbox.
func Test(ctx context.Context, s *Services, r config.Receiver, now time.Time) error {
	return s.Send(ctx, r, test(r.Name, place{now: now}))
}

// Environ leaves out of an environment what holds the URL of a receiver: a
// worker process has no use for it.
func Environ(env []string, n config.Notifications) []string {
	return slices.DeleteFunc(slices.Clone(env), func(s string) bool {
		name, _, _ := strings.Cut(s, "=")
		return slices.ContainsFunc(n.Receivers, func(r config.Receiver) bool { return name != "" && r.URLEnv == name })
	})
}
