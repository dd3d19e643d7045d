package report

import (
	"fmt"
	"time"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/units"
)

// milestoneView writes down where a milestone stands, of one exporter or of a fleet.
func milestoneView(m standing.MilestoneState, now time.Time, fleet bool) MilestoneView {
	v := MilestoneView{
		Name: m.Name, Description: outside.Line(m.Description, 500), Precision: m.Precision, Share: m.Share,
		Total: m.ModelsTotal, Ready: m.ModelsReady, Needed: m.ModelsNeeded, Met: m.Met, State: m.State,
		Criteria: []string{}, Missing: []Missing{}, Horizon: m.Horizon, Threshold: m.Ready, Forecast: forecastView(m.Forecast),
	}
	for _, x := range m.Missing {
		because := why(x.Verdict)
		if fleet && x.Verdict.Reason == standing.Absent {
			because = "no exporter publishes it"
		}
		v.Missing = append(v.Missing, Missing{x.Model, x.Outcome, because})
	}
	var words []string
	for _, c := range m.Criteria {
		v.Criteria = append(v.Criteria, c.String())
		words = append(words, fmt.Sprintf("%s %s %s", title(c), comparisonWords(c.Comparison), units.Format(c.Target, c.Unit)))
	}
	v.Text = upperFirst(and(words))
	if m.Precision != config.Best && m.Precision != "" {
		v.Text += " with " + m.Precision
	}
	if v.Total == 1 {
		v.Text += " for 1 model"
	} else if m.Share >= 1 {
		v.Text += fmt.Sprintf(" for all of %s", units.Count(v.Total, "model"))
	} else {
		v.Text += fmt.Sprintf(" for at least %s of %s", units.Percent(m.Share), units.Count(v.Total, "model"))
	}
	if !m.Deadline.IsZero() {
		d := m.Deadline.UTC()
		v.Deadline, v.Remaining = &d, num(m.Deadline.Sub(now).Seconds())
		v.Text += ", by " + m.Deadline.Format("2 January 2006") // in the zone it was given in
	}
	if m.Horizon > 0 {
		if !m.Deadline.IsZero() {
			v.Text += " and"
		}
		v.Text += " within " + units.Count(m.Horizon, "further iteration")
	}
	return v
}

func comparisonWords(c forecast.Comparison) string {
	switch c {
	case forecast.Below:
		return "below"
	case forecast.AtMost:
		return "at most"
	case forecast.Above:
		return "above"
	case forecast.AtLeast:
		return "at least"
	}
	return string(c)
}
