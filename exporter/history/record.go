// Package history is plancast's durable memory: one record for every job that
// ended, kept in SQLite with full sync and one transaction a record, so that a
// result that was reported once is there after any crash.
//
// Records are plain data and never change; what they mean together (which is
// current, which iteration of which series) is answered here as well, so that
// the report, the metrics and the forecast agree.
package history

import (
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/engine"
)

// Record is the outcome of one job: a candidate at one precision in one
// environment. Exactly one of Measurement and Failure is set.
type Record struct {
	ID      int64  `json:"id"`      // assigned by Append, ascending
	Model   string `json:"model"`   // label value
	Version string `json:"version"` // the folder's name in the repository
	Digest  string `json:"digest"`  // SHA-256 of the candidate, hex

	Precision   engine.Precision   `json:"precision"`
	Backend     string             `json:"backend"`
	Device      string             `json:"device"`
	Environment engine.Environment `json:"environment"`
	Settings    engine.Settings    `json:"settings"`
	Fingerprint string             `json:"fingerprint"` // of environment, settings and conditions

	// Iteration counts the candidates of this model in this environment from 1,
	// shared by the precisions of one candidate. 0 marks a candidate that came
	// out of order (an older version after a newer one): kept, but no iteration.
	Iteration int `json:"iteration"`

	CandidateTime time.Time `json:"candidate_time"` // when the candidate was last modified, UTC
	Started       time.Time `json:"started"`        // UTC
	Finished      time.Time `json:"finished"`       // UTC; the result's own timestamp

	// Source says where a measurement that was made elsewhere came from; "" for
	// plancast's own.
	Source string `json:"source,omitempty"`

	// Change is what is known today of the change that led to the candidate; nil
	// when nothing is. Trace is what keeps it.
	Change *change.Change `json:"change,omitempty"`

	Measurement *bench.Measurement `json:"measurement,omitempty"`
	Failure     *Failure           `json:"failure,omitempty"`

	// What was decided about the result later; Append sets neither.
	SupersededBy int64      `json:"superseded_by,omitempty"` // ID of the record that counts instead
	Excluded     *Exclusion `json:"excluded,omitempty"`      // nil when it counts
}

// Exclusion says why somebody took a result out.
type Exclusion struct {
	Because string    `json:"because"`
	By      string    `json:"by"`
	At      time.Time `json:"at"`
}

// Failure is a result, too: why there is no measurement.
type Failure struct {
	engine.Error
	Log []string `json:"log,omitempty"` // the last lines of the worker's stderr
	// Limits stands for the limits of the configuration that it happened under;
	// under others it is worth another try. "" before plancast recorded them.
	Limits string `json:"limits,omitempty"`
}

// OK reports whether the job was measured.
func (r Record) OK() bool { return r.Measurement != nil }

// Unsupported reports whether the backend cannot give the precision at all: a
// fact about the environment, not a fault of the candidate.
func (r Record) Unsupported() bool {
	return r.Failure != nil && r.Failure.Kind == engine.KindUnsupportedPrecision
}

// Duration is how long the job took.
func (r Record) Duration() time.Duration { return r.Finished.Sub(r.Started) }
