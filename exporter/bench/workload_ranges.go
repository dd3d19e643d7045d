package bench

import (
	"errors"
	"reflect"
	"slices"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/workload"
)

// trafficRanges are the ranges of shapes that workloads need beside those of the closed
// loop, equal ones once, and notes which is whose. Each is an optimization profile of
// its own: what is tuned for a workload changes neither the closed loop's figures nor
// another workload's. A workload whose shapes are not known has none, and says so when
// it is measured.
func (r *run) trafficRanges(closed map[string]engine.Profile) []map[string]engine.Profile {
	r.profiles = map[string]int{}
	all := []map[string]engine.Profile{closed}
	for _, w := range r.job.Options.Workloads {
		ranges, err := r.rangesOf(w)
		if err != nil {
			continue
		}
		i := slices.IndexFunc(all, func(p map[string]engine.Profile) bool { return reflect.DeepEqual(p, ranges) })
		if i < 0 {
			i, all = len(all), append(all, ranges)
		}
		r.profiles[w.Name] = i
	}
	return all[1:]
}

// rangesOf are the ranges of a workload's shapes, tuned for the one with the largest
// share. Where the job gives a profile of an input that covers them, it is that.
func (r *run) rangesOf(w workload.Workload) (map[string]engine.Profile, error) {
	w, err := r.mixed(w)
	if err != nil {
		return nil, err
	}
	shares := w.Shares()
	heaviest := slices.Index(shares, slices.Max(shares))
	ranges := map[string]engine.Profile{}
	for k, s := range w.Shapes {
		steps, err := r.stepsOf(w, s)
		if err != nil {
			return nil, err
		}
		for i, in := range r.inputs {
			if !in.Dynamic() {
				continue
			}
			p := ranges[in.Name]
			for _, shapes := range steps {
				p.Min, p.Max = fold(p.Min, shapes[i], lower), fold(p.Max, shapes[i], higher)
			}
			if k == heaviest {
				p.Opt = steps[0][i]
			}
			ranges[in.Name] = p
		}
	}
	for _, in := range r.inputs {
		if given, ok := r.job.Profiles[in.Name]; ok && in.Dynamic() && fits(in, given, ranges[in.Name]) == nil {
			ranges[in.Name] = given
		}
	}
	return ranges, nil
}

// stepsOf are the shapes of the inputs in the first and in the last step of a request.
func (r *run) stepsOf(w workload.Workload, s workload.Shape) ([][][]int64, error) {
	if w.Phase != "" {
		p, err := r.phaseOf(w, s)
		if err == nil {
			return p.ends(r.inputs)
		}
		if !errors.As(err, new(unrecognized)) {
			return nil, err
		}
	}
	sized, err := r.sized(w, s, r.lengthened(s.Sizes()))
	if err != nil {
		return nil, err
	}
	shapes, err := sized.Resolve(r.inputs)
	return [][][]int64{shapes}, err
}

// fold combines two shapes size by size; nil is no shape yet.
func fold(a, b []int64, pick func(a, b int64) int64) []int64 {
	out := slices.Clone(b)
	for i := range a {
		out[i] = pick(a[i], b[i])
	}
	return out
}

func lower(a, b int64) int64 { return min(a, b) }

func higher(a, b int64) int64 { return max(a, b) }
