package daemon

import (
	"fmt"

	"github.com/plancast/plancast/exporter/config"
)

// Reload reads the configuration file anew; a bad one leaves the old in force.
func (d *Daemon) Reload() error {
	err := d.reload()
	if err != nil {
		d.Log.Error("Reload failed, the old configuration stays", "err", err)
		return err
	}
	d.Log.Info("Configuration reloaded", "file", d.ConfigFile)
	return nil
}

func (d *Daemon) reload() error {
	cfg, err := config.Load(d.ConfigFile)
	d.mu.Lock()
	if err == nil && cfg.State != d.Config.State {
		err = fmt.Errorf("reload %s: state cannot change from %s to %s while plancast runs: restart it", d.ConfigFile, d.Config.State, cfg.State)
	}
	d.reloadErr = err
	if err == nil {
		d.Config, d.reloaded = cfg, d.Now()
		close(d.renewed)
		d.renewed = make(chan struct{})
	}
	d.mu.Unlock()
	d.refresh()
	if err == nil {
		d.notifier.Configure(cfg)
	}
	return err
}
