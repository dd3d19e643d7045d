package pass

import (
	"context"
	"fmt"
	"slices"

	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
)

// Again asks for candidates that have a result to be measured once more. The
// newer result counts; the earlier one is kept and marked superseded.
type Again struct {
	Models    func(model string) bool // nil selects all
	Version   string                  // "" is the newest version of each model
	Precision engine.Precision        // "" is each precision of the configuration
	Against   string                  // version to take turns with; "" is the one before
	By        history.Author          // stands in the audit trail, with the time of the new result
}

// OnRequest is the reason of whoever names none.
const OnRequest = "on request"

// selects reports whether a is about a version of a model; newest is the
// model's newest version in the repository.
func (a Again) selects(model, version, newest string) bool {
	if a.Models != nil && !a.Models(model) {
		return false
	}
	return version == a.Version || a.Version == "" && version == newest
}

func (a Again) wants(c candidate.Candidate, p engine.Precision, newest string) bool {
	return a.selects(c.Model, c.Version, newest) && (a.Precision == "" || a.Precision == p)
}

// wanting is who wants a job done once more, and against which version; nil is nobody.
func (r *Runner) wanting(c candidate.Candidate, p engine.Precision, newest string) (by *history.Author, against string) {
	for i, a := range r.Again {
		if a.wants(c, p, newest) {
			return &r.Again[i].By, a.Against
		}
	}
	return nil, ""
}

// scanned reads the repository. Besides the wanted versions it identifies those
// that are measured again, and those that jobs and their outputs are compared with.
func (r *Runner) scanned(ctx context.Context, bridges map[string]bridge) (candidate.Scan, error) {
	earlier := r.partners()
	for name, b := range bridges {
		for _, e := range b {
			earlier = append(earlier, candidate.Version{Model: name, Version: e.Version})
		}
	}
	scan, err := r.Repository.Scan(ctx, r.Config.Repository.Backlog, earlier...)
	if err != nil {
		return scan, err
	}
	more := len(earlier)
	for name, versions := range scan.Models {
		earlier = append(earlier, r.imported(name, versions)...)
		for i, c := range versions {
			if !slices.ContainsFunc(r.Again, func(a Again) bool { return a.selects(name, c.Version, newest(versions)) }) {
				continue
			}
			for _, v := range versions[max(0, i-1) : i+1] { // with the one before, to take turns with
				earlier = append(earlier, candidate.Version{Model: name, Version: v.Version})
			}
			for _, a := range r.Again {
				if a.Against != "" {
					earlier = append(earlier, candidate.Version{Model: name, Version: a.Against})
				}
			}
		}
	}
	if len(earlier) > more {
		if scan, err = r.Repository.Scan(ctx, r.Config.Repository.Backlog, earlier...); err != nil {
			return scan, err
		}
	}
	references, err := r.referencesToRead(ctx, scan)
	if err != nil || len(references) == 0 {
		return scan, err
	}
	return r.Repository.Scan(ctx, r.Config.Repository.Backlog, append(earlier, references...)...)
}

// unheard are the errors of requests to measure again that no job of the plan
// answers.
func (r *Runner) unheard(p Plan) []error {
	var out []error
	for _, a := range r.Again {
		answered := slices.ContainsFunc(p.Jobs, func(j Job) bool {
			return j.Again != nil && a.wants(j.Candidate, j.Precision, newest(p.Scan.Models[j.Candidate.Model]))
		})
		if !answered {
			out = append(out, a.unanswered(p.Scan))
		}
	}
	return out
}

// newest is the newest of a model's versions, which ascend.
func newest(versions []candidate.Candidate) string { return versions[len(versions)-1].Version }

// unanswered says why there is nothing to measure again.
func (a Again) unanswered(scan candidate.Scan) error {
	what := "version " + a.Version
	if a.Version == "" {
		what = "version"
	}
	for _, x := range scan.Pending {
		if a.selects(x.Model, x.Version, x.Version) {
			return fmt.Errorf("measure again: %s version %s is waiting: %s", x.Model, x.Version, x.Reason)
		}
	}
	for _, x := range scan.Refused {
		if x.Model != "" && a.selects(x.Model, x.Version, x.Version) {
			return fmt.Errorf("measure again: %s is rejected: %s", x.Path, x.Reason)
		}
	}
	if a.Precision != "" {
		what += " at " + string(a.Precision)
	}
	return fmt.Errorf("measure again: no selected model has a %s to measure: plancast check lists what the repository and the configuration have", what)
}

// predecessor is the newest measured record of a lower version, or of the one that the
// job names, in the job's environment: what a candidate that is measured again is
// compared with.
func (r *Runner) predecessor(ctx context.Context, job Job) (built, error) {
	var best built
	f := history.Filter{Model: job.Candidate.Model, Precision: job.Precision, Fingerprint: job.Fingerprint}
	for e, err := range history.Skip(r.Store.Entries(ctx, f), func(error) {}) { // damage was named at the start
		if err != nil {
			return built{}, err
		}
		one := built{record: e.ID, version: e.Version}
		fits := one.number() < job.Candidate.Number()
		if job.against != "" {
			fits = e.Version == job.against
		}
		if e.OK() && e.Counts() && fits && !one.before(best) {
			best = one
		}
	}
	return best, nil
}

// number is the place of the version in the order of versions.
func (b built) number() int64 { return candidate.Candidate{Version: b.version}.Number() }

// before reports whether b is older than o: of a lower version, or an earlier
// record of the same.
func (b built) before(o built) bool {
	if x, y := b.number(), o.number(); x != y {
		return x < y
	}
	return b.record < o.record
}
