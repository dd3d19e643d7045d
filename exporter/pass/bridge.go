package pass

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/history"
)

// A change of environment starts a new series. The newest candidates of the one
// before, as far as the repository holds them, are measured again after all others,
// the oldest first: they are the history of the new series. The newest candidate
// comes before them and leaves iterations free for them.

// bridge are those of a model's candidates, the oldest first.
type bridge []history.Entry

// bridges finds the candidates of every model that are to be measured again in the
// environment that counts now.
func (r *Runner) bridges(ctx context.Context, scan candidate.Scan, backend Backend, only func(model string) bool) (map[string]bridge, error) {
	out := map[string]bridge{}
	for name, versions := range scan.Models {
		if r.Config.Remeasure == 0 || only != nil && !only(name) {
			continue
		}
		c, ok := usable(versions)
		if !ok {
			continue
		}
		fingerprint, err := r.fingerprint(backend, c)
		if err != nil {
			return nil, err
		}
		before := r.eras[name].before(fingerprint)
		if before == "" || r.Chosen.bridged[name] == fingerprint {
			continue
		}
		b, err := r.bridge(ctx, name, versions, before, fingerprint)
		if err != nil {
			return nil, fmt.Errorf("plan %s: %w", name, err)
		}
		if len(b) > 0 {
			out[name] = b
			continue
		}
		if r.Chosen.bridged == nil {
			r.Chosen.bridged = map[string]string{}
		}
		r.Chosen.bridged[name] = fingerprint
	}
	return out, nil
}

// usable is the newest version that was identified.
func usable(versions []candidate.Candidate) (candidate.Candidate, bool) {
	for _, c := range slices.Backward(versions) {
		if c.Digest != "" {
			return c, true
		}
	}
	return candidate.Candidate{}, false
}

// bridge finds those of one model: of the newest that were measured in the
// environment before, those that have no record in this one, are not wanted anyway,
// and have an iteration left to be.
func (r *Runner) bridge(ctx context.Context, model string, versions []candidate.Candidate, before, now string) (bridge, error) {
	there, err := r.entries(ctx, model, before)
	if err != nil {
		return nil, err
	}
	here, err := r.entries(ctx, model, now)
	if err != nil {
		return nil, err
	}
	var out bridge
	newest := 0 // of the candidates that were measured there and are held
	for i, e := range slices.Backward(there) {
		again := i+1 < len(there) && there[i+1].Version == e.Version // at another precision
		held := slices.IndexFunc(versions, func(c candidate.Candidate) bool { return c.Version == e.Version })
		if !e.OK() || !e.Counts() || again || held < 0 {
			continue
		}
		if newest++; newest > r.Config.Remeasure {
			break
		}
		if versions[held].Digest == "" && fits(here, e) {
			out = append(out, e)
		}
	}
	slices.Reverse(out)
	return out, nil
}

// entries are those of a model in an environment by version; those without an
// iteration are left out.
func (r *Runner) entries(ctx context.Context, model, fingerprint string) ([]history.Entry, error) {
	var out []history.Entry
	for e, err := range history.Skip(r.Store.Entries(ctx, history.Filter{Model: model, Fingerprint: fingerprint}), func(error) {}) { // damage was named at the start
		if err != nil {
			return nil, err
		}
		if e.Iteration > 0 {
			out = append(out, e)
		}
	}
	slices.SortStableFunc(out, func(a, b history.Entry) int { return cmp.Compare(a.Iteration, b.Iteration) })
	return out, nil
}

// fits reports whether a candidate has no record among the entries of an environment
// and an iteration there: a free one between its neighbors.
func fits(entries []history.Entry, e history.Entry) bool {
	n := candidate.Candidate{Version: e.Version}.Number()
	last, next := 0, 0
	for _, x := range entries {
		switch at := (candidate.Candidate{Version: x.Version}).Number(); {
		case x.Digest == e.Digest:
			return false
		case at < n:
			last = x.Iteration
		case next == 0:
			next = x.Iteration
		}
	}
	return next == 0 || next-last > 1 // without a next one the newest candidate is still to come, and leaves them
}

// leaveRoom notes with each job how many versions that may come later lie between its
// own and the one before that, of jobs by version; last is the highest version that
// has an iteration.
func leaveRoom(jobs []Job, last int64, later map[int64]bool) {
	for i := range jobs {
		n := jobs[i].Candidate.Number()
		if i > 0 && sameCandidate(jobs[i], jobs[i-1]) {
			jobs[i].room = jobs[i-1].room
			continue
		}
		for v := range later {
			if last < v && v < n {
				jobs[i].room++
			}
		}
		last = max(last, n)
	}
}

// later are the versions of a model that may be measured after newer ones: those of
// a bridge, those that wait and, of a model without results in another environment,
// those that are older than the backlog reaches.
func (r *Runner) later(scan candidate.Scan, model, fingerprint string, jobs, bridged []Job) map[int64]bool {
	out := map[int64]bool{}
	for _, j := range bridged {
		out[j.Candidate.Number()] = true
	}
	for _, c := range scan.Models[model] {
		if c.Digest == "" && r.eras[model].before(fingerprint) == "" {
			out[c.Number()] = true
		}
	}
	for _, p := range scan.Pending {
		if p.Model == model {
			out[candidate.Candidate{Version: p.Version}.Number()] = true
		}
	}
	for _, j := range jobs {
		delete(out, j.Candidate.Number())
	}
	return out
}

// bridgeJobs are what is left to be done of a bridge.
func (r *Runner) bridgeJobs(ctx context.Context, scan candidate.Scan, backend Backend, name string, b bridge, now string) ([]Job, error) {
	var jobs []Job
	for _, e := range b {
		c, ok := scan.Find(name, e.Version)
		if !ok || c.Digest != e.Digest {
			continue // another file has its version now
		}
		fingerprint, err := r.fingerprint(backend, c)
		if err != nil {
			return nil, err
		}
		if fingerprint != now {
			continue // its inputs are others
		}
		for _, p := range r.precisions(c) {
			k := key{name, c.Digest, p, fingerprint}
			if err := r.recall(ctx, k); err != nil {
				return nil, err
			}
			if _, done := r.done[k]; !done {
				jobs = append(jobs, Job{Candidate: c, Precision: p, Fingerprint: fingerprint, Expected: r.took[lineage{name, backend.Name, p}], Bridge: true})
			}
		}
	}
	return jobs, nil
}

// eras are the environments in which a model was measured, with the newest known
// record of each.
type eras map[string]int64

// before is the environment before another: the one of the newest record that is not
// of that one; "" without one.
func (e eras) before(fingerprint string) (found string) {
	newest := int64(0)
	for f, id := range e {
		if f != fingerprint && id > newest {
			found, newest = f, id
		}
	}
	return found
}
