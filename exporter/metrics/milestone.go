package metrics

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/forecast"
)

// fleet adds what a fleet daemon publishes of models: how many there are, and
// whether they meet the criteria of its milestones. The rest their exporters do.
func (b *snapshotBuilder) fleet(s *standing.State) {
	b.gauge(fleetModels, float64(len(s.Models)))
	met := map[string]float64{} // of engines that differ only in labels that are none of the family's the least
	labels := map[string][]string{}
	for _, m := range s.Models {
		for _, p := range m.Series.Precisions() {
			e, ok := m.Series.LastGood(p)
			r, known := m.Record(e)
			if !ok || !known {
				continue
			}
			for _, x := range targets(m, e) {
				all := slices.Concat([]string{config.ModelName(m.Name, m.Labels), string(p), r.Backend, r.Device}, x.labels)
				key := strings.Join(all, "\xff")
				if v, ok := met[key]; !ok || x.met < v {
					met[key], labels[key] = x.met, all
				}
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(met)) {
		b.gauge(targetMet, met[key], labels[key]...)
	}
}

// withinShown are the numbers of iterations that every milestone has a probability for.
var withinShown = []int{1, 2, 3, 5, 10}

func (b *snapshotBuilder) milestone(m standing.MilestoneState, by []string) {
	b.gauge(modelsReady, float64(m.ModelsReady), m.Name)
	b.gauge(modelsNeeded, float64(m.ModelsNeeded), m.Name)
	b.gauge(modelsSelected, float64(m.ModelsTotal), m.Name)
	b.gauge(milestoneInfo, 1, m.Name, m.Precision, string(m.Effort), strings.Join(by, ","), m.Where.String())
	criteria := map[string]bool{}
	for _, c := range m.Criteria {
		criteria[c.String()] = true // two may read the same
	}
	for _, text := range slices.Sorted(maps.Keys(criteria)) {
		b.gauge(criterionInfo, 1, m.Name, text)
	}
	for _, x := range m.Members {
		b.gauge(modelReady, oneIf(x.Ready), m.Name, x.Model, strconv.FormatBool(!x.Absent))
	}
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
