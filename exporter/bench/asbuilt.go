package bench

import (
	"math"
	"strconv"

	"github.com/plancast/plancast/exporter/engine"
)

// builtFor are the shapes that a plan allows that was built before plancast saw it; none
// of any other engine.
func (r *run) builtFor() map[string]engine.Profile {
	if e, ok := r.engine.(engine.Ranged); ok {
		return e.Ranges()
	}
	return nil
}

// tuned gives dimensions whose size nobody says, the batch aside, the size that the
// plan is tuned for.
func (r *run) tuned(ranges map[string]engine.Profile) {
	for _, in := range r.inputs {
		for i, size := range ranges[in.Name].Opt {
			key := in.Name + "/" + strconv.Itoa(i)
			if _, given := r.dims[key]; i > 0 && !given && in.Dims[i].Size < 0 {
				r.dims[key] = size
			}
		}
	}
}

// admits reports whether the first dimension of each range allows a batch.
func admits(ranges map[string]engine.Profile, batch int) bool {
	for _, p := range ranges {
		if len(p.Min) > 0 && (int64(batch) < p.Min[0] || int64(batch) > p.Max[0]) {
			return false
		}
	}
	return true
}

// tunedFor is the largest batch that all ranges are tuned for.
func tunedFor(ranges map[string]engine.Profile) int {
	batch := int64(math.MaxInt32)
	for _, p := range ranges {
		if len(p.Opt) > 0 {
			batch = min(batch, p.Opt[0])
		}
	}
	return int(batch)
}
