// Package models is what a user says to the data source: its settings and its
// queries, read from JSON, given defaults, and refused with a remedy when they
// cannot be meant.
package models

import (
	"errors"
	"fmt"
)

// ErrInvalid is wrapped by every error that the user can mend in the query or
// the settings.
var ErrInvalid = errors.New("invalid")

// Invalid is an error about one field. Its text is for people; the place is
// named first.
type Invalid struct {
	Field  string // as the editor calls it: "target of criterion 2"
	Reason string // what is wrong and what would be right
}

// Error reads "target of criterion 2: ...".
func (e *Invalid) Error() string { return e.Field + ": " + e.Reason }

// Unwrap makes errors.Is(err, ErrInvalid) hold.
func (e *Invalid) Unwrap() error { return ErrInvalid }

func invalid(field, format string, args ...any) error {
	return &Invalid{Field: field, Reason: fmt.Sprintf(format, args...)}
}
