package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/history"
)

// sender sends a receiver its messages, one at a time, whatever becomes of those of
// other receivers.
type sender struct {
	n        *Notifier
	receiver string // its name
	wake     chan struct{}

	// How the receiver has fared of late; n.mu guards it.
	failures int       // attempts in a row
	next     time.Time // no attempt before
}

// deliver sends what is due, and says when there is more to do. It stops at the
// first failure: the receiver is left alone for a while. Messages with the fewest
// attempts come first, so that one that is never taken does not hold up the others.
func (s *sender) deliver(ctx context.Context) (next time.Time, err error) {
	n := s.n
	now := n.Now()
	next = now.Add(idleCheck)
	r, cfg, ok := n.receiver(s.receiver)
	if !ok {
		return next, nil
	}
	if until, rests := s.rests(now); rests {
		return until, nil
	}
	list, due, err := n.Store.Due(ctx, s.receiver, now, n.furthest())
	if err != nil {
		return next, err
	}
	if !due.IsZero() {
		next = due
	}
	for _, e := range list {
		if ctx.Err() != nil {
			return next, nil
		}
		sent, err := s.attempt(ctx, cfg, r, e)
		if err != nil {
			return next, err
		}
		if !sent {
			next, _ = s.rests(n.Now())
			break
		}
	}
	_, err = n.recount(context.WithoutCancel(ctx))
	return next, err
}

// rests reports whether the receiver is left alone after a failure, and until when.
func (s *sender) rests(now time.Time) (until time.Time, rests bool) {
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	wait := s.next.Sub(now)
	return s.next, wait > 0 && wait <= lastDelay // more, and the clock was set back
}

// attempt sends one message and notes the outcome, also while plancast stops.
func (s *sender) attempt(ctx context.Context, cfg config.Notifications, r config.Receiver, e history.OutboxEntry) (sent bool, err error) {
	n, durable := s.n, context.WithoutCancel(ctx)
	var m Message
	if err := json.Unmarshal(e.Body, &m); err != nil {
		return false, fmt.Errorf("message %d for %s: %w", e.ID, r.Name, err)
	}
	if strings.HasPrefix(e.Key, "repeat/") {
		m = m.counted(e.Repeats)
	}
	why := s.send(ctx, r, m)
	now := n.Now()
	switch {
	case why == nil:
		s.fared(true, now)
		if err := n.Store.Settle(durable, e.ID, history.OutboxSent, now); err != nil {
			return false, err
		}
		n.count(r.Name, Sent, 1)
		n.Log.Info("Notification sent", "receiver", r.Name, "id", e.Key)
		return true, nil
	case ctx.Err() != nil:
		return false, nil // it is tried again after the start
	case now.Sub(e.Created) >= cfg.GiveUp:
		n.Log.Error("Notification dropped", "receiver", r.Name, "id", e.Key, "attempts", e.Attempts+1, "err", why)
		if err := n.Store.Settle(durable, e.ID, history.OutboxDropped, now); err != nil {
			return false, err
		}
		n.count(r.Name, Dropped, 1)
	default:
		wait := delay(e.Attempts, n.Random())
		n.Log.Warn("Notification failed", "receiver", r.Name, "id", e.Key, "attempts", e.Attempts+1, "again_in", wait.Round(time.Second), "err", why)
		if err := n.Store.Postpone(durable, e.ID, now.Add(wait)); err != nil {
			return false, err
		}
	}
	n.count(r.Name, Failed, 1)
	s.fared(false, now)
	return false, nil
}

// fared notes whether the receiver took a message.
func (s *sender) fared(well bool, now time.Time) {
	s.n.mu.Lock()
	defer s.n.mu.Unlock()
	if well {
		s.failures = 0
		return
	}
	s.next = now.Add(delay(s.failures, s.n.Random()))
	s.failures++
}

// send gives a message under way some seconds when plancast stops.
func (s *sender) send(ctx context.Context, r config.Receiver, m Message) error {
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
	return s.n.Send(sending, r, m)
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
