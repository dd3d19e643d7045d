package pass

import (
	"context"

	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/config"
)

// A model that is first seen may have versions already. With repository.import: all
// they are its history: they are measured like all others, the oldest first, as long
// as the model has results in no other environment.

// importing reports whether the older versions of a model are measured in an
// environment.
func (r *Runner) importing(model, fingerprint string) bool {
	return r.Config.Repository.Import == config.ImportAll && r.eras[model].before(fingerprint) == ""
}

// imported are the versions of a model, beyond the backlog, that may be measured as
// its history: they have to be identified.
func (r *Runner) imported(model string, versions []candidate.Candidate) (out []candidate.Version) {
	if r.Config.Repository.Import != config.ImportAll || len(r.eras[model]) > 1 {
		return nil
	}
	for _, c := range versions {
		if c.Digest == "" {
			out = append(out, candidate.Version{Model: model, Version: c.Version})
		}
	}
	return out
}

// highest is the highest version of a model that has an iteration in an environment,
// 0 without one. Without jobs nobody needs it.
func (r *Runner) highest(ctx context.Context, model, fingerprint string, jobs []Job) (int64, error) {
	if len(jobs) == 0 || r.Store == nil {
		return 0, nil
	}
	version, err := r.Store.HighestVersion(ctx, model, fingerprint)
	return candidate.Candidate{Version: version}.Number(), err
}
