package report

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/units"
)

// ForecastView is what is expected of a milestone, and what it was a week ago.
type ForecastView struct {
	forecast.Forecast
	// WeekAgo is the probability as it would have been said a week ago, from
	// what was known then; nil when there was nothing to say.
	WeekAgo *float64 `json:"probability_week_ago,omitempty"`
	// HoldsBack lists the criteria of models that are not met yet, the least
	// likely first.
	HoldsBack []HoldsBack `json:"holds_back"`
}

// HoldsBack is one criterion of one model, on the way.
type HoldsBack struct {
	Model       string   `json:"model"`
	Criterion   string   `json:"criterion"`
	Probability *float64 `json:"probability,omitempty"`
	Attained    *float64 `json:"attained,omitempty"`
	Summary     string   `json:"summary"`
}

// forecastView leaves out what only a program would read.
func forecastView(f *standing.Forecast) *ForecastView {
	if f == nil {
		return nil
	}
	v := &ForecastView{Forecast: f.Forecast, HoldsBack: []HoldsBack{}}
	v.Parts, v.Bands = nil, nil
	if f.WeekAgo != nil {
		v.WeekAgo = num(*f.WeekAgo)
	}
	for _, p := range f.Parts {
		if p.Forecast.Met {
			continue
		}
		h := HoldsBack{Model: p.Model, Criterion: p.Criterion.String(), Attained: numOf(p.Forecast.Attained), Summary: outside.Line(p.Forecast.Summary, 300)}
		if p.Forecast.Probability != nil {
			h.Probability = num(p.Forecast.Probability.Value)
		}
		v.HoldsBack = append(v.HoldsBack, h)
	}
	return v
}

// notable is the least change of a probability that is worth an arrow.
const notable = 0.02

// Trend is the change against last week: "↑", "↓" or "→", and "" when there is
// nothing to compare with.
func (f ForecastView) Trend() string {
	switch {
	case f.WeekAgo == nil || f.Probability == nil:
		return ""
	case f.Probability.Value-*f.WeekAgo >= notable:
		return "↑"
	case *f.WeekAgo-f.Probability.Value >= notable:
		return "↓"
	}
	return "→"
}

// TrendText reads "up from 71 % a week ago".
func (f ForecastView) TrendText() string {
	words := map[string]string{"↑": "up from %s a week ago", "↓": "down from %s a week ago", "→": "unchanged from a week ago (%s)"}[f.Trend()]
	if words == "" {
		return ""
	}
	return fmt.Sprintf(words, units.Percent(*f.WeekAgo))
}

// StateText is the state in words.
func (f ForecastView) StateText() string { return strings.ReplaceAll(string(f.State), "_", " ") }

// Expected is the date by which the milestone is met as likely as not, with
// the dates of 10 and 90 %, or "" when that cannot be foreseen.
func (f ForecastView) Expected() string {
	dates := map[float64]string{}
	for _, d := range f.When {
		dates[d.Quantile] = d.Time.Format("2 January 2006")
	}
	if f.Met || dates[0.5] == "" {
		return ""
	}
	text := "expected " + dates[0.5]
	switch {
	case dates[0.1] == dates[0.5] && dates[0.9] == dates[0.5]:
	case dates[0.1] != "" && dates[0.9] != "":
		text += fmt.Sprintf(" (10 %%: %s, 90 %%: %s)", dates[0.1], dates[0.9])
	case dates[0.1] != "":
		text += fmt.Sprintf(" (10 %%: %s)", dates[0.1])
	}
	return text
}

// Lines write the forecast in sentences, the most important first. What is met has
// been said by its state.
func (f ForecastView) Lines() []string {
	if f.Met {
		return sentences(f.Advice)
	}
	first := f.Summary
	if t := f.TrendText(); t != "" {
		first += "; " + t
	}
	return sentences(append([]string{first, f.Expected()}, f.Advice...))
}

// shownWarnings is how many warnings are written out.
const shownWarnings = 2

// Notes are reasons to trust the forecast less. A milestone of many models has
// many: a few are written out and the rest counted; all are in the JSON form.
func (f ForecastView) Notes() []string {
	w := f.Basis.Warnings
	switch {
	case f.Met:
		return nil
	case len(w) > shownWarnings+1:
		return append(sentences(w[:shownWarnings]), "And "+units.Count(len(w)-shownWarnings, "further warning")+": /api/v1/report lists all")
	}
	return sentences(w)
}

// named matches what starts with a model: with its criteria, or before a sentence about it.
var named = regexp.MustCompile(`^\S+( \([\w, ]+\): |: [A-Z])`)

// sentences start with a capital letter, but for a name.
func sentences(list []string) []string {
	var out []string
	for _, s := range list {
		switch s = outside.Line(s, 400); {
		case s == "":
		case named.MatchString(s):
			out = append(out, s)
		default:
			out = append(out, upperFirst(s))
		}
	}
	return out
}

// probabilityText reads "83 % (71-91 %) ↑".
func probabilityText(f *ForecastView) string {
	if f == nil || f.Probability == nil {
		return "–"
	}
	return strings.TrimSpace(f.Probability.String() + " " + f.Trend())
}

// fewQuestions is from how many questions on the record of the forecast says
// something about it.
const fewQuestions = 20

// TrackText writes the forecast's own record, and says so when it is poor.
func (v View) TrackText() string {
	t := v.Track
	switch {
	case t == nil || t.Questions == 0:
		return ""
	case t.Questions < fewQuestions:
		return fmt.Sprintf("Forecast accuracy: only %s checked so far, too few to judge it.", units.Count(t.Questions, "past forecast"))
	case t.Skill < 0:
		return fmt.Sprintf("Forecast accuracy: poor. Of %s on this history, the errors were %s larger than those of quoting how often such forecasts come true elsewhere (Brier score %s): rely on the measurements.",
			units.Count(t.Questions, "past forecast"), units.Percent(-t.Skill), units.Number(t.Brier))
	}
	return fmt.Sprintf("Forecast accuracy: of %s on this history, the errors were %s smaller than those of quoting how often such forecasts come true elsewhere, and probabilities were off by %s points on average (Brier score %s).",
		units.Count(t.Questions, "past forecast"), units.Percent(t.Skill), units.Number(100*t.CalibrationError), units.Number(t.Brier))
}
