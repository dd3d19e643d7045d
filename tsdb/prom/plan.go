package prom

import (
	"fmt"
	"time"

	"github.com/plancast/plancast/terms"
)

// MaxPoints is how many steps one range query may have; Prometheus refuses
// more than 11,000.
const MaxPoints = 11_000

// maxPieces bounds the requests that one history is split into.
const maxPieces = 24

// Plan is how a history is asked for: at which moments, and in how many pieces.
type Plan struct {
	Start, End time.Time // both asked for
	Step       time.Duration
	Pieces     []Piece // in order, without overlap
}

// Piece is one range query.
type Piece struct{ Start, End time.Time }

// Length is the time from the first moment to the last.
func (p Plan) Length() time.Duration { return p.End.Sub(p.Start) }

// The steps that a plan chooses from.
var steps = []time.Duration{
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second,
	time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 20 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 3 * time.Hour, 4 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour,
}

// NewPlan covers history before end. The step is at least resolution and so
// coarse that one request is enough; when exact, it is resolution, and there
// are as many pieces as that takes.
func NewPlan(end time.Time, history, resolution time.Duration, exact bool) (Plan, error) {
	resolution = max(resolution, time.Second)
	p := Plan{Step: resolution}
	if !exact {
		for _, s := range steps {
			if s >= resolution {
				p.Step = s
				if int64(history/s) < MaxPoints {
					break
				}
			}
		}
	}
	n := int64(history / p.Step)
	p.End = end.Truncate(time.Second).UTC()
	p.Start = p.End.Add(-time.Duration(n) * p.Step)
	if pieces := n/MaxPoints + 1; pieces > maxPieces {
		return Plan{}, &terms.Invalid{Field: "resolution", Reason: fmt.Sprintf(
			"%s of history every %s takes %d requests of %d points, more than %d: use at least %s, or a shorter history",
			terms.FormatDuration(history.Round(time.Second)), terms.FormatDuration(p.Step), pieces, MaxPoints, maxPieces,
			terms.FormatDuration((history/(maxPieces*(MaxPoints-1))).Round(time.Second)+time.Second))}
	}
	for from := p.Start; !from.After(p.End); {
		to := from.Add((MaxPoints - 1) * p.Step)
		if to.After(p.End) {
			to = p.End
		}
		p.Pieces = append(p.Pieces, Piece{from, to})
		from = to.Add(p.Step)
	}
	return p, nil
}

// halves splits a piece in two, and is false when it is a single moment.
func (p Piece) halves(step time.Duration) (a, b Piece, ok bool) {
	n := int64(p.End.Sub(p.Start) / step)
	if n < 1 {
		return a, b, false
	}
	middle := p.Start.Add(time.Duration(n/2) * step)
	return Piece{p.Start, middle}, Piece{middle.Add(step), p.End}, true
}

// Lookback is how far back one step of a history looks for a sample: Prometheus' own
// five minutes, or the step, so that nothing falls between two of them.
func Lookback(step time.Duration) time.Duration { return max(step, 5*time.Minute) }

// AtStart reports whether t is the first moment of the plan: what is known there
// was so before.
func AtStart(t time.Time, p Plan) bool { return !t.After(p.Start) }
