// Package notify tells people what must not wait for a scrape: a new result
// and a failed build, each to those whom the configuration names for the
// model's owner.
//
// News goes through an outbox in the history. Observe derives it from records
// and queues it in one transaction with the mark of how far the records were
// looked at, so that each record is told exactly once however plancast ends;
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
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/forecast"
)

const (
	firstDelay = 10 * time.Second    // after the first failed attempt
	lastDelay  = 30 * time.Minute    // between attempts at most
	stopGrace  = 5 * time.Second     // for a message under way when plancast stops
	idleCheck  = time.Hour           // the outbox is looked at that often even when nothing is due
	keepFor    = 90 * 24 * time.Hour // what was sent is known, to tell repeats
)

// Options are what a Notifier works with; it owns none of it.
type Options struct {
	Store  *history.Store
	Config config.Config
	// Describe writes a model of a state down in the words of the report, so
	// that both say the same.
	Describe func(*standing.Model, *standing.State) Words
	// Send gives a message to a receiver; nil sends through Services.
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
	WarningTexts() []string  // reasons not to trust the result in the headline
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
	told      int64
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
	if o.Send == nil {
		o.Send = new(Services).Send
	}
	if o.Random == nil {
		o.Random = rand.Float64
	}
	n := &Notifier{Options: o, wake: make(chan struct{}, 1), counts: map[string]map[Result]uint64{}}
	n.Configure(o.Config)
	if err := o.Store.UpdateOutbox(ctx, func(tx *history.OutboxTx) (err error) {
		n.told, err = tx.Told()
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

// Observe queues the news in those of the records, ascending by ID, that were
// not looked at before; s is the state that they led to. When it returns nil,
// the news is durable.
//
// A failure is news at once. A result is news when the candidate is measured
// through and no newer version of the model waits: that one will be.
func (n *Notifier) Observe(ctx context.Context, s *standing.State, records []history.Record) error {
	n.mu.Lock()
	told, cfg := n.told, n.cfg
	n.mu.Unlock()
	fresh := after(records, told)
	if len(fresh) == 0 {
		return nil
	}
	last := fresh[len(fresh)-1].ID
	suppressed := map[string]uint64{}
	err := n.Store.UpdateOutbox(ctx, func(tx *history.OutboxTx) error {
		told, err := tx.Told()
		if err != nil {
			return err
		}
		d := derivation{tx: tx, cfg: cfg, state: s, describe: n.Describe, suppressed: suppressed,
			place: place{n.Now().UTC(), cfg.Location, cfg.Notifications.ReportURL}}
		fresh := after(fresh, told)
		for _, r := range fresh {
			if r.Failure != nil && !r.Unsupported() {
				if err := d.failure(r); err != nil {
					return err
				}
			}
		}
		for _, m := range s.Models {
			if d.ready(m, fresh) {
				if err := d.result(m); err != nil {
					return err
				}
			}
		}
		return tx.SetTold(last)
	})
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.told = max(n.told, last)
	n.mu.Unlock()
	for receiver, k := range suppressed {
		n.count(receiver, Suppressed, k)
	}
	if err := n.recount(ctx); err != nil {
		return err
	}
	n.rouse()
	return nil
}

// Skip says that the records up to id are no news: somebody has seen them.
func (n *Notifier) Skip(ctx context.Context, id int64) error {
	err := n.Store.UpdateOutbox(ctx, func(tx *history.OutboxTx) error { return tx.SetTold(id) })
	if err == nil {
		n.mu.Lock()
		n.told = max(n.told, id)
		n.mu.Unlock()
	}
	return err
}

// Told is the ID of the newest record that was looked at for news.
func (n *Notifier) Told() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.told
}

func after(records []history.Record, id int64) []history.Record {
	i, _ := slices.BinarySearchFunc(records, id+1, func(r history.Record, id int64) int { return cmp.Compare(r.ID, id) })
	return records[i:]
}

// derivation turns records into messages, within one transaction.
type derivation struct {
	place
	tx         *history.OutboxTx
	cfg        config.Config
	state      *standing.State
	describe   func(*standing.Model, *standing.State) Words
	suppressed map[string]uint64 // by receiver
}

// ready reports whether the newest candidate of m is news by one of the records.
func (d *derivation) ready(m *standing.Model, fresh []history.Record) bool {
	switch m.Status {
	case standing.StatusMet, standing.StatusMissed, standing.StatusUnknown, standing.StatusUndecided, standing.StatusMeasured:
	default: // not through yet, or only failures, which are news by themselves
		return false
	}
	if !m.Current.Complete(m.Precisions) ||
		slices.ContainsFunc(d.state.Activity.Queue, func(j standing.Job) bool { return j.Model == m.Name }) {
		return false
	}
	return slices.ContainsFunc(fresh, func(r history.Record) bool {
		return r.Model == m.Name && r.Digest == m.Current.Digest && r.Fingerprint == m.Series.Fingerprint
	})
}

// result queues the news of a model's newest candidate, and notes what it says
// for the next one to compare with.
func (d *derivation) result(m *standing.Model) error {
	place := "environment/" + m.Name
	before, known, err := d.tx.Note(place)
	if err != nil {
		return err
	}
	if err := d.tx.SetNote(place, m.Series.Fingerprint); err != nil {
		return err
	}
	var milestones []milestoneNews
	for _, x := range d.state.Milestones {
		if _, ok := m.Verdict(standing.KindMilestone, x.Name); !ok {
			continue
		}
		news := milestoneNews{Milestone: x}
		if p := probabilityOf(x); p != nil {
			subject := "probability/" + x.Name
			text, _, err := d.tx.Note(subject)
			if err != nil {
				return err
			}
			if was, err := strconv.ParseFloat(text, 64); err == nil {
				news.was = &was
			}
			if err := d.tx.SetNote(subject, strconv.FormatFloat(p.Value, 'g', -1, 64)); err != nil {
				return err
			}
		}
		milestones = append(milestones, news)
	}
	msg := result(m, d.describe(m, d.state), milestones, known && before != m.Series.Fingerprint, d.place)
	msg.ID = resultKey(m)
	for _, r := range d.cfg.Notifications.For(m.Name, m.Owner, msg.Events...) {
		if err := d.add(r, "result/"+m.Name, msg, d.now); err != nil {
			return err
		}
	}
	return nil
}

// probabilityOf is the probability of a milestone; nil without one.
func probabilityOf(m standing.Milestone) *forecast.Probability {
	if m.Forecast == nil {
		return nil
	}
	return m.Forecast.Probability
}

// failure queues the news of a failed job. Of the same kind of failure of the
// same model within the window, the same candidate's is left out, and another
// candidate's is counted in one message at the end of the window.
func (d *derivation) failure(r history.Record) error {
	owner := d.cfg.ModelFor(r.Model).Owner
	lastGood := ""
	if i := slices.IndexFunc(d.state.Models, func(m *standing.Model) bool { return m.Name == r.Model }); i >= 0 {
		lastGood = d.describe(d.state.Models[i], d.state).LastGoodText()
	}
	msg := failure(r, owner, lastGood, d.place)
	msg.ID = fmt.Sprintf("failure/%d", r.ID)
	for _, to := range d.cfg.Notifications.For(r.Model, owner, config.EventFailure) {
		first, found, err := d.tx.Newest(to.Name, failureTopic(r))
		if err != nil {
			return err
		}
		end := first.Created.Add(d.cfg.Notifications.Repeat)
		if !found || !d.now.Before(end) {
			if err := d.add(to, failureTopic(r), msg, d.now); err != nil {
				return err
			}
			continue
		}
		d.suppressed[to.Name]++
		var told Message
		if err := json.Unmarshal(first.Body, &told); err != nil {
			return fmt.Errorf("message %d: %w", first.ID, err)
		}
		if told.Digest == r.Digest {
			continue
		}
		summary := repeated(r, owner, first.Created, d.place)
		summary.ID = fmt.Sprintf("repeat/%d", first.ID)
		waiting, found, err := d.tx.Newest(to.Name, summary.ID)
		if err != nil {
			return err
		}
		if found {
			body, err := json.Marshal(summary)
			if err != nil {
				return err
			}
			if err := d.tx.Repeat(waiting.ID, body); err != nil {
				return err
			}
		} else if err := d.add(to, summary.ID, summary, end); err != nil {
			return err
		}
	}
	return nil
}

// add queues a message, to be sent from the moment due on.
func (d *derivation) add(r config.Receiver, topic string, m Message, due time.Time) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = d.tx.Add(history.OutboxEntry{Receiver: r.Name, Key: m.ID, Topic: topic, Created: due, Due: due, Repeats: 1, Body: body})
	return err
}

// recount renews what Stats says of the queue.
func (n *Notifier) recount(ctx context.Context) error {
	list, err := n.Store.Waiting(ctx)
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

// Stats tells how the notifications fare.
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
	if now := n.Now(); now.Sub(n.pruned) > 24*time.Hour {
		if err := n.Store.PruneOutbox(ctx, now.Add(-keepFor)); err != nil {
			return next, err
		}
		n.pruned = now
	}
	list, err := n.Store.Waiting(ctx)
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
	if state.next.After(n.Now()) {
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
