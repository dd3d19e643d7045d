package metrics

import (
	"slices"
	"strconv"

	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/forecast"
)

// withinShown are the numbers of iterations that every milestone has a probability for.
var withinShown = []int{1, 2, 3, 5, 10}

func (b *snapshotBuilder) milestone(m standing.Milestone) {
	b.gauge(modelsReady, float64(m.ModelsReady), m.Name)
	b.gauge(modelsNeeded, float64(m.ModelsNeeded), m.Name)
	b.gauge(modelsSelected, float64(m.ModelsTotal), m.Name)
	b.gauge(milestoneInfo, 1, m.Name, m.Precision)
	b.gauge(share, m.Share, m.Name)
	if m.Horizon > 0 {
		b.gauge(horizon, float64(m.Horizon), m.Name)
	}
	if !m.Deadline.IsZero() {
		b.gauge(deadline, timestamp(m.Deadline), m.Name)
	}
	b.gauge(readyProbability, m.Ready, m.Name)
	for _, s := range forecast.States() {
		b.gauge(state, oneIf(s == m.State), m.Name, string(s))
	}
	if m.Forecast == nil {
		return
	}
	f := m.Forecast.Forecast
	if p := f.Probability; p != nil {
		b.gauge(probability, p.Value, m.Name)
		b.gauge(probabilityLower, p.Lower, m.Name)
		b.gauge(probabilityUpper, p.Upper, m.Name)
	}
	for i, p := range f.Within {
		if n := i + 1; slices.Contains(withinShown, n) || n == m.Horizon {
			b.gauge(probabilityWithin, p.Value, m.Name, strconv.Itoa(n))
			b.gauge(probabilityWithinLower, p.Lower, m.Name, strconv.Itoa(n))
			b.gauge(probabilityWithinUpper, p.Upper, m.Name, strconv.Itoa(n))
		}
	}
	if f.Attained != nil {
		b.gauge(attained, *f.Attained, m.Name)
	}
	if f.Effort != nil {
		b.gauge(expectedIterations, f.Effort.Effective, m.Name)
	}
	for _, d := range f.When {
		b.gauge(eta, timestamp(d.Time), m.Name, strconv.FormatFloat(d.Quantile, 'g', -1, 64))
	}
	for _, part := range f.Parts {
		if p := part.Forecast.Probability; p != nil {
			b.gauge(criterionProbability, p.Value, m.Name, part.Criterion.String(), part.Model)
		}
	}
}

func (b *snapshotBuilder) track(s *forecast.Score) {
	if s == nil || s.Questions == 0 {
		return
	}
	b.gauge(trackBrier, s.Brier)
	b.gauge(trackSkill, s.Skill)
	b.gauge(trackCalibration, s.CalibrationError)
	b.gauge(trackQuestions, float64(s.Questions))
}
