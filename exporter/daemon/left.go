package daemon

import (
	"context"
	"maps"
	"time"

	"github.com/plancast/plancast/exporter/pass"
)

// note notes which models of the history are no longer in the repository, and
// since when, so that a milestone does not lose them with the next start.
func (d *Daemon) note(p pass.Plan) {
	cfg, _ := d.inForce()
	present, _ := held(cfg, p)
	d.mu.Lock()
	before := d.evidence.left
	known := map[string]bool{}
	for _, r := range d.evidence.records {
		known[r.Model] = true
	}
	d.mu.Unlock()
	for _, m := range present {
		delete(known, m.Name)
	}
	now := map[string]time.Time{}
	for name := range known {
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
		d.log.Error("It is not noted which models left the repository", "err", err)
	}
}
