package daemon

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/plancast/plancast/exporter/compare"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/report"
)

// mostChoices is how many results of a model the pickers offer: the newest.
const mostChoices = 200

// Compared implements web.Comparisons.
func (d *Daemon) Compared(ctx context.Context, q compare.Question) ([]compare.Result, error) {
	cfg, _ := d.inForce()
	return compare.InStore(ctx, d.store, q, compare.Options{Margin: cfg.Guard.Margin})
}

// Fill implements web.Comparisons: it gives the pickers their entries: first the models, then the results of the
// one that was chosen.
func (d *Daemon) Fill(ctx context.Context, p *report.ComparePage) error {
	if p.Model == "" {
		s := d.derived.Load()
		for _, m := range s.Models {
			if slices.ContainsFunc(m.History.Series, measured) {
				p.Models = append(p.Models, m.Name)
			}
		}
		p.Models = append(p.Models, s.Gone...)
		return nil
	}
	for _, which := range compare.Whiches {
		p.Choices = append(p.Choices, report.CompareChoice{Ref: string(which), Name: string(which)})
	}
	var results []report.CompareChoice
	for e, err := range history.Skip(d.store.Entries(ctx, history.Filter{Model: p.Model, Limit: mostChoices}), func(error) {}) {
		if err != nil {
			return err
		}
		if e.OK() {
			results = append(results, report.CompareChoice{Ref: strconv.FormatInt(e.ID, 10), Name: choice(e)})
		}
	}
	if len(results) == 0 {
		return fmt.Errorf("no results for model %q", p.Model)
	}
	slices.Reverse(results)
	p.Choices = append(p.Choices, results...)
	if p.A == "" && p.B == "" {
		p.A, p.B = string(compare.Base), string(compare.Newest)
	}
	return nil
}

// measured reports whether a series has a result that is no failure.
func measured(s history.Series) bool {
	return slices.ContainsFunc(s.Trials, func(t history.Trial) bool {
		for e := range t.Entries() {
			if e.OK() {
				return true
			}
		}
		return false
	})
}

// choice reads "version 3 int8, 2026-11-27, superseded".
func choice(e history.Entry) string {
	s := fmt.Sprintf("version %s %s, %s", e.Version, e.Precision, e.Finished.Time().Format(time.DateOnly))
	switch {
	case e.Superseded:
		s += ", superseded"
	case e.Excluded:
		s += ", excluded"
	}
	return s
}
