package report

import (
	"fmt"
	"strings"

	"github.com/plancast/plancast/exporter/gains"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/units"
)

// GainView is what a kind of change did to the models that had it. Ratios are of
// P99: -0.38 is 38 % faster.
type GainView struct {
	Kind   gains.Kind `json:"kind"`
	Models int        `json:"models"`
	Gained int        `json:"gained"`          // of them, those that became faster
	Mean   float64    `json:"mean_ratio"`      // expected of another model: shrunk towards none while few had it
	Best   *float64   `json:"best,omitempty"`  // of those that gained, the largest gain
	Least  *float64   `json:"least,omitempty"` // and the smallest
	Text   string     `json:"text"`
}

// RoomView is what a model that misses a threshold could still gain.
type RoomView struct {
	Threshold string         `json:"threshold"`
	Untried   []ProspectView `json:"untried"` // the best first; empty when the model has had all that helped others
	Text      string         `json:"text"`
}

// ProspectView is a kind of change that a model has not had.
type ProspectView struct {
	GainView
	// Reaches is the probability that it alone reaches the threshold's P99.
	Reaches *float64 `json:"reaches_probability,omitempty"`
}

func gainView(g gains.Gain) GainView {
	v := GainView{Kind: g.Kind, Models: g.Models, Gained: g.Gained, Mean: g.Mean - 1, Text: gainText(g)}
	if g.Gained > 0 {
		v.Best, v.Least = num(g.Best-1), num(g.Least-1)
	}
	return v
}

// gainText reads "INT8 made 10 of 11 models faster, by 12 to 61 %; 38 % is expected
// of another model".
func gainText(g gains.Gain) string {
	name := upperFirst(g.Kind.Title())
	over := units.Count(g.Models, "model")
	if g.Mean >= 1 || g.Gained == 0 {
		return fmt.Sprintf("%s gained nothing on average over %s", name, over)
	}
	return fmt.Sprintf("%s made %d of %s faster, by %s; %s is expected of another model", name, g.Gained, over, gainRange(g), percentGain(g.Mean))
}

func percentGain(ratio float64) string { return units.Percent(1 - ratio) }

// gainRange reads "12 to 61 %".
func gainRange(g gains.Gain) string {
	least, most := percentGain(g.Least), percentGain(g.Best)
	if least == most {
		return most
	}
	return strings.TrimSuffix(least, " %") + " to " + most
}

// mostProspects is how many kinds a model's advice names.
const mostProspects = 3

func roomView(m *standing.Model, s *standing.State) *RoomView {
	room, ok := s.Room(m)
	if !ok {
		return nil
	}
	v := &RoomView{Threshold: room.Threshold.Name, Untried: []ProspectView{}}
	var parts []string
	for _, p := range room.Untried[:min(len(room.Untried), mostProspects)] {
		v.Untried = append(v.Untried, ProspectView{gainView(p.Gain), p.Reaches})
		text := fmt.Sprintf("%s, which made %d of %s faster, by %s", p.Kind.Title(), p.Gained, units.Count(p.Models, "model"), gainRange(p.Gain))
		if p.Reaches != nil {
			text += fmt.Sprintf("; alone it reaches %s with a probability of %s", room.Criterion, units.Percent(*p.Reaches))
		}
		parts = append(parts, text)
	}
	switch {
	case len(parts) > 0:
		v.Text = "Not used here yet: " + strings.Join(parts, ". Or ")
	default:
		v.Text = "Every kind of change that made other models faster has been used here."
	}
	return v
}
