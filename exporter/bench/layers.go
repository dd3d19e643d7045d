package bench

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/plancast/plancast/exporter/engine"
)

func (r *run) layers(ctx context.Context) error {
	r.progress(engine.Progress{Stage: "layers"})
	layers, err := r.engine.Layers(ctx)
	switch {
	case errors.Is(err, engine.ErrNoLayers):
		return nil
	case err != nil:
		return err
	}
	s := &LayerSummary{Total: len(layers), ByPrecision: map[engine.Precision]int{}, Layers: layers}
	for _, l := range layers {
		if l.Precision != "" {
			s.ByPrecision[l.Precision]++
		}
		if len(l.Origins) > 1 {
			s.Fused++
		}
		if r.m.Plan.Precision == engine.INT8 && l.Quantizable && l.Precision != engine.INT8 && l.Precision != "" {
			s.Unquantized = append(s.Unquantized, l.Label())
		}
	}
	if n := len(s.Unquantized); n > 0 {
		r.warn("%d of the layers that multiply stayed above 8 bits: %s", n, listed(s.Unquantized, 5))
	}
	if r.job.PreviousLayers != nil {
		s.Changes = changes(r.job.PreviousVersion, engine.Diff(r.job.PreviousLayers, layers))
	}
	r.m.Layers = s
	return nil
}

// listed joins the first few of a list.
func listed(list []string, most int) string {
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}

// changes counts and tells what is different from the plan of another version.
func changes(against string, list []engine.Change) *LayerChanges {
	c := &LayerChanges{Against: against, Counts: map[engine.ChangeKind]int{}, Lines: []string{}}
	for _, kind := range engine.ChangeKinds {
		for _, change := range list {
			if change.Kind != kind {
				continue
			}
			if c.Counts[kind]++; len(c.Lines) < MostChangeLines {
				c.Lines = append(c.Lines, change.String())
			}
		}
	}
	return c
}
