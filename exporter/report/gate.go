package report

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"

	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/units"
)

// Gate holds a milestone to a probability.
type Gate struct {
	Milestone string           `json:"milestone"`
	Least     float64          `json:"least_probability"` // a ratio
	Outcome   standing.Outcome `json:"outcome"`
	Text      string           `json:"text"` // the probability in words, or why there is none
}

var gate = regexp.MustCompile(`^milestone\s+(.+?)\s*>=\s*(\S+(?:\s*%)?)$`)

// ParseGate reads "milestone spring >= 60%".
func ParseGate(text string) (Gate, error) {
	m := gate.FindStringSubmatch(text)
	if m == nil {
		return Gate{}, fmt.Errorf("%q is not a gate: write one such as \"milestone spring >= 60%%\"", text)
	}
	p, err := units.Parse(m[2], units.Ratio)
	if err == nil && (p <= 0 || p > 1) {
		err = fmt.Errorf("%s is not a probability above 0", m[2])
	}
	if err != nil {
		return Gate{}, fmt.Errorf("gate %q: %w", text, err)
	}
	return Gate{Milestone: m[1], Least: p}, nil
}

// Judge answers a gate by the milestones of a view. A milestone that is met holds.
func (g Gate) Judge(v View) Gate {
	i := slices.IndexFunc(v.Milestones, func(m MilestoneView) bool { return m.Name == g.Milestone })
	g.Outcome = standing.Unknown
	if i < 0 {
		g.Text = "there is no such milestone"
		return g
	}
	m := v.Milestones[i]
	switch {
	case m.Met:
		g.Outcome, g.Text = standing.Met, "it is met"
	case m.Forecast == nil || m.Forecast.Probability == nil:
		g.Text = cmp.Or(probabilityText(m.Forecast), "it has no probability")
	default:
		g.Outcome, g.Text = standing.Missed, probabilityText(m.Forecast)
		if m.Forecast.Probability.Value >= g.Least {
			g.Outcome = standing.Met
		}
	}
	return g
}

// Verdict reads "milestone spring >= 60 %: missed, 42 % (30-55 %)".
func (g Gate) Verdict() string {
	return fmt.Sprintf("milestone %s >= %s: %s, %s", outside.Line(g.Milestone, 100), units.Format(g.Least, units.Ratio), g.Outcome, g.Text)
}
