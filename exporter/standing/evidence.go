// Package standing derives the state of the world from evidence: which results
// are current, which criteria they meet, how many models of a milestone are
// ready and how likely it is met in time. Everything that plancast shows or
// sends is made from this one State, so that no two readers disagree.
//
// It is pure: the same evidence gives the same state. It holds data and no
// words; what people read is written by the packages that present it.
package standing

import (
	"slices"
	"time"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/forecast"
)

// Evidence is everything that a state is derived from. Derive keeps parts of
// it, so it must not change afterwards.
type Evidence struct {
	Now time.Time // the moment that the state is of, UTC

	// Records is the history, ascending by ID. A Tracker has its own.
	Records []history.Record

	Models  []Held    // what the repository holds, by name
	Refused []Refusal // folders that cannot be models
	// Unread says that the repository has not been read yet, so that nothing
	// can be missing from it.
	Unread bool
	// Left says since when a model of the history is no longer in the
	// repository; a model that is absent from it left just now.
	Left map[string]time.Time
	// Labels are what a store knows of each model, those that left included: where
	// it is measured, and on which device. Nil on an exporter.
	Labels map[string]map[string]string
	// By are the labels that tell the models of a fleet apart; nil on an exporter.
	By []string

	Targets    []config.Target
	Milestones []config.Milestone
	Track      *forecast.Score // the forecast's own record on this history; nil while unknown

	Backend  Backend
	Activity Activity
}

// Held is what the repository holds of one model.
type Held struct {
	Name     string
	Owner    string // who hears about it; "" when nobody is named
	Versions []Version
	// Precisions are those that each candidate is measured at; empty expects
	// nothing beyond what the history has.
	Precisions []engine.Precision
	// Fingerprint is the environment in which the newest version would be
	// measured now, by the current configuration on this machine; "" while unknown.
	Fingerprint string
}

// selects reports whether a threshold is about the model named.
func (e Evidence) selects(s config.Select, name string) bool { return s.Selects(name, e.Labels[name]) }

func (h Held) equal(o Held) bool {
	return h.Name == o.Name && h.Owner == o.Owner && h.Fingerprint == o.Fingerprint &&
		slices.Equal(h.Precisions, o.Precisions) && same(h.Versions, o.Versions)
}

// same compares lists that are mostly one and the same.
func same(a, b []Version) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || slices.Equal(a, b))
}

// Version is one version of a model in the repository.
type Version struct {
	Version string
	Digest  string // "" while unknown
	State   VersionState
	Reason  string // why it is pending or rejected, as the repository says
}

// VersionState says what becomes of a version.
type VersionState string

// The states of a version in the repository.
const (
	Accepted VersionState = "accepted" // measured, or queued to be
	Pending  VersionState = "pending"  // left alone for now: still being copied, not whole
	Refused  VersionState = "refused"  // will not be measured
)

// Refusal is a folder that cannot be a model.
type Refusal struct {
	Name   string `json:"name"` // as it was found: never a label value
	Reason string `json:"reason"`
}

// Backend is the runtime in use.
type Backend struct {
	Name    string `json:"name"`             // "onnxruntime"
	Version string `json:"version"`          // "1.32.0"
	Reason  string `json:"reason,omitempty"` // why this one, in words
}

// Activity is what plancast does at the moment.
type Activity struct {
	Running  []Job     // one on each device; empty when idle
	Queue    []Job     // what waits, next first
	LastPass *Pass     // the last pass over the repository that ended; nil before the first
	NextPass time.Time // when the schedule fires next; zero when there is none
}

// Job is a job that runs or waits.
type Job struct {
	Model     string
	Version   string
	Precision engine.Precision
	Started   time.Time // zero while it waits
	Progress  engine.Progress
}

// Pass is one pass over the repository.
type Pass struct {
	Finished time.Time
	Duration time.Duration
}
