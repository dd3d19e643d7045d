package main

import (
	"context"
	"slices"

	"github.com/plancast/plancast/exporter/metrics"
	"github.com/plancast/plancast/exporter/notify"
	"github.com/plancast/plancast/exporter/report"
)

// openNews goes on telling where the last plancast stopped.
func (a *app) openNews(ctx context.Context) error {
	var err error
	a.news, err = notify.New(ctx, notify.Options{Store: a.store, Config: a.cfg, Now: a.now, Log: a.log})
	if err != nil {
		return err
	}
	a.metrics.SetNotifications(func() metrics.Notifications {
		s := a.news.Stats()
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

// tell queues what is news in the records; id is the record just made, 0 when
// none was.
func (a *app) tell(id int64) {
	ctx := context.Background() // the record is durable: its news shall be, too
	var err error
	if a.quiet && id > 0 {
		err = a.news.Skip(ctx, id)
	} else {
		a.mu.Lock()
		in := a.everything() // --model is no reason to forget the others' news
		if n := len(a.records); n == 0 || a.records[n-1].ID <= a.news.Told() {
			a.mu.Unlock()
			return // as after most scans
		}
		in.Records = slices.Clone(in.Records) // add changes elements in place
		a.mu.Unlock()
		err = a.news.Observe(ctx, report.Build(in), in.Records)
	}
	if err != nil {
		a.log.Error("News is queued later", "err", err)
	}
}
