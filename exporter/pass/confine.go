package pass

import (
	"context"
	"os"
	"path/filepath"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/worker"
)

// confined is a worker that may use the files of its candidate alone.
type confined struct {
	Worker
	confine *worker.Confinement // nil is whatever its user may
}

func (w confined) Run(ctx context.Context, limits config.Worker, req worker.Request, progress func(engine.Progress)) (worker.Outcome, error) {
	req.Confine = w.confine
	return w.Worker.Run(ctx, limits, req, progress)
}

// confinement is what the workers of a model's candidate may use: the staged copy and
// the model's reference, to read, and the work folder and what the backend keeps of
// the model, to write. It makes the folders of what is kept, which have to be there.
func (r *Runner) confinement(b Backend, model, staged, work string) (*worker.Confinement, error) {
	if r.Config.Worker.Unconfined {
		return nil, nil
	}
	references := filepath.Join(r.Config.State, referencesDir, model)
	made := []string{references} // the first job's outputs get there while its worker runs
	c := worker.Confinement{Read: []string{staged, references}, Write: []string{work}}
	if kept := r.kept(b, model); kept != (engine.Kept{}) {
		c.Write = append(c.Write, kept.Plans, kept.Calibrations, kept.Timings)
		made = append(made, c.Write[1:]...)
	}
	for _, folder := range made {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return nil, err
		}
	}
	return &c, nil
}

// kept are the folders of what a backend keeps of a model; that of a CPU keeps nothing.
func (r *Runner) kept(b Backend, model string) engine.Kept {
	if b.Name != config.OnTensorRT {
		return engine.Kept{}
	}
	return engine.Kept{
		Plans:        filepath.Join(r.Config.State, plansDir, model),
		Calibrations: filepath.Join(r.Config.State, calibrationsDir, model),
		Timings:      filepath.Join(r.Config.State, timingsDir),
	}
}
