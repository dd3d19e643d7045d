package daemon

import (
	"context"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/onnx"
)

// setup is the configuration in force and what is open because of it.
type setup struct {
	config     config.Config
	repository *candidate.Repository   // nil until a pass opens it
	replaced   []*candidate.Repository // that a pass may still use
	renewed    chan struct{}           // closed by the next reload
}

func newSetup(cfg config.Config) setup { return setup{config: cfg, renewed: make(chan struct{})} }

func (s *setup) close() error {
	errs := []error{s.closeReplaced()}
	if s.repository != nil {
		errs = append(errs, s.repository.Close())
	}
	return errors.Join(errs...)
}

func (s *setup) closeReplaced() error {
	var errs []error
	for _, r := range s.replaced {
		errs = append(errs, r.Close())
	}
	s.replaced = nil
	return errors.Join(errs...)
}

// begin is what a pass works with: the configuration in force and its
// repository, which stays open for the passes to come, since it remembers what it
// saw of files whose times cannot be trusted. Only a pass that holds d.passing
// calls it.
func (d *Daemon) begin(ctx context.Context) (config.Config, *candidate.Repository, error) {
	d.mu.Lock()
	cfg, repo := d.setup.config, d.setup.repository
	// No pass runs: nobody uses them any more.
	if err := d.setup.closeReplaced(); err != nil {
		d.log.Warn("Cannot close the model repository", "err", err)
	}
	d.mu.Unlock()
	if repo != nil {
		return cfg, repo, nil
	}
	repo, err := openRepository(ctx, cfg, d.store, d.now, d.waitFor)
	if err != nil {
		return cfg, nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.setup.repository == nil && d.setup.config.Repository == cfg.Repository {
		d.setup.repository = repo
	} else { // a reload came first
		d.setup.replaced = append(d.setup.replaced, repo)
	}
	return cfg, repo, nil
}

// waitFor says whose answer the running pass waits for, "" for nobody's any more.
func (d *Daemon) waitFor(what string) {
	d.act(func(a *activity) { a.waitingFor = what })
	d.options.logWait(what)
}

func openRepository(ctx context.Context, cfg config.Config, memory candidate.Memory, now func() time.Time, waiting func(string)) (*candidate.Repository, error) {
	return candidate.Open(ctx, candidate.Options{
		URL: cfg.Repository.URL, Quiet: cfg.Repository.Quiet, MaxSize: cfg.Repository.MaxSize, MaxModels: cfg.Repository.MaxModels,
		Memory: memory, Now: now, Inspect: inspect, ParseChange: config.ParseChange, Waiting: waiting,
	})
}

// inspect reads what identifies a candidate and its inputs from an ONNX file.
func inspect(r io.ReaderAt, size int64) (candidate.Contents, error) {
	m, err := onnx.Read(r, size)
	if err != nil {
		return candidate.Contents{}, err
	}
	c := candidate.Contents{External: m.ExternalData, Inputs: map[string][]string{}}
	const most = 200 // inputs; it is remembered for each file
	for _, in := range m.Inputs[:min(len(m.Inputs), most)] {
		dims := make([]string, len(in.Dims))
		for i, d := range in.Dims {
			if dims[i] = d.Name; d.Size >= 0 {
				dims[i] = strconv.FormatInt(d.Size, 10)
			}
		}
		c.Inputs[in.Name] = dims
	}
	return c, nil
}
