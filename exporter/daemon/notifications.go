package daemon

import (
	"context"
	"slices"

	"github.com/plancast/plancast/exporter/metrics"
	"github.com/plancast/plancast/exporter/notify"
	"github.com/plancast/plancast/exporter/report"
	"github.com/plancast/plancast/exporter/standing"
)

// openNotifier goes on where the last plancast stopped.
func (d *Daemon) openNotifier(ctx context.Context) error {
	var err error
	d.notifier, err = notify.New(ctx, notify.Options{
		Store: d.store, Config: d.Config, Now: d.Now, Log: d.Log,
		Describe: func(m *standing.Model, s *standing.State) notify.Words { return report.Describe(m, s) },
	})
	if err != nil {
		return err
	}
	d.metrics.SetNotifications(func() metrics.Notifications {
		s := d.notifier.Stats()
		out := metrics.Notifications{Queued: s.Queued, OldestAge: s.Oldest, Results: map[string]map[string]uint64{}}
		for receiver, counts := range s.Counts {
			out.Results[receiver] = map[string]uint64{}
			for result, v := range counts {
				out.Results[receiver][string(result)] = v
			}
		}
		return out
	})
	return nil
}

// notify queues what is news in the records; id is the record just made, 0 when
// none was.
func (d *Daemon) notify(id int64) {
	ctx := context.Background() // the record is durable: its news shall be, too
	var err error
	if d.Unnotified && id > 0 {
		err = d.notifier.Skip(ctx, id)
	} else {
		d.mu.Lock()
		if n := len(d.records); n == 0 || d.records[n-1].ID <= d.notifier.Told() {
			d.mu.Unlock()
			return // as after most scans
		}
		records, state := slices.Clone(d.records), d.state.At(d.Now(), d.activity()) // add changes elements in place
		d.mu.Unlock()
		err = d.notifier.Observe(ctx, state, records)
	}
	if err != nil {
		d.Log.Error("News is queued later", "err", err)
	}
}

// Flush tries each queued message once and returns how many are left.
func (d *Daemon) Flush(ctx context.Context) (left int, err error) { return d.notifier.Flush(ctx) }
