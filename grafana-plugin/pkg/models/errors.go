// Package models is what a user says to the data source: its settings and its
// queries, read from JSON, given defaults, and refused with a remedy when they
// cannot be meant.
package models

import "github.com/plancast/plancast/terms"

func invalid(field, format string, args ...any) error {
	return terms.Invalidf(field, format, args...)
}
