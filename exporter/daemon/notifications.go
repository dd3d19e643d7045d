package daemon

import (
	"context"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/metrics"
	"github.com/plancast/plancast/exporter/notify"
	"github.com/plancast/plancast/exporter/report"
	"github.com/plancast/plancast/exporter/standing"
)

// openNotifier goes on where the last plancast stopped.
func (d *Daemon) openNotifier(ctx context.Context) error {
	var err error
	d.notifier, err = notify.New(ctx, notify.Options{
		Store: d.store, Config: d.linked(d.options.Config), Now: d.now, Log: d.log,
		Send:     (&notify.Services{Command: d.options.Sender}).Send,
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

// linked is a configuration whose notifications lead to where plancast is reached,
// unless it says so itself.
func (d *Daemon) linked(cfg config.Config) config.Config {
	if at := d.options.Web.External; cfg.Notifications.ReportURL == "" && at != "" {
		cfg.Notifications.ReportURL = at + "/"
	}
	return cfg
}

// notify queues what is news in the records; id is the record just made, 0 when
// none was.
func (d *Daemon) notify(id int64) {
	ctx := context.Background() // the record is durable: its news shall be, too
	var err error
	if d.options.Unnotified && id > 0 {
		err = d.notifier.Skip(ctx, id)
	} else {
		err = d.observe(ctx)
	}
	if err != nil {
		d.log.Error("Cannot queue notifications; will retry", "err", err)
	}
}

// observe queues the news of all records that were not looked at yet.
func (d *Daemon) observe(ctx context.Context) error {
	for {
		fresh, err := d.since(ctx, d.notifier.Observed())
		if err != nil || len(fresh) == 0 {
			return err
		}
		if err := d.notifier.Observe(ctx, d.state(), fresh); err != nil {
			return err
		}
	}
}

// newsAtOnce is how many records are held to look for news in them.
const newsAtOnce = 256

// since are the next records after an ID. Those that cannot be read are left out:
// they were named when the history was opened.
func (d *Daemon) since(ctx context.Context, id int64) ([]history.Record, error) {
	var out []history.Record
	for r, err := range history.Skip(d.store.Records(ctx, history.Filter{AfterID: id}), func(error) {}) {
		if err != nil {
			return nil, err
		}
		if out = append(out, r); len(out) == newsAtOnce {
			break
		}
	}
	return out, nil
}

// Flush tries each queued message once and returns how many are left.
func (d *Daemon) Flush(ctx context.Context) (left int, err error) { return d.notifier.Flush(ctx) }
