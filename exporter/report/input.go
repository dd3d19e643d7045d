package report

import (
	"fmt"
	"time"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/forecast"
)

// Input is the evidence that a report is made from. Build reads it and keeps
// nothing of it.
type Input struct {
	Now     time.Time // the moment the report speaks of, UTC
	Version string    // of plancast

	Records []history.Record // all of them, ascending ID
	// Histories is history.ByModel of Records, from a caller who shares it
	// between several readers of the input; nil has each make its own.
	Histories []history.Model
	Models    []ModelState // what the repository holds now; other models are left out of the report
	Refused   []Refusal    // model folders refused by name
	// Unmatched are the targets and milestones that select no model at all.
	Unmatched []Unmatched

	Targets    []config.Target
	Milestones []config.Milestone
	Forecasts  map[string]*Forecast // by milestone; nil or absent leaves the forecast out
	Track      *forecast.Score      // the forecast's own record on this history; nil or without questions leaves it out

	Backend Backend
	Running []Job // what runs now, one on each device; empty when idle
	Queue   []Job // what waits, next first

	LastPass *Pass     // the last pass over the repository that ended; nil before the first
	NextPass time.Time // when the schedule fires next; zero when there is none
}

// ByModel is the history of each model, by name.
func (in Input) ByModel() []history.Model {
	if in.Histories != nil {
		return in.Histories
	}
	return history.ByModel(in.Records)
}

// Unmatched is a target or milestone that selects no model of the repository:
// most likely a name is misspelt.
type Unmatched struct {
	Kind ThresholdKind `json:"kind"`
	Name string        `json:"name"`
}

// String reads "target launch selects no model of the repository".
func (u Unmatched) String() string {
	return fmt.Sprintf("%s %s selects no model of the repository", u.Kind, u.Name)
}

// Pass is one pass over the repository.
type Pass struct {
	Finished time.Time
	Duration time.Duration
}

// Backend is the runtime in use.
type Backend struct {
	Name    string `json:"name"`             // "onnxruntime"
	Version string `json:"version"`          // "1.32.0"
	Reason  string `json:"reason,omitempty"` // why this one, in words
}

// ModelState is what the repository holds of one model.
type ModelState struct {
	Name     string
	Owner    string // who is told about it; "" when nobody is named
	Versions []VersionState

	// Precisions are those that each candidate is measured at; empty takes
	// those that the history has.
	Precisions []engine.Precision
}

// VersionState is one version of a model in the repository.
type VersionState struct {
	Version string
	Digest  string // "" while unknown
	State   CandidateState
	Reason  string // why it is pending or refused, in words
}

// CandidateState says what becomes of a version.
type CandidateState string

// The states of a version in the repository.
const (
	Accepted CandidateState = "accepted" // measured, or queued to be
	Pending  CandidateState = "pending"  // left alone for now: still being copied, not whole
	Refused  CandidateState = "refused"  // will not be measured
)

// Refusal is a model folder that cannot be a model.
type Refusal struct {
	Name   string `json:"name"` // as it was found: never a label value
	Reason string `json:"reason"`
}

// Job is a job that runs or waits.
type Job struct {
	Model     string
	Version   string
	Precision engine.Precision
	Started   time.Time // zero while it waits
	Progress  engine.Progress
}
