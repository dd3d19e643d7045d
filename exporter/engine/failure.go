package engine

import (
	"errors"
	"fmt"
	"strings"
)

// Kind says what went wrong, in few enough words to count and alert on.
type Kind string

// The failure kinds. Callers switch on them; metrics carry them as label values.
const (
	KindInvalidModel         Kind = "invalid_model"         // the file is not a usable ONNX model
	KindInvalidInput         Kind = "invalid_input"         // inputs.npz, shapes or labels do not fit the model
	KindUnsupportedInput     Kind = "unsupported_input"     // an input or output is of a type that cannot be measured
	KindUnsupportedOperator  Kind = "unsupported_operator"  // the runtime has no such operator
	KindUnsupportedPrecision Kind = "unsupported_precision" // this backend cannot give that precision
	KindBuildFailed          Kind = "build_failed"          // the builder refused for another reason
	KindRunFailed            Kind = "run_failed"            // the engine was built and does not run
	KindOutOfMemory          Kind = "out_of_memory"
	KindTimeout              Kind = "timeout"
	KindCrashed              Kind = "crashed"     // the worker died or talked nonsense
	KindAccuracy             Kind = "accuracy"    // the outputs are not numbers, or not those of this model
	KindUnavailable          Kind = "unavailable" // the runtime itself cannot be used here
	KindInternal             Kind = "internal"    // plancast is at fault
)

// Kinds lists every failure kind, so that each has a metric from the start.
var Kinds = []Kind{
	KindInvalidModel, KindInvalidInput, KindUnsupportedInput, KindUnsupportedOperator, KindUnsupportedPrecision, KindBuildFailed,
	KindRunFailed, KindOutOfMemory, KindTimeout, KindCrashed, KindAccuracy, KindUnavailable, KindInternal,
}

// Error is a failure of a build or a benchmark: what was attempted, on what,
// why it failed and what to do about it. It travels from the worker to the
// history as JSON.
type Error struct {
	Kind     Kind   `json:"kind"`
	Op       string `json:"op"`                 // what was attempted: "parse model", "build int8 engine"
	Subject  string `json:"subject,omitempty"`  // on what: a file, an input
	Message  string `json:"message"`            // why, in the runtime's words where there are any
	Node     string `json:"node,omitempty"`     // the node, when known
	Operator string `json:"operator,omitempty"` // its operator, when known
	Hint     string `json:"hint,omitempty"`     // what to do
}

// Error reads "parse model x.onnx: no such operator (node n1, operator Foo): register it".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Subject != "" {
		b.WriteString(" " + e.Subject)
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	var where []string
	if e.Node != "" {
		where = append(where, "node "+e.Node)
	}
	if e.Operator != "" {
		where = append(where, "operator "+e.Operator)
	}
	if len(where) > 0 {
		b.WriteString(" (" + strings.Join(where, ", ") + ")")
	}
	if e.Hint != "" {
		b.WriteString(": " + e.Hint)
	}
	return b.String()
}

// Errorf makes an Error with a formatted message.
func Errorf(kind Kind, op, subject, format string, args ...any) *Error {
	return &Error{Kind: kind, Op: op, Subject: subject, Message: fmt.Sprintf(format, args...)}
}

// AsError returns the *Error in err's chain, or wraps err as KindInternal.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Kind: KindInternal, Op: "run job", Message: err.Error()}
}

// ErrNoLayers says that a runtime cannot describe its layers.
var ErrNoLayers = errors.New("this runtime does not describe its layers")
