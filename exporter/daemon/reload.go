package daemon

import (
	"context"
	"fmt"

	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/web"
)

// Reload implements web.Source: it reads the configuration file again and waits until
// that is done. A bad configuration leaves the old one in force.
func (d *Daemon) Reload(ctx context.Context) error { return d.reloads.Request(ctx) }

// reload does everything that can fail, then swaps. It runs in one goroutine.
func (d *Daemon) reload(ctx context.Context) error {
	err := d.replace(ctx)
	d.act(func(a *activity) {
		a.reloadErr = err
		if err == nil {
			a.reloaded = d.now()
		}
	})
	if err != nil {
		d.log.Error("Reload failed; keeping the previous configuration", "err", err)
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

// reloading answers requests for a reload, in its own goroutine.
type reloading struct {
	*web.Reloads
	stop context.CancelFunc
	done chan struct{}
}

func (d *Daemon) startReloading() *reloading {
	ctx, stop := context.WithCancel(context.Background())
	r := &reloading{web.NewReloads(), stop, make(chan struct{})}
	go func() {
		defer close(r.done)
		for {
			select {
			case <-ctx.Done():
				r.Close()
				return
			case answer := <-r.Next():
				answer <- d.reload(ctx)
			}
		}
	}()
	return r
}

// end waits for the reload that is under way.
func (r *reloading) end() {
	r.stop()
	<-r.done
}
