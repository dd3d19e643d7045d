package daemon

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/plancast/plancast/exporter/pass"
	"github.com/plancast/plancast/exporter/standing"
)

// note notes which models of the history are no longer in the repository, and
// since when, so that a milestone does not lose them with the next start.
func (d *Daemon) note(p pass.Plan) {
	cfg, _ := d.inForce()
	present, _ := held(cfg, p)
	d.deriving.Lock()
	d.catchUp()
	known := d.tracker.Models()
	d.deriving.Unlock()
	d.mu.Lock()
	before := d.evidence.left
	d.mu.Unlock()
	now := map[string]time.Time{}
	for _, name := range known {
		if slices.ContainsFunc(present, func(m standing.Held) bool { return m.Name == name }) {
			continue
		}
		since, ok := before[name]
		if !ok {
			since = d.now().UTC()
		}
		now[name] = since
	}
	if maps.EqualFunc(now, before, time.Time.Equal) {
		return
	}
	d.mu.Lock()
	d.evidence.left = now
	d.mu.Unlock()
	if err := d.store.SetLeft(context.Background(), now); err != nil {
		d.log.Error("Cannot record which models left the repository", "err", err)
	}
}
