package pass

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/worker"
)

// Backend is the runtime that was chosen, and why.
type Backend struct {
	Name        string
	Reason      string
	Environment engine.Environment // of each of Devices
	Devices     []int              // to measure on side by side
	Gaps        []string           // what this system does not keep a worker from
}

// Chosen remembers the backend from pass to pass, so that a pass that finds
// nothing to do starts no process. The zero value remembers none.
type Chosen struct {
	backend   Backend
	libraries []string // that were loaded to describe it
	from      string   // the configuration and the surroundings that it was chosen in
	gaps      string   // that were logged

	bridged map[string]string // by model: the environment in which nothing is left of a bridge
}

// choose returns the backend; remembered says that no worker was started.
func (r *Runner) choose(ctx context.Context, fresh bool) (b Backend, remembered bool, err error) {
	config := r.Config.BackendConfig(0)
	chosenBy, err := json.Marshal([]any{r.Backends, r.Config.Backend, config, r.Config.TensorRT.Devices, r.Config.Worker.Unconfined, r.Config.Worker.Env})
	if err != nil {
		return Backend{}, false, err
	}
	c := r.Chosen
	from := func(libraries []string) string { return string(chosenBy) + r.surroundings.print(libraries, config) }
	if !fresh && c.from != "" && c.from == from(c.libraries) {
		return c.backend, true, nil
	}
	b, libraries, err := r.describe(ctx)
	if err != nil {
		*c = Chosen{gaps: c.gaps}
		return Backend{}, false, err
	}
	gaps := strings.Join(b.Gaps, "; ")
	if gaps != "" && gaps != c.gaps {
		r.Log.Warn("Workers are only partly confined (SECURITY.md)", "gaps", gaps)
	}
	*c = Chosen{backend: b, libraries: libraries, from: from(libraries), gaps: gaps}
	return b, false, nil
}

// describe takes the configured backend, or with auto the first that works, and
// says why. libraries are those that were loaded for it.
func (r *Runner) describe(ctx context.Context) (b Backend, libraries []string, err error) {
	names := r.Backends
	if r.Config.Backend != "auto" {
		if !slices.Contains(names, r.Config.Backend) {
			return Backend{}, nil, fmt.Errorf("backend %s: this plancast was built without it (it has %s): see docs/gpu.md", r.Config.Backend, strings.Join(names, ", "))
		}
		names = []string{r.Config.Backend}
	}
	var refused []string
	var errs []error
	w := r.Worker()
	defer w.Close()
	var nothing *worker.Confinement // of anybody's files
	if !r.Config.Worker.Unconfined {
		nothing = &worker.Confinement{}
	}
	for _, name := range names {
		req := worker.Request{Backend: name, Config: r.Config.BackendConfig(0), Confine: nothing}
		o, err := w.Run(ctx, r.Config.Limits(name), req, func(engine.Progress) {})
		switch {
		case err != nil:
			return Backend{}, nil, err
		case len(o.Environments) == 0 && r.Config.Backend == "auto" && r.used[name]:
			// What measured until now must not be replaced unnoticed.
			return Backend{}, nil, fmt.Errorf("backend auto: %s worked here before but is now unavailable: %w: fix that, or name another backend in the configuration", name, o.Failure)
		case len(o.Environments) == 0:
			refused = append(refused, fmt.Sprintf("%s cannot be used: %v", name, o.Failure))
			errs = append(errs, fmt.Errorf("backend %s: %w", name, o.Failure))
			continue
		}
		b = Backend{Name: name, Gaps: o.Gaps}
		apart, err := b.take(o.Environments, r.Config.Devices(name))
		if err != nil {
			return Backend{}, nil, err
		}
		switch {
		case r.Config.Backend != "auto":
			b.Reason = "the configuration asks for it"
		case len(refused) > 0:
			b.Reason = strings.Join(refused, "; ")
		case len(r.Backends) == 1:
			b.Reason = "it is the only backend of this build"
		default:
			b.Reason = "it is the preferred backend and works here"
		}
		if apart != "" {
			b.Reason += "; " + apart
		}
		return b, o.Libraries, nil
	}
	return Backend{}, nil, errors.Join(errs...)
}

// take chooses devices of one kind: results of different ones cannot be
// compared. Of all devices it takes those like the first and says which are left
// apart; devices that are named by number have to be alike.
func (b *Backend) take(environments []engine.Environment, wanted []int) (apart string, err error) {
	named := len(wanted) > 0
	if !named {
		for i := range environments {
			wanted = append(wanted, i)
		}
	}
	var others []string
	for _, i := range wanted {
		switch {
		case i >= len(environments):
			return "", fmt.Errorf("backend %s: tensorrt.devices names GPU %d, but the machine has %d: correct it, or CUDA_VISIBLE_DEVICES", b.Name, i, len(environments))
		case len(b.Devices) == 0:
			b.Environment = environments[i]
		case environments[i] != b.Environment && named:
			return "", fmt.Errorf("backend %s: tensorrt.devices names GPU %d (%s) and GPU %d (%s), whose results cannot be compared: list one kind, and run a separate plancast for the other", b.Name, b.Devices[0], b.Environment.Device, i, environments[i].Device)
		case environments[i] != b.Environment:
			others = append(others, fmt.Sprintf("GPU %d (%s)", i, environments[i].Device))
			continue
		}
		b.Devices = append(b.Devices, i)
	}
	if len(others) > 0 {
		apart = fmt.Sprintf("%s not used because it differs from GPU %d: run a separate plancast for it", strings.Join(others, ", "), b.Devices[0])
	}
	return apart, nil
}
