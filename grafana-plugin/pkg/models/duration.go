package models

import (
	"time"

	"github.com/prometheus/common/model"
)

// MaxHistory bounds how far back a query looks.
const MaxHistory = 20 * 365 * 24 * time.Hour

// ParseDuration reads a duration as PromQL writes it: 15s, 1h30m, 90d, 1y.
func ParseDuration(text string) (time.Duration, error) {
	d, err := model.ParseDuration(text)
	return time.Duration(d), err
}

// FormatDuration writes a duration as PromQL reads it.
func FormatDuration(d time.Duration) string { return model.Duration(d).String() }
