package notify

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/forecast"
)

// Observe queues the news in those of the records, ascending by ID, that were
// not looked at before; s is the state that they led to. When it returns nil,
// the news is durable.
//
// A failure is news at once. A result is news when the candidate is measured
// through and no newer version of the model waits: that one will be.
func (n *Notifier) Observe(ctx context.Context, s *standing.State, records []history.Record) error {
	n.mu.Lock()
	observed, cfg := n.observed, n.cfg
	n.mu.Unlock()
	fresh := after(records, observed)
	if len(fresh) == 0 {
		return nil
	}
	last := fresh[len(fresh)-1].ID
	counts := map[Result]map[string]uint64{Suppressed: {}, Dropped: {}}
	err := n.Store.UpdateOutbox(ctx, func(tx *history.OutboxTx) error {
		observed, err := tx.Observed()
		if err != nil {
			return err
		}
		d := derivation{tx: tx, cfg: cfg, state: s, describe: n.Describe, most: n.most, counts: counts,
			place: place{n.Now().UTC(), cfg.Notifications.ReportURL}}
		fresh := after(fresh, observed)
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
		return tx.SetObserved(last)
	})
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.observed = max(n.observed, last)
	n.mu.Unlock()
	for result, receivers := range counts {
		for receiver, k := range receivers {
			n.count(receiver, result, k)
		}
	}
	for receiver, k := range counts[Dropped] {
		n.Log.Error("Notifications dropped", "receiver", receiver, "messages", k, "err", fmt.Sprintf("more than %d are waiting: dropping the oldest", n.most))
	}
	if _, err := n.recount(ctx); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rouse()
	return nil
}

// Skip says that the records up to id are no news: somebody has read them.
func (n *Notifier) Skip(ctx context.Context, id int64) error {
	err := n.Store.UpdateOutbox(ctx, func(tx *history.OutboxTx) error { return tx.SetObserved(id) })
	if err == nil {
		n.mu.Lock()
		n.observed = max(n.observed, id)
		n.mu.Unlock()
	}
	return err
}

// Observed is the ID of the newest record that was looked at for news.
func (n *Notifier) Observed() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.observed
}

func after(records []history.Record, id int64) []history.Record {
	i, _ := slices.BinarySearchFunc(records, id+1, func(r history.Record, id int64) int { return cmp.Compare(r.ID, id) })
	return records[i:]
}

// derivation turns records into messages, within one transaction.
type derivation struct {
	place
	tx       *history.OutboxTx
	cfg      config.Config
	state    *standing.State
	describe func(*standing.Model, *standing.State) Words
	most     int
	counts   map[Result]map[string]uint64 // what becomes of messages here, by receiver
}

// ready reports whether the newest candidate of m is news by one of the records.
func (d *derivation) ready(m *standing.Model, fresh []history.Record) bool {
	switch m.Status {
	case standing.StatusMet, standing.StatusMissed, standing.StatusUnknown, standing.StatusUndecided, standing.StatusMeasured:
	default: // not through yet, or only failures, which are news by themselves
		return false
	}
	if !m.Current.Complete(m.Precisions) ||
		slices.ContainsFunc(d.state.Activity.Queue, func(j standing.Job) bool { return j.Model == m.Name && !older(j.Version, m.Current.Version) }) {
		return false
	}
	return slices.ContainsFunc(fresh, func(r history.Record) bool {
		return r.Model == m.Name && r.Digest == m.Current.Digest && r.Fingerprint == m.Series.Fingerprint
	})
}

// older reports whether a version comes before another. What is measured again of
// older candidates keeps no news waiting.
func older(version, than string) bool {
	a, errA := strconv.ParseInt(version, 10, 64)
	b, errB := strconv.ParseInt(than, 10, 64)
	return errA == nil && errB == nil && a < b
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
		news := milestoneNews{MilestoneState: x}
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
func probabilityOf(m standing.MilestoneState) *forecast.Probability {
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
		if !found || !d.now.Before(end) || first.Created.Sub(d.now) > time.Minute { // or it was sent before the clock was set back
			if err := d.add(to, failureTopic(r), msg, d.now); err != nil {
				return err
			}
			continue
		}
		d.counts[Suppressed][to.Name]++
		var earlier Message
		if err := json.Unmarshal(first.Body, &earlier); err != nil {
			return fmt.Errorf("message %d: %w", first.ID, err)
		}
		if earlier.Digest == r.Digest {
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

// add queues a message, to be sent from the moment due on. A full queue drops its
// oldest message.
func (d *derivation) add(r config.Receiver, topic string, m Message, due time.Time) error {
	body, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if _, err := d.tx.Add(history.OutboxEntry{Receiver: r.Name, Key: m.ID, Topic: topic, Created: due, Due: due, Repeats: 1, Body: body}); err != nil {
		return err
	}
	dropped, err := d.tx.Bound(r.Name, d.most, d.now)
	if dropped > 0 {
		d.counts[Dropped][r.Name] += uint64(dropped)
	}
	return err
}
