package pass

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/worker"
)

// Backend is the runtime that was chosen, and why.
type Backend struct {
	Name        string
	Reason      string
	Environment engine.Environment // of each of Devices
	Devices     []int              // to measure on side by side
}

// Chosen remembers the backend from pass to pass, so that a pass that finds
// nothing to do starts no process. The zero value remembers none.
type Chosen struct {
	backend Backend
	from    string // the configuration that it was chosen by
	at      time.Time
}

// describeEvery is how often a backend is described although there is nothing
// to measure: a library may have been replaced under the daemon.
const describeEvery = 24 * time.Hour

// choose returns the backend; remembered says that no worker was asked.
func (r *Runner) choose(ctx context.Context, fresh bool) (b Backend, remembered bool, err error) {
	from, err := json.Marshal([]any{r.Backends, r.Config.Backend, r.Config.BackendConfig(0), r.Config.TensorRT.Devices})
	if err != nil {
		return Backend{}, false, err
	}
	c := r.Chosen
	if age := r.Now().Sub(c.at); !fresh && c.from == string(from) && age >= 0 && age < describeEvery {
		return c.backend, true, nil
	}
	if b, err = r.describe(ctx); err != nil {
		*c = Chosen{}
		return Backend{}, false, err
	}
	*c = Chosen{backend: b, from: string(from), at: r.Now()}
	return b, false, nil
}

// describe takes the configured backend, or with auto the first that works, and
// says why.
func (r *Runner) describe(ctx context.Context) (Backend, error) {
	names := r.Backends
	if r.Config.Backend != "auto" {
		if !slices.Contains(names, r.Config.Backend) {
			return Backend{}, fmt.Errorf("backend %s: this plancast was built without it (it has %s): see docs/gpu.md", r.Config.Backend, strings.Join(names, ", "))
		}
		names = []string{r.Config.Backend}
	}
	var refused []string
	var errs []error
	w := r.Worker()
	defer w.Close()
	for _, name := range names {
		o, err := w.Run(ctx, r.Config.Limits(name), worker.Request{Backend: name, Config: r.Config.BackendConfig(0)}, func(engine.Progress) {})
		switch {
		case err != nil:
			return Backend{}, err
		case len(o.Environments) == 0 && r.Config.Backend == "auto" && r.used[name]:
			// What measured until now must not be replaced unnoticed.
			return Backend{}, fmt.Errorf("backend auto: %s measured here before and cannot be used now: %w: correct that, or name another backend in the configuration", name, o.Failure)
		case len(o.Environments) == 0:
			refused = append(refused, fmt.Sprintf("%s cannot be used: %v", name, o.Failure))
			errs = append(errs, fmt.Errorf("backend %s: %w", name, o.Failure))
			continue
		}
		b := Backend{Name: name}
		apart, err := b.take(o.Environments, r.Config.Devices(name))
		if err != nil {
			return Backend{}, err
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
		return b, nil
	}
	return Backend{}, errors.Join(errs...)
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
			return "", fmt.Errorf("backend %s: tensorrt.devices names GPU %d and there are %d: correct it, or CUDA_VISIBLE_DEVICES", b.Name, i, len(environments))
		case len(b.Devices) == 0:
			b.Environment = environments[i]
		case environments[i] != b.Environment && named:
			return "", fmt.Errorf("backend %s: tensorrt.devices names GPU %d (%s) and GPU %d (%s), whose results cannot be compared: measure on one kind, and on the other with a plancast of its own", b.Name, b.Devices[0], b.Environment.Device, i, environments[i].Device)
		case environments[i] != b.Environment:
			others = append(others, fmt.Sprintf("GPU %d (%s)", i, environments[i].Device))
			continue
		}
		b.Devices = append(b.Devices, i)
	}
	if len(others) > 0 {
		apart = fmt.Sprintf("%s left alone, not like GPU %d: give it a plancast of its own", strings.Join(others, ", "), b.Devices[0])
	}
	return apart, nil
}
