package terms

import (
	"errors"
	"fmt"
)

// ErrInvalid is wrapped by every error that the user can fix in the question.
var ErrInvalid = errors.New("invalid")

// Invalid is an error about one field of a question. Its text is for people;
// the field is named first.
type Invalid struct {
	Field  string // as people see it: "target of criterion 2"
	Reason string // what is wrong and what would be right
}

// Error reads "target of criterion 2: ...".
func (e *Invalid) Error() string { return e.Field + ": " + e.Reason }

// Unwrap makes errors.Is(err, ErrInvalid) hold.
func (e *Invalid) Unwrap() error { return ErrInvalid }

// Invalidf makes an Invalid.
func Invalidf(field, format string, args ...any) error {
	return &Invalid{Field: field, Reason: fmt.Sprintf(format, args...)}
}
