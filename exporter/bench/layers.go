package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	s := &LayerSummary{Total: len(layers), ByPrecision: map[engine.Precision]int{}}
	quantizable := 0
	for _, l := range layers {
		if l.Quantizable && l.Precision != "" {
			quantizable++
		}
		if l.Precision != "" {
			s.ByPrecision[l.Precision]++
		}
		if len(l.Origins) > 1 {
			s.Fused++
		}
		if r.m.Plan.Precision == engine.INT8 && l.Quantizable && l.Precision != engine.INT8 && l.Precision != "" {
			s.Unquantized = append(s.Unquantized, clip(l.Label(), mostName))
		}
	}
	layers = bounded(layers)
	s.Layers = layers
	s.NoEffect = noEffect(r.m.Plan.Precision, s, quantizable)
	switch n := len(s.Unquantized); {
	case s.NoEffect != "":
		r.warn("%s", s.Nothing(r.m.Plan.Precision))
	case n > 0:
		r.warn("%d of the layers that multiply stayed above 8 bits: %s", n, listed(s.Unquantized, 5))
	}
	if r.job.PreviousLayers != nil {
		s.Changes = LayerChangesBetween(r.job.PreviousVersion, r.job.PreviousLayers, layers)
	}
	r.m.Layers = s
	return nil
}

// noEffect says why an engine asked for in 8 bits is none: all that multiplies, or
// where nothing does all that computes, stayed above them.
func noEffect(requested engine.Precision, s *LayerSummary, quantizable int) string {
	if requested != engine.INT8 {
		return ""
	}
	computing, what := quantizable, "layers that multiply"
	above := len(s.Unquantized)
	if quantizable == 0 {
		for _, n := range s.ByPrecision {
			computing += n
		}
		above, what = computing-s.ByPrecision[engine.INT8], "layers that compute"
	}
	if computing == 0 || above < computing {
		return ""
	}
	instead := engine.FP32
	if s.ByPrecision[engine.FP16] > s.ByPrecision[engine.FP32] {
		instead = engine.FP16
	}
	return fmt.Sprintf("none of the %d %s runs in 8 bits; the runtime found them faster in %s, or the model quantizes none of them", computing, what, strings.ToUpper(string(instead)))
}

// bounded is what a record holds of the layers.
func bounded(layers []engine.Layer) []engine.Layer {
	out := slices.Clone(layers[:min(len(layers), mostLayers)])
	for i, l := range out {
		l.Name, l.Type, l.Tactic = clip(l.Name, mostName), clip(l.Type, mostName), clip(l.Tactic, mostName)
		l.Origins = slices.Clone(l.Origins[:min(len(l.Origins), mostOrigins)])
		for k := range l.Origins {
			l.Origins[k] = clip(l.Origins[k], mostName)
		}
		out[i] = l
	}
	return out
}

// clip shortens text to n bytes, whole runes, and says that it did.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n-len("…")], "") + "…"
}

// listed joins the first few of a list.
func listed(list []string, most int) string {
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}

// LayerChangesBetween counts and names what happened to the layers of another
// version's plan.
func LayerChangesBetween(version string, before, after []engine.Layer) *LayerChanges {
	list := engine.Diff(before, after)
	c := &LayerChanges{Against: version, Counts: map[engine.ChangeKind]int{}, Lines: []string{}}
	for _, kind := range engine.ChangeKinds {
		for _, change := range list {
			if change.Kind != kind {
				continue
			}
			if c.Counts[kind]++; len(c.Lines) < mostChangeLines {
				c.Lines = append(c.Lines, change.String())
			}
		}
	}
	return c
}
