package bench

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// The ways to compute accuracy deviation; docs/accuracy.md defines them.
const (
	DeviationAuto      = "auto"
	DeviationTop1      = "top1"
	DeviationAgreement = "top1_agreement"
	DeviationRelL2     = "relative_l2"
	// deviationError is that of ReferenceLabels, and no choice of its own.
	deviationError = "top1_error"
)

// What accuracy deviation may be measured against, apart from the default ("") and
// a version ("version 7").
const (
	ReferenceTrained = "newest trained"
	ReferenceLabels  = "labels"

	referenceVersion = "version "
)

// ReferenceVersion is the version that o.Reference names; false when it names none.
func (o Options) ReferenceVersion() (string, bool) {
	return strings.CutPrefix(o.Reference, referenceVersion)
}

// DefaultOptions are enough queries for MLPerf's bound on P99 in each window.
func DefaultOptions() Options {
	return Options{
		WarmUp:              500 * time.Millisecond,
		MinQueries:          662,
		MinWindow:           2 * time.Second,
		MaxWindow:           60 * time.Second,
		MaxWindows:          5,
		ThroughputTolerance: 0.03,
		P99Tolerance:        0.10,
		Batches:             []int{1},
		Concurrency:         []int{1, 2},
		SweepWindow:         2 * time.Second,
		Deviation:           DeviationAuto,
		Seed:                1,
	}
}

// Validate says everything that is wrong with o.
func (o Options) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(o.WarmUp >= 0, "warm_up is %v: give 0 or more", o.WarmUp)
	check(o.MinQueries >= 1, "min_queries is %d: give at least 1 (662 for a bound on P99)", o.MinQueries)
	check(o.MinWindow >= 0, "min_window is %v: give 0 or more", o.MinWindow)
	check(o.MaxWindow > 0 && o.MaxWindow >= o.MinWindow, "max_window is %v: give more than 0 and no less than min_window (%v)", o.MaxWindow, o.MinWindow)
	check(o.MaxWindows >= 1, "max_windows is %d: give at least 1 (2 to learn whether windows agree)", o.MaxWindows)
	check(o.ThroughputTolerance > 0 && o.ThroughputTolerance < 1, "throughput_tolerance is %v: give a share between 0 and 1", o.ThroughputTolerance)
	check(o.P99Tolerance > 0 && o.P99Tolerance < 1, "p99_tolerance is %v: give a share between 0 and 1", o.P99Tolerance)
	check(len(o.Batches) > 0, "batches is empty: give at least one batch size")
	for _, b := range o.Batches {
		check(b >= 1, "batches has %d: give sizes of at least 1", b)
	}
	for _, c := range o.Concurrency {
		check(c >= 1 && c <= 1024, "concurrency has %d: give 1 to 1024", c)
	}
	check(o.SweepWindow > 0, "sweep_window is %v: give more than 0", o.SweepWindow)
	check(slices.Contains([]string{DeviationAuto, DeviationTop1, DeviationAgreement, DeviationRelL2}, o.Deviation),
		"deviation is %q: use auto, top1, top1_agreement or relative_l2", o.Deviation)
	check(o.MaxDeviation >= 0, "max_deviation is %v: give 0 (no limit) or more", o.MaxDeviation)
	return errors.Join(errs...)
}
