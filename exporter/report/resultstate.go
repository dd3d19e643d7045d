package report

import "github.com/plancast/plancast/exporter/history"

// ResultState says in one word what a result in the list is.
type ResultState string

// The states of a result; the first that applies holds.
const (
	ResultExcluded    ResultState = "excluded"
	ResultSuperseded  ResultState = "superseded"
	ResultUnsupported ResultState = "unsupported"
	ResultFailed      ResultState = "failed"
	ResultDisturbed   ResultState = "disturbed"
	ResultNoEffect    ResultState = "no_effect"
	ResultUnstable    ResultState = "unstable"
	ResultMeasured    ResultState = "measured"
)

var resultStates = []ResultState{ResultMeasured, ResultUnstable, ResultDisturbed, ResultNoEffect, ResultFailed, ResultUnsupported, ResultSuperseded, ResultExcluded}

// Title is the state as people read it.
func (s ResultState) Title() string {
	if s == ResultNoEffect {
		return "without effect"
	}
	return string(s)
}

// Class is the badge that the state has on a page.
func (s ResultState) Class() string {
	switch s {
	case ResultFailed:
		return "failed"
	case ResultDisturbed, ResultUnstable, ResultNoEffect:
		return "unknown"
	}
	return string(s)
}

func stateOf(e history.Entry) ResultState {
	switch {
	case e.Excluded:
		return ResultExcluded
	case e.Superseded:
		return ResultSuperseded
	case e.Unsupported():
		return ResultUnsupported
	case !e.OK():
		return ResultFailed
	case e.Disturbed:
		return ResultDisturbed
	case e.NoEffect:
		return ResultNoEffect
	case !e.Stable:
		return ResultUnstable
	}
	return ResultMeasured
}
