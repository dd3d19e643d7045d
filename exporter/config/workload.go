package config

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/plancast/plancast/exporter/workload"
	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/units"
)

// WorkloadsFor are the workloads that the model named gets, in their order.
func (c Config) WorkloadsFor(model string) []workload.Workload {
	var out []workload.Workload
	for _, w := range c.Workloads {
		if (Select{Models: w.Models}).Matches(model) {
			out = append(out, w)
		}
	}
	return out
}

func (c *Config) workload(d *decoder, key string, n *yaml.Node) {
	w := workload.Workload{Concurrency: 1}
	var phase, percentile, file string
	before := len(d.errs)
	d.mapping(key, n, map[string]field{
		"name": d.scalar(func(s string) error {
			if !labelValue(s) || strings.Contains(s, " ") {
				return fmt.Errorf("%q cannot be the name of a workload: use up to 100 letters, digits, \"-\", \"_\" and \".\"", s)
			}
			w.Name = s
			return nil
		}),
		"models":      d.models(&w.Models),
		"phase":       d.oneOf(&phase, names(workload.Phases, func(p workload.Phase) string { return string(p) })...),
		"shapes":      d.workloadShapes(&w),
		"rate":        d.quantity(&w.Rate, units.PerSec, 1.0/60, 1e6),
		"burstiness":  d.quantity(&w.Burstiness, units.None, 0.01, 100),
		"trace":       d.text(&file),
		"concurrency": d.integer(&w.Concurrency, 1, 1024),
		"within":      d.duration(&w.Within, time.Microsecond, time.Hour),
		"max_rate":    d.oneOf(&percentile, "p50", "p90", "p95", "p99"),
	})
	w.Phase, w.MaxRate = workload.Phase(phase), percentiles[percentile]
	if n.Kind == yaml.MappingNode && len(d.errs) == before {
		for _, err := range incomplete(w, file) {
			d.errorf(n, key, "%v", err)
		}
	}
	if len(w.Shapes) == 0 && !w.Recorded {
		w.Shapes = []workload.Shape{{Weight: 1}}
	}
	if w.Burstiness == 0 && w.Open() {
		w.Burstiness = 1
	}
	if file != "" {
		c.traces = append(c.traces, traceFile{len(c.Workloads), fmt.Sprintf("%s:%d: %s.trace", d.file, n.Line, key), file})
	}
	c.Workloads = append(c.Workloads, w)
}

// traceFile is a trace that a workload is to replay.
type traceFile struct {
	workload int    // index in Workloads
	place    string // in the configuration, for errors
	path     string
}

// readTraces reads the traces of workloads; paths are relative to base.
func (c *Config) readTraces(base string) error {
	var errs []error
	for _, t := range c.traces {
		f, err := os.Open(relativeTo(base, t.path))
		if err == nil {
			err = c.Workloads[t.workload].ReadTrace(f)
			f.Close()
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: read trace %s: %w", t.place, t.path, err))
		}
	}
	return errors.Join(errs...)
}

// incomplete says what a workload lacks, or has to no effect.
func incomplete(w workload.Workload, trace string) (errs []error) {
	if w.Name == "" {
		errs = append(errs, errors.New("needs a name"))
	}
	if w.Burstiness != 0 && !w.Open() && trace == "" {
		errs = append(errs, errors.New("has a burstiness without a rate: write a rate such as 200/s, or remove it"))
	}
	if w.MaxRate != 0 && w.Within == 0 {
		errs = append(errs, errors.New("searches max_rate without a limit: write within, such as within: 50ms"))
	}
	if w.Phase != "" && (w.Open() || w.MaxRate != 0) {
		errs = append(errs, fmt.Errorf("times the phase %s at a rate: a phase is timed call after call, so remove rate and max_rate", w.Phase))
	}
	if w.Phase != "" && w.Recorded {
		errs = append(errs, fmt.Errorf("takes the shapes of the phase %s from inputs.npz, which has no lengths of a cache: write shapes such as [{dims: {sequence: 512}}]", w.Phase))
	}
	if trace != "" && (len(w.Shapes) > 0 || w.Recorded || w.Open() || w.Burstiness != 0 || w.MaxRate != 0 || w.Phase != "") {
		errs = append(errs, errors.New("has a trace, which says which shapes come when: leave out shapes, rate, burstiness, max_rate and phase"))
	}
	for i, s := range w.Shapes {
		if slices.ContainsFunc(w.Shapes[:i], func(o workload.Shape) bool { return o.Words() == s.Words() }) {
			errs = append(errs, fmt.Errorf("has the shape %s twice: add up their weights", s.Words()))
		}
	}
	return errs
}

// asRecorded stands in the place of shapes for those of inputs.npz.
const asRecorded = "as recorded"

// workloadShapes reads a mix.
func (d *decoder) workloadShapes(w *workload.Workload) field {
	list := d.nonEmpty("a shape such as {dims: {sequence: 128}}", func(key string, n *yaml.Node) { w.Shapes = append(w.Shapes, d.workloadShape(key, n)) })
	return func(key string, n *yaml.Node) {
		switch {
		case n.Kind != yaml.ScalarNode || isNull(n):
			list(key, n)
		case n.Value == asRecorded:
			w.Recorded = true
		default:
			d.errorf(n, key, "%q is neither a list of shapes nor %q, which takes them from inputs.npz", n.Value, asRecorded)
		}
	}
}

// workloadShape reads one shape of a mix; its weight is 1 where none is given.
func (d *decoder) workloadShape(key string, n *yaml.Node) workload.Shape {
	s := workload.Shape{Weight: 1, Dims: map[string]int64{}}
	d.mapping(key, n, map[string]field{
		"weight": d.quantity(&s.Weight, units.None, 1e-6, math.MaxInt32),
		"dims":   d.dims(s.Dims),
	})
	if batch, ok := s.Dims[workload.Batch]; ok && batch == 0 {
		d.errorf(n, key, "has a batch of 0")
	}
	return s
}

// measured refuses a criterion on a figure of a workload that nothing measures.
func (c *Config) measured(metric string) error {
	quantity, name := terms.SplitWorkload(metric)
	if name == "" || c.Source != nil { // the exporters of a fleet have workloads of their own
		return nil
	}
	i := slices.IndexFunc(c.Workloads, func(w workload.Workload) bool { return w.Name == name })
	switch {
	case len(c.Workloads) == 0:
		return fmt.Errorf("there is no workload %q: describe it under workloads", name)
	case i < 0:
		known := names(c.Workloads, func(w workload.Workload) string { return w.Name })
		return fmt.Errorf("there is no workload %q%s", name, suggestion(name, slices.DeleteFunc(known, func(s string) bool { return s == "" })))
	case quantity == "goodput" && c.Workloads[i].Within == 0:
		return fmt.Errorf("%s needs the time within which an answer counts: write within for the workload %s, such as 50ms", metric, name)
	case quantity == "max_rate" && c.Workloads[i].MaxRate == 0:
		return fmt.Errorf("%s needs a percentile to hold: write max_rate for the workload %s, such as p99", metric, name)
	case !c.Workloads[i].Shows(quantity):
		return fmt.Errorf("%s needs a phase: write phase: %s for the workload %s", metric, workload.PhasesOf[quantity][0], name)
	}
	return nil
}
