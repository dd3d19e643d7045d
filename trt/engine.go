package trt

import (
	"fmt"
	"slices"
	"sort"
)

// Runtime loads plans on one device.
type Runtime struct {
	guard
	n       nativeRuntime
	version string // of the library
}

// Close frees the runtime. Its engines stay usable.
func (r *Runtime) Close() { r.close(func() { r.n.close() }) }

// Load makes an engine of a plan. The error wraps ErrIncompatiblePlan for a plan of
// another TensorRT or GPU, ErrCorruptPlan for one that is damaged, and
// ErrOutOfMemory where that is so.
func (r *Runtime) Load(plan []byte) (*Engine, error) {
	if len(plan) == 0 {
		return nil, fmt.Errorf("tensorrt: load plan: %w: it is empty", ErrCorruptPlan)
	}
	if v := planVersion(plan); v != "" && v != r.version {
		return nil, fmt.Errorf("tensorrt: load plan: %w: it was built by TensorRT %s, this is %s; build it again", ErrIncompatiblePlan, v, r.version)
	}
	unlock, err := r.shared()
	if err != nil {
		return nil, err
	}
	defer unlock()
	n, err := r.n.load(plan)
	if err != nil {
		return nil, err
	}
	info := n.info()
	info.PlanBytes = int64(len(plan))
	return &Engine{n: n, info: info}, nil
}

// planVersion is the TensorRT version that built a plan, from its header; "" when
// the header is not one that is known. TensorRT itself does not compare it. The
// layout is that of trtexec's printPlanVersion.
func planVersion(plan []byte) string {
	if len(plan) < 28 || string(plan[:8]) != "ftrt\x00\x00\x00\x00" {
		return ""
	}
	return fmt.Sprintf("%d.%d.%d.%d", plan[24], plan[25], plan[26], plan[27])
}

// EngineInfo describes an engine.
type EngineInfo struct {
	Name     string
	Tensors  []TensorInfo // inputs and outputs, in the engine's order
	Profiles int
	Layers   int // after fusion
	// PlanBytes is the size of the plan.
	PlanBytes int64
	// DeviceBytes is how much less device memory was free after loading: the weights
	// and what TensorRT keeps beside them. Other processes' changes count as well.
	DeviceBytes int64
	// ContextBytes is the scratch memory that each execution context of the first
	// profile needs, as the engine reports it.
	ContextBytes int64
}

// Tensor finds an input or output by name.
func (i EngineInfo) Tensor(name string) (TensorInfo, bool) {
	for _, t := range i.Tensors {
		if t.Name == name {
			return t, true
		}
	}
	return TensorInfo{}, false
}

// Profile is the first profile that admits the shapes of inputs; 0 when none does.
func (i EngineInfo) Profile(inputs map[string]Tensor) int {
	return i.ChainProfile(&Chain{Steps: []map[string]Tensor{inputs}})
}

// ChainProfile is the first profile that admits the shapes of every step of a chain; 0
// when none does.
func (i EngineInfo) ChainProfile(c *Chain) int {
	for p := range i.Profiles {
		fits := true
		for k := range c.Steps {
			fits = fits && i.admit(p, c.step(k))
		}
		if fits {
			return p
		}
	}
	return 0
}

func (i EngineInfo) admit(profile int, inputs map[string]Tensor) bool {
	for name, t := range inputs {
		if info, ok := i.Tensor(name); ok && info.admits(t.Shape, profile) != nil {
			return false
		}
	}
	return true
}

func (i EngineInfo) has(name string, input bool) (TensorInfo, bool) {
	t, ok := i.Tensor(name)
	return t, ok && t.Input == input
}

// Engine is a plan in device memory.
type Engine struct {
	guard
	n    nativeEngine
	info EngineInfo
}

// Close frees the engine, once its contexts and benchers are closed as well.
func (e *Engine) Close() { e.close(func() { e.n.close() }) }

// Info describes the engine. It may be called after Close.
func (e *Engine) Info() EngineInfo { return e.info }

// InspectJSON is what TensorRT's engine inspector says, as it says it.
func (e *Engine) InspectJSON() ([]byte, error) {
	unlock, err := e.shared()
	if err != nil {
		return nil, err
	}
	defer unlock()
	return e.n.inspect()
}

// Layers are the engine's layers after fusion.
func (e *Engine) Layers() ([]Layer, error) {
	raw, err := e.InspectJSON()
	if err != nil {
		return nil, err
	}
	return ParseLayers(raw)
}

// Context runs an engine for its results.
type Context struct {
	guard
	n       nativeContext
	tensors []TensorInfo
	profile int
}

// NewContext makes a context that uses one optimization profile, from 0.
func (e *Engine) NewContext(profile int) (*Context, error) {
	if profile < 0 || profile >= max(e.info.Profiles, 1) {
		return nil, invalidf("profile %d of %d", profile, e.info.Profiles)
	}
	unlock, err := e.shared()
	if err != nil {
		return nil, err
	}
	defer unlock()
	n, err := e.n.newContext(profile)
	if err != nil {
		return nil, err
	}
	return &Context{n: n, tensors: e.info.Tensors, profile: profile}, nil
}

// Close frees the context.
func (c *Context) Close() { c.close(func() { c.n.close() }) }

// Infer runs the engine once and waits for the results. Every input must be given
// with its fixed shape and the engine's type.
func (c *Context) Infer(inputs map[string]Tensor) (map[string]Tensor, error) {
	ordered, err := checkInputs(c.tensors, inputs, c.profile, nil)
	if err != nil {
		return nil, err
	}
	unlock, err := c.alone()
	if err != nil {
		return nil, err
	}
	defer unlock()
	return c.n.infer(ordered)
}

// checkInputs puts inputs into the engine's order. Those that a link fills have a shape
// and no values.
func checkInputs(tensors []TensorInfo, inputs map[string]Tensor, profile int, links []Link) ([]namedTensor, error) {
	var ordered []namedTensor
	for _, info := range tensors {
		if !info.Input {
			continue
		}
		t, ok := inputs[info.Name]
		if !ok {
			return nil, invalidf("input %q (%v %v) is missing", info.Name, info.DType, info.Shape)
		}
		if t.DType != info.DType {
			return nil, invalidf("input %q is %v, given %v", info.Name, info.DType, t.DType)
		}
		if !slices.ContainsFunc(links, func(l Link) bool { return l.Input == info.Name }) {
			if err := t.check(); err != nil {
				return nil, fmt.Errorf("input %q: %w", info.Name, err)
			}
		}
		if err := info.admits(t.Shape, profile); err != nil {
			return nil, err
		}
		ordered = append(ordered, namedTensor{info.Name, t})
	}
	if len(ordered) != len(inputs) {
		names := make([]string, 0, len(inputs))
		for n := range inputs {
			names = append(names, n)
		}
		sort.Strings(names)
		for _, n := range names {
			known := false
			for _, o := range ordered {
				known = known || o.name == n
			}
			if !known {
				return nil, invalidf("the engine has no input %q", n)
			}
		}
	}
	return ordered, nil
}

// admits reports whether a shape fits the tensor and the profile's range.
func (i TensorInfo) admits(s Shape, profile int) error {
	bad := len(s) != len(i.Shape)
	for d := 0; !bad && d < len(s); d++ {
		bad = i.Shape[d] >= 0 && i.Shape[d] != s[d]
	}
	if bad {
		return invalidf("input %q has shape %v, given %v", i.Name, i.Shape, s)
	}
	if i.Host || profile >= len(i.Profiles) {
		return nil
	}
	r := i.Profiles[profile]
	for d := range s {
		if len(r.Min) == len(s) && (s[d] < r.Min[d] || s[d] > r.Max[d]) {
			return invalidf("input %q: shape %v is outside the profile's %v to %v", i.Name, s, r.Min, r.Max)
		}
	}
	return nil
}
