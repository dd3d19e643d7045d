package pass

import (
	"context"
	"os"
	"path/filepath"
	"slices"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
)

// partners are the versions that the next candidate of each lineage is compared
// with: a scan identifies them although they are measured.
func (r *Runner) partners() []candidate.Version {
	if !r.Config.Pair {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []candidate.Version
	for l, b := range r.previous {
		if v := (candidate.Version{Model: l.model, Version: b.version}); !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}

// before is the newest measured record of the job's lineage. Where that is of no
// older version, or the job is done again or for a bridge, it is that of the version
// before in the job's environment. It is nil without one. The history has it, whoever
// measured it and however long ago.
func (r *Runner) before(ctx context.Context, job Job, backend Backend) *history.Record {
	l := lineage{job.Candidate.Model, backend.Name, job.Precision}
	r.mu.Lock()
	b := r.previous[l]
	r.mu.Unlock()
	var err error
	if again := job.Again != nil || job.Bridge; again || b.number() >= job.Candidate.Number() {
		var p built
		if p, err = r.predecessor(ctx, job); again || p != (built{}) {
			b = p
		}
	}
	if err == nil && b == (built{}) {
		if job.against != "" {
			r.Log.Warn("The version to alternate with has no result here", "job", job.String(), "against", job.against)
		}
		return nil
	}
	var rec history.Record
	if err == nil {
		rec, err = r.Store.Record(ctx, b.record)
	}
	if err != nil {
		r.Log.Warn("Cannot read the previous result; changes since then stay unknown", "model", l.model, "version", b.version, "precision", l.precision, "err", err)
		return nil
	}
	return &rec
}

// partner is what a candidate is timed in turns with: the one that was measured
// before it or, at first sight of a model, itself in a second build. It is nil
// where nothing is to be compared, or nothing can be: then the two results are
// compared as they are. What a rebuild changed, if that was measured, goes from
// record to record.
func (r *Runner) partner(ctx context.Context, job Job, before *history.Record, own *bench.Job, dir string) (*bench.Partner, *bench.Comparison) {
	c := job.Candidate
	if before == nil {
		if !r.Config.Pair || own.Guard.Rebuild == 0 || job.Bridge {
			return nil, nil
		}
		return &bench.Partner{Version: c.Version, Digest: c.Digest, Rebuild: true, ModelPath: own.ModelPath, CalibrationPath: own.CalibrationPath}, nil
	}
	rebuild := before.Measurement.Rebuild
	older := job.against != "" || candidate.Candidate{Version: before.Version}.Number() < c.Number()
	if !r.Config.Pair || !older || before.Digest == c.Digest {
		return nil, rebuild
	}
	p := &bench.Partner{Version: before.Version, Digest: before.Digest}
	if before.Fingerprint == job.Fingerprint {
		p.Iteration = before.Iteration
		plan := before.Measurement.Plan
		if _, err := os.Stat(plan.Path); err == nil {
			p.Plan = &plan
			return p, rebuild
		}
	}
	// What is not kept is built again, from the same bytes.
	found, ok := r.scan.Find(c.Model, before.Version)
	if !ok || found.Digest != before.Digest {
		return p, rebuild // the worker says why there is no comparison
	}
	staged := filepath.Join(dir, "before")
	err := os.Mkdir(staged, 0o755)
	if err == nil {
		err = r.Repository.Stage(ctx, found.Bare(), staged)
	}
	if err != nil {
		r.Log.Warn("Cannot copy the previous candidate; comparing the two results as they are", "job", job.String(), "before", before.Version, "err", err)
		return nil, rebuild
	}
	p.ModelPath = filepath.Join(staged, found.File())
	if _, ok := found.Files[candidate.CalibrationFile]; ok {
		p.CalibrationPath = filepath.Join(staged, candidate.CalibrationFile)
	}
	return p, rebuild
}

// couldBePartner reports whether a job may have failed because of the engine that
// was loaded beside its own.
func couldBePartner(k engine.Kind) bool {
	return k == engine.KindCrashed || k == engine.KindOutOfMemory || k == engine.KindTimeout
}
