// Package milestone turns the history into forecasts of the configured
// milestones. It chooses the evidence: which candidates count as iterations,
// which engine of each stands for it, what happened at which time. What the
// evidence means is for package forecast to say.
//
// It is pure: the same records and the same moment give the same forecast.
package milestone

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/report"
	"github.com/plancast/plancast/exporter/verdict"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/units"
)

// Model is one model as a milestone sees it.
type Model struct {
	Name string
	// Precisions are those that each candidate is measured at: a candidate
	// that has not been through all of them is not an iteration yet.
	Precisions []engine.Precision
	// History may be zero: a model without any result yet.
	History history.Model
}

// Forecast answers for one milestone as of now. Records that finished later
// are left out, so that the past can be asked as well.
func Forecast(m config.Milestone, models []Model, now time.Time) (forecast.Forecast, error) {
	f, err := forecast.Joint(Evidence(m, models, now), now, forecast.Options{})
	if err != nil {
		return forecast.Forecast{}, fmt.Errorf("forecast milestone %s: %w", m.Name, err)
	}
	return f, nil
}

// Evidence is the milestone in the terms of package forecast, with the history
// of each selected model and criterion up to now.
func Evidence(m config.Milestone, models []Model, now time.Time) forecast.Milestone {
	out := forecast.Milestone{
		Name: m.Name, Share: m.Share,
		Goal: forecast.Goal{Iterations: m.Horizon, Deadline: m.Deadline, Ready: m.Ready},
	}
	for _, model := range models {
		if m.Matches(model.Name) {
			out.Series = append(out.Series, series(m, model, now)...)
		}
	}
	return out
}

// series are the histories of one model, one for each criterion.
func series(m config.Milestone, model Model, now time.Time) []forecast.Series {
	out := make([]forecast.Series, len(m.Criteria))
	for i, c := range m.Criteria {
		out[i] = forecast.Series{Model: model.Name, Criterion: c, Environment: m.Environment}
	}
	for _, s := range model.History.Series {
		unquantized := 0
		for i, c := range s.Candidates {
			c = until(c, now)
			if len(c.Records) == 0 || i == len(s.Candidates)-1 && !verdict.Through(m.Select, c, model.Precisions) {
				continue
			}
			if !slices.ContainsFunc(c.Records, func(r history.Record) bool { return m.Counts(r.Precision) && !r.Unsupported() }) {
				continue // nothing of it could have counted here
			}
			concern := ""
			if n := unquantizedLayers(c); n > unquantized {
				concern = fmt.Sprintf("%s stayed unquantized", units.Count(n, "layer"))
				unquantized = n
			}
			judged := verdict.JudgeCandidate(m.Select, m.Criteria, c)
			for j := range out {
				o := forecast.Observation{Time: c.Finished(), Environment: s.Fingerprint, Concern: concern}
				// One engine stands for the candidate: the criteria must hold together.
				if judged.Engine != nil && judged.Engine.Criteria[j].Value != nil {
					o.Value, o.Valid = *judged.Engine.Criteria[j].Value, true
				}
				out[j].Observations = append(out[j].Observations, o)
			}
		}
	}
	return out
}

// until is the candidate as it was known at that time.
func until(c history.Candidate, now time.Time) history.Candidate {
	if !c.Finished().After(now) {
		return c
	}
	c.Records = slices.DeleteFunc(slices.Clone(c.Records), func(r history.Record) bool { return r.Finished.After(now) })
	return c
}

func unquantizedLayers(c history.Candidate) int {
	r, ok := c.Record(engine.INT8)
	if !ok || !r.OK() || r.Measurement.Layers == nil {
		return 0
	}
	return len(r.Measurement.Layers.Unquantized)
}

// week is what the trend of a probability is measured over.
const week = 7 * 24 * time.Hour

// All answers for every milestone of in, as of in.Now and as of a week before.
// The error joins those of milestones that have no forecast.
func All(in report.Input) (map[string]*report.Forecast, error) {
	return forecasts(in, true)
}

// Now is All without the week before: half the work.
func Now(in report.Input) (map[string]*report.Forecast, error) {
	return forecasts(in, false)
}

func forecasts(in report.Input, trend bool) (map[string]*report.Forecast, error) {
	out := map[string]*report.Forecast{}
	models := Models(in)
	var errs []error
	for _, m := range in.Milestones {
		if !slices.ContainsFunc(models, func(x Model) bool { return m.Matches(x.Name) }) {
			continue // there is nothing to forecast yet
		}
		now, err := Forecast(m, models, in.Now)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		var before *forecast.Forecast
		if trend {
			if f, err := Forecast(m, models, in.Now.Add(-week)); err == nil && f.Evidence.Observations > 0 {
				before = &f
			}
		}
		out[m.Name] = report.NewForecast(now, before)
	}
	return out, errors.Join(errs...)
}

// Models are the models of the repository with their histories.
func Models(in report.Input) []Model {
	byName := map[string]history.Model{}
	for _, m := range in.ByModel() {
		byName[m.Name] = m
	}
	models := make([]Model, len(in.Models))
	for i, s := range in.Models {
		models[i] = Model{Name: s.Name, Precisions: s.Precisions, History: byName[s.Name]}
	}
	return models
}

// Track scores the method, walk-forward, on the very histories that the
// milestones rest on: its own record. The score has no questions while the
// histories are short.
func Track(in report.Input) forecast.Score {
	models := Models(in)
	type key struct{ model, metric, precision, environment string }
	seen := map[key]bool{}
	var all []forecast.Series
	for _, m := range in.Milestones {
		for _, s := range Evidence(m, models, in.Now).Series {
			k := key{s.Model, s.Criterion.Metric, m.Precision, s.Environment}
			if !seen[k] {
				seen[k] = true
				all = append(all, s)
			}
		}
	}
	return forecast.Backtest(all, forecast.BacktestOptions{}).Plancast
}
