package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"

	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/exporter/pass"
)

// Request implements web.Source: it takes a request for a pass, or for results to
// be measured once more.
func (d *Daemon) Request(q url.Values, from string) error {
	model := q.Get("model")
	if model != "" && !candidate.ValidModel(model) {
		return fmt.Errorf("%q cannot be a model's name", model)
	}
	again, err := d.againOf(q, from)
	if err != nil {
		return err
	}
	d.requests.add(model, again...)
	return nil
}

// againOf reads what a request wants measured once more: nothing, or one Again.
func (d *Daemon) againOf(q url.Values, from string) ([]pass.Again, error) {
	again, err := strconv.ParseBool(cmp.Or(q.Get("again"), "false"))
	if err != nil {
		return nil, fmt.Errorf("again %q is neither true nor false", q.Get("again"))
	}
	a := pass.Again{Version: q.Get("version"), Precision: engine.Precision(q.Get("precision"))}
	if !again {
		if q.Has("version") || q.Has("precision") || q.Has("because") || q.Has("who") {
			return nil, errors.New("version, precision, because and who need again=true")
		}
		return nil, nil
	}
	if d.options.Unmeasured {
		return nil, errors.New("this plancast was started with --no-measure")
	}
	p := d.plan()
	if p == nil {
		return nil, errors.New("the repository has not been read yet: ask again when plancast is ready")
	}
	if cfg, _ := d.inForce(); a.Precision != "" && !cfg.Measures(a.Precision) {
		return nil, fmt.Errorf("precision %q is not in the configuration", a.Precision)
	}
	if err := holds(p.Scan, q.Get("model"), a.Version); err != nil {
		return nil, err
	}
	a.By = history.Author{
		Who: cmp.Or(outside.Line(q.Get("who"), 0), "web") + " from " + from, Because: cmp.Or(outside.Line(q.Get("because"), 0), pass.OnRequest), At: d.now().UTC(),
	}
	return []pass.Again{a}, nil
}

// holds is an error unless the repository has a version of a model to measure; ""
// is any.
func holds(scan candidate.Scan, model, version string) error {
	if model != "" && len(scan.Models[model]) == 0 {
		return fmt.Errorf("the repository holds no model %q that can be measured", model)
	}
	if version == "" {
		return nil
	}
	for name, versions := range scan.Models {
		if (model == "" || name == model) && slices.ContainsFunc(versions, func(c candidate.Candidate) bool { return c.Version == version }) {
			return nil
		}
	}
	return fmt.Errorf("the repository holds no version %q to measure", version)
}
