package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/pass"
	"github.com/plancast/plancast/exporter/report"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/exporter/web"
)

// ModelResults implements web.Results.
func (d *Daemon) ModelResults(ctx context.Context, model string) (report.ModelResults, error) {
	in := report.ModelResults{Name: model, State: d.state()}
	if i := slices.IndexFunc(in.State.Models, func(m *standing.Model) bool { return m.Name == model }); i >= 0 {
		in.Model = in.State.Models[i]
	}
	var err error
	if in.Entries, err = d.entries(ctx, history.Filter{Model: model}); err != nil {
		return in, err
	}
	if in.Model == nil && len(in.Entries) == 0 {
		return in, fmt.Errorf("neither the repository nor the history holds a model %q: %w", model, web.ErrNone)
	}
	for c, err := range d.store.Changes(ctx, model) {
		if err != nil {
			return in, err
		}
		in.Changes = append(in.Changes, c)
	}
	in.Records = func(ids []int64) ([]history.Record, error) { return d.Records(ctx, history.Filter{IDs: ids}) }
	return in, nil
}

// OneResult implements web.Results.
func (d *Daemon) OneResult(ctx context.Context, id int64) (report.OneResult, error) {
	out := report.OneResult{Now: d.now()}
	var err error
	if out.Record, err = d.Record(ctx, id); err != nil {
		return out, err
	}
	_, err = os.Stat(d.samplesFile(out.Record))
	out.Samples = err == nil
	out.Entries, err = d.entries(ctx, history.Filter{Model: out.Record.Model, Fingerprint: out.Record.Fingerprint})
	return out, err
}

// Record implements web.Results.
func (d *Daemon) Record(ctx context.Context, id int64) (history.Record, error) {
	r, err := d.store.Record(ctx, id)
	if errors.Is(err, history.ErrNoRecord) {
		err = fmt.Errorf("there is no result %d: %w", id, web.ErrNone)
	}
	return r, err
}

// Records implements web.Results; damaged ones are left out.
func (d *Daemon) Records(ctx context.Context, f history.Filter) (out []history.Record, err error) {
	for r, err := range history.Skip(d.store.Records(ctx, f), func(error) {}) {
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// Samples implements web.Results.
func (d *Daemon) Samples(r history.Record) (io.ReadCloser, error) {
	f, err := os.Open(d.samplesFile(r))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("the latencies of result %d are not kept: those of the newest results of each model and precision are: %w", r.ID, web.ErrNone)
	}
	return f, err
}

func (d *Daemon) samplesFile(r history.Record) string {
	return pass.SamplesFile(d.options.Config.State, r.Model, r.Precision, r.ID)
}

// entries reads entries; damaged ones are left out, and named in the log at the start.
func (d *Daemon) entries(ctx context.Context, f history.Filter) (out []history.Entry, err error) {
	for e, err := range history.Skip(d.store.Entries(ctx, f), func(error) {}) {
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}
