package bench

import (
	"maps"
	"slices"
	"strconv"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/tensorio"
	"github.com/plancast/plancast/exporter/workload"
)

// mixed gives a workload that takes its mix from inputs.npz the shapes of the samples
// there, each with as large a share as it has calls. Any other stays as it is.
func (r *run) mixed(w workload.Workload) (workload.Workload, error) {
	if !w.Recorded {
		return w, nil
	}
	if r.npz == nil {
		e := engine.Errorf(engine.KindInvalidInput, "take the shapes as recorded for", w.Name, "there is no inputs.npz beside the model")
		e.Hint = "put inputs.npz there, with samples in the shapes that production sends, or write shapes for the workload"
		return w, e
	}
	w.Shapes = nil
	for g, arrays := range r.groups {
		s, err := r.recordedShape(g, arrays)
		if err != nil {
			return w, err
		}
		if i := slices.IndexFunc(w.Shapes, func(o workload.Shape) bool { return maps.Equal(o.Dims, s.Dims) }); i >= 0 {
			w.Shapes[i].Weight += s.Weight
			continue
		}
		w.Shapes = append(w.Shapes, s)
	}
	if len(w.Shapes) > workload.MostShapes {
		e := engine.Errorf(engine.KindInvalidInput, "take the shapes as recorded for", w.Name, "inputs.npz has %d shapes, more than %d", len(w.Shapes), workload.MostShapes)
		e.Hint = "round their sizes up, as a server with buckets does"
		return w, e
	}
	return w, nil
}

// recordedShape is the shape of the samples of a group. Its weight is how many calls they
// make.
func (r *run) recordedShape(group int, arrays []engine.Tensor) (workload.Shape, error) {
	sizes := tensorio.DimsOf(r.inputs, arrays)
	all, err := r.shapes(r.batches[0]).With(r.inputs, sizes)
	if err != nil {
		return workload.Shape{}, err
	}
	shapes, err := all.Resolve(r.inputs)
	if err != nil {
		return workload.Shape{}, err
	}
	calls, err := tensorio.Calls(groupName(group), r.inputs, shapes, arrays)
	return workload.Shape{Weight: float64(len(calls)), Dims: byName(r.inputs, sizes)}, err
}

// byName are sizes by the names of the dimensions, where all of one name agree, and by
// "input/position" otherwise.
func byName(inputs []engine.TensorInfo, sizes map[string]int64) map[string]int64 {
	names, split := map[string]string{}, map[string]bool{} // by place; names of several sizes
	size := map[string]int64{}                             // by name
	for _, in := range inputs {
		for i, d := range in.Dims {
			n, ok := sizes[in.Name+"/"+strconv.Itoa(i)]
			if !ok || d.Name == "" || d.Name == engine.MinusOne || d.Anonymous() {
				continue
			}
			names[in.Name+"/"+strconv.Itoa(i)] = d.Name
			before, known := size[d.Name]
			split[d.Name] = split[d.Name] || known && before != n
			size[d.Name] = n
		}
	}
	out := map[string]int64{}
	for place, n := range sizes {
		if name, ok := names[place]; ok && !split[name] {
			out[name] = n
		} else {
			out[place] = n
		}
	}
	return out
}
