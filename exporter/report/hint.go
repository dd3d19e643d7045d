package report

import (
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/units"
)

// The words of badges are short; a hint says in a sentence what one means. The page
// shows it on hover.

// StateHint explains the milestone's state.
func (m MilestoneView) StateHint() string {
	switch m.State {
	case forecast.Met:
		return "As many models are ready as the milestone needs."
	case forecast.InsufficientData:
		return "There are too few results for a forecast."
	case forecast.IsAtypical:
		return "The newest iteration does not fit the ones before it: find out what changed."
	case forecast.IsStalled:
		return "Improvement converges to a limit that misses the target: more of the same will not get there."
	case forecast.OnTrack:
		return "The probability has reached the " + units.Percent(m.Threshold) + " from which the milestone counts as on track."
	case forecast.AtRisk:
		return "The probability is below the " + units.Percent(m.Threshold) + " from which the milestone counts as on track."
	}
	return ""
}

// statusHint explains the status of a model.
func statusHint(s standing.Status) string {
	switch s {
	case standing.StatusMet:
		return "The newest candidate meets every target and milestone that applies to it."
	case standing.StatusMissed:
		return "The newest candidate misses a target or milestone that applies to it."
	case standing.StatusFailed:
		return "The newest candidate could not be built or measured. The figures are those of an earlier one."
	case standing.StatusMeasuring:
		return "The newest candidate is waiting or being measured."
	case standing.StatusUnknown:
		return "A figure that a target or milestone names was not measured."
	case standing.StatusUndecided:
		return "Other work disturbed the measurement, so it decides nothing. Measure again on an idle machine."
	case standing.StatusMeasured:
		return "The newest candidate is measured, and no target or milestone applies to it."
	}
	return "No version of the model has been measured yet."
}

// Hint explains the state of a result.
func (s ResultState) Hint() string {
	switch s {
	case ResultExcluded:
		return "Someone excluded the result. It counts for nothing."
	case ResultSuperseded:
		return "The version was measured again. The newer result counts instead."
	case ResultUnsupported:
		return "The backend does not support this precision for the model."
	case ResultFailed:
		return "The version could not be built or measured at this precision."
	case ResultDisturbed:
		return "Other work disturbed the measurement, so its times decide nothing."
	case ResultNoEffect:
		return "Nothing that counts in the engine computes in this precision."
	case ResultUnstable:
		return "The windows did not agree with each other."
	}
	return "The result counts: it is measured, stable and undisturbed."
}
