package tensorrt

import (
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/onnx"
	"github.com/plancast/plancast/exporter/tensorio"
	"github.com/plancast/plancast/trt"
)

// calibrating feeds calibration.npz to the builder.
type calibrating struct {
	trt     trt.Calibration
	kept    kept
	samples int64 // in the file
}

// calibration prepares the data for an int8 build; nil when it takes none.
func (b *Backend) calibration(req engine.BuildRequest, model *onnx.Model, net trt.NetworkInfo, env engine.Environment) (*calibrating, error) {
	if req.Precision != engine.INT8 || req.CalibrationPath == "" || net.QuantizeLayers > 0 {
		return nil, nil
	}
	calls, samples, err := calibrationCalls(model.Inputs, req.Profiles, req.CalibrationPath)
	if err != nil {
		return nil, err
	}
	digest := req.Digest
	if len(digest) > 12 {
		digest = digest[:12]
	}
	c := &calibrating{samples: samples}
	if digest != "" {
		// The ranges are those of the FP32 network on this TensorRT; profile and
		// other settings do not change them.
		c.kept = newKept(req.Kept.Calibrations, digest+"-"+env.BackendVersion+".calibration")
	}
	c.trt.Cache = c.kept.read()
	c.trt.Shapes = map[string]trt.Shape{}
	for i, t := range model.Inputs {
		c.trt.Shapes[t.Name] = calls[0][i].Shape
	}
	next := 0
	c.trt.Next = func() (map[string][]float32, error) {
		if next == len(calls) {
			return nil, io.EOF
		}
		batch := map[string][]float32{}
		for _, t := range calls[next] {
			values := make([]float32, t.Len())
			for i := range values {
				v := t.At(i)
				if math.IsNaN(v) || math.IsInf(v, 0) {
					return nil, engine.Errorf(engine.KindInvalidInput, "calibrate", "calibration.npz", "input %q holds %v in batch %d", t.Name, v, next+1)
				}
				values[i] = float32(v)
			}
			batch[t.Name] = values
		}
		next++
		req.Progress(engine.Progress{Stage: "build", Message: fmt.Sprintf("calibrating, batch %d of %d", next, len(calls))})
		return batch, nil
	}
	return c, nil
}

// calibrationCalls cuts calibration.npz into whole batches of the shapes that the
// profiles are tuned for, and counts their samples. A last batch that is not full
// is left out, unless it is the only one.
func calibrationCalls(inputs []engine.TensorInfo, profiles map[string]engine.Profile, path string) ([][]engine.Tensor, int64, error) {
	arrays, err := tensorio.ReadNPZ(path, tensorio.ForInputs(inputs))
	if err != nil {
		return nil, 0, err
	}
	shapes := make([][]int64, len(inputs))
	for i, in := range inputs {
		if p, ok := profiles[in.Name]; ok {
			shapes[i] = slices.Clone(p.Opt)
			continue
		}
		for _, d := range in.Dims {
			shapes[i] = append(shapes[i], d.Size)
		}
	}
	calls, err := tensorio.Calls(filepath.Base(path), inputs, shapes, arrays)
	if err != nil {
		return nil, 0, err
	}
	first := func(call []engine.Tensor) int64 {
		if len(call) == 0 || len(call[0].Shape) == 0 {
			return 1
		}
		return call[0].Shape[0]
	}
	if last := len(calls) - 1; last > 0 && first(calls[last]) != first(calls[0]) {
		calls = calls[:last]
	}
	return calls, int64(len(calls)) * first(calls[0]), nil
}

func (c *calibrating) result(r *trt.CalibrationResult) *engine.Calibration {
	out := &engine.Calibration{Samples: c.samples, FromCache: r.FromCache}
	if cache, err := trt.ParseCalibrationCache(r.Cache); err == nil {
		out.Tensors = len(cache.Scales)
		for _, scale := range cache.Scales {
			if scale > 0 && !math.IsInf(float64(scale), 0) {
				out.Ranged++
			}
		}
	}
	return out
}
