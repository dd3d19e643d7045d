package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/plancast/plancast/exporter/candidate"
)

// Reload reads the configuration file anew and waits until that is done. A bad
// configuration leaves the old one in force.
//
// Reloads run one after the other, in a goroutine of their own, and each reads
// the file when its turn comes: the last one ends with the newest file.
func (d *Daemon) Reload(ctx context.Context) error { return d.reloader.request(ctx) }

// reload does everything that can fail, then swaps. Only the reloader calls it.
func (d *Daemon) reload(ctx context.Context) error {
	err := d.replace(ctx)
	d.act(func(a *activity) {
		a.reloadErr = err
		if err == nil {
			a.reloaded = d.now()
		}
	})
	if err != nil {
		d.log.Error("Reload failed, the old configuration stays", "err", err)
		return err
	}
	d.log.Info("Configuration reloaded", "file", d.options.ConfigFile)
	return nil
}

func (d *Daemon) replace(ctx context.Context) error {
	file := d.options.ConfigFile
	cfg, err := d.load(file)
	if err != nil {
		return err
	}
	d.mu.Lock()
	old := d.setup
	d.mu.Unlock()
	if cfg.State != old.config.State {
		return fmt.Errorf("reload %s: state cannot change from %s to %s while plancast runs: restart it", file, old.config.State, cfg.State)
	}
	var repo *candidate.Repository
	moved := cfg.Repository != old.config.Repository
	if moved {
		if repo, err = openRepository(ctx, cfg, d.store, d.now, d.waitFor); err != nil {
			return fmt.Errorf("reload %s: %w", file, err)
		}
	}
	d.deriving.Lock()
	defer d.deriving.Unlock()
	s, m := d.derive(cfg)

	// Nothing fails from here on.
	d.mu.Lock()
	d.setup.config = cfg
	if moved {
		if r := d.setup.repository; r != nil {
			d.setup.replaced = append(d.setup.replaced, r)
		}
		d.setup.repository = repo
	}
	close(d.setup.renewed)
	d.setup.renewed = make(chan struct{})
	d.mu.Unlock()
	d.publish(s, m)
	d.notifier.Configure(d.linked(cfg))
	return nil
}

// reloader runs one function for each request, one after the other, in its own
// goroutine.
type reloader struct {
	requests chan chan<- error
	cancel   context.CancelFunc
	done     chan struct{}
}

func newReloader(reload func(context.Context) error) *reloader {
	ctx, cancel := context.WithCancel(context.Background())
	r := &reloader{requests: make(chan chan<- error), cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		for {
			select {
			case <-ctx.Done():
				return
			case answer := <-r.requests:
				answer <- reload(ctx)
			}
		}
	}()
	return r
}

// request waits for a reload that begins after the call. When ctx ends first,
// the reload may happen all the same.
func (r *reloader) request(ctx context.Context) error {
	answer := make(chan error, 1)
	select {
	case r.requests <- answer:
	case <-r.done:
		return errors.New("reload: plancast is stopping")
	case <-ctx.Done():
		return fmt.Errorf("reload: %w", ctx.Err())
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return fmt.Errorf("reload: %w", ctx.Err())
	}
}

func (r *reloader) close() {
	r.cancel()
	<-r.done
}
