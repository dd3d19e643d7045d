// Package worker runs each build and benchmark in a child process, so that a
// crash, a hang, exhausted memory or a hostile model costs that job alone. Worker is
// the parent's side and turns whatever happens to a child into an Outcome; Serve
// is the child's.
//
// The child reads a Request, a line of JSON, on stdin and writes Events, a line
// of JSON each, to file descriptor 3; the last one holds the outcome, and says
// whether the child waits for another request or ends. Native libraries may print
// what they like on stdout and stderr; the end of it is kept. The end of stdin
// shows the child that its parent is gone, or needs it no longer.
package worker

import (
	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
)

// Request is what the child is asked: to describe a backend, or to do a job on it.
type Request struct {
	Backend string              `json:"backend"`
	Config  bench.BackendConfig `json:"config"`
	Job     *bench.Job          `json:"job,omitempty"`
	// Confine is what the child may use, from its first request on; nil leaves it
	// whatever its user may.
	Confine *Confinement `json:"confine,omitempty"`
	// FileBytes is how long a file may be that the child writes; 0 is no limit. Run
	// sets it.
	FileBytes int64 `json:"file_bytes,omitempty"`
}

// Event is one line from the child. Exactly one field is set, except that
// Environment and Ready come with what ends a job, and Libraries with Environments.
type Event struct {
	Progress    *engine.Progress    `json:"progress,omitempty"`
	Environment *engine.Environment `json:"environment,omitempty"`
	// Environments answer a request without a job: one for each device.
	Environments []engine.Environment `json:"environments,omitempty"`
	// Libraries and Gaps come with Environments: the shared libraries that were
	// loaded, and what this system does not keep the child from.
	Libraries   []string           `json:"libraries,omitempty"`
	Gaps        []string           `json:"gaps,omitempty"`
	Measurement *bench.Measurement `json:"measurement,omitempty"`
	Failure     *engine.Error      `json:"failure,omitempty"`
	// Ready comes with the outcome: the child waits for another request.
	Ready bool `json:"ready,omitempty"`
}

// last reports whether the event ends the job.
func (e Event) last() bool {
	return e.Measurement != nil || e.Failure != nil || e.Environments != nil
}

// Outcome is how a job ended.
type Outcome struct {
	Environment *engine.Environment // what the job ran on; nil when it did not get that far
	// Environments answer a request without a job; Libraries are the shared
	// libraries that were loaded for that, and Gaps what a confined child is not kept
	// from on this system.
	Environments []engine.Environment
	Libraries    []string
	Gaps         []string
	Measurement  *bench.Measurement
	Failure      *engine.Error
	Log          []string // the last lines of stderr and stdout, when the job failed
	killed       bool     // by a signal that this package did not send
}
