package daemon

import (
	"context"

	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/pass"
)

// trace records what a scan says of the candidates' changes and the one before
// did not, and reads the models again of which it was news.
func (d observer) trace(before candidate.Scan, p pass.Plan) error {
	type version struct{ model, name string }
	known := map[version]candidate.Candidate{}
	for _, list := range before.Models {
		for _, c := range list {
			known[version{c.Model, c.Version}] = c
		}
	}
	var fresh []history.Traced
	for _, list := range p.Scan.Models {
		for _, c := range list {
			k, ok := known[version{c.Model, c.Version}]
			if c.Change != nil && !(ok && k.Digest == c.Digest && k.Change != nil && k.Change.Equal(*c.Change)) {
				fresh = append(fresh, history.Traced{Model: c.Model, Version: c.Version, Digest: c.Digest, Origin: history.OriginRepository, Change: *c.Change})
			}
		}
	}
	if !d.options.Change.Empty() {
		for i, j := range p.Jobs {
			if c := j.Candidate; i == 0 || c.Digest != p.Jobs[i-1].Candidate.Digest || c.Model != p.Jobs[i-1].Candidate.Model {
				fresh = append(fresh, history.Traced{Model: c.Model, Version: c.Version, Digest: c.Digest, Origin: history.OriginRun, Change: d.options.Change})
			}
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	ctx := context.Background() // what is known is kept, even when plancast is asked to stop meanwhile
	models, err := d.store.Trace(ctx, fresh, d.now())
	for _, name := range models {
		if err := d.readAgain(ctx, name); err != nil {
			return err
		}
	}
	if len(models) > 0 {
		d.log.Info("Changes recorded", "models", len(models))
		d.refresh()
	}
	return err
}
