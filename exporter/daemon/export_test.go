package daemon

import (
	"context"

	"github.com/plancast/plancast/exporter/config"
)

// Occupy holds every lock of the daemon, as a pass, a refresh and a writer
// would all at once.
func (d *Daemon) Occupy() (release func()) {
	d.passing.Lock()
	d.deriving.Lock()
	d.mu.Lock()
	return func() {
		d.mu.Unlock()
		d.deriving.Unlock()
		d.passing.Unlock()
	}
}

// SetLoad replaces how the configuration is read.
func (d *Daemon) SetLoad(load func(file string) (config.Config, error)) { d.load = load }

// InForce is the configuration in force.
func (d *Daemon) InForce() config.Config {
	cfg, _ := d.inForce()
	return cfg
}

// Schedule makes passes until ctx ends or the state is lost, as Run does beside
// other things.
func (d *Daemon) Schedule(ctx context.Context) error { return d.schedule(ctx) }
