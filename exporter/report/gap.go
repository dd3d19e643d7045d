package report

import (
	"slices"

	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/exporter/standing"
)

// Gap is a model whose newest version has no result: plancast run cannot answer
// for it.
type Gap struct {
	Model   string            `json:"model"`
	Version string            `json:"version,omitempty"`
	Cause   standing.GapCause `json:"cause"`
	Text    string            `json:"text"`
}

func gap(g standing.Gap, fleet bool) Gap {
	x := Gap{Model: outside.Line(g.Model, 100), Version: outside.Line(g.Version, 100), Cause: g.Cause}
	subject := x.Model
	if x.Version != "" {
		subject += " version " + x.Version
	}
	because := outside.Line(g.Reason, 500)
	switch g.Cause {
	case standing.GapPending:
		because = "it is waiting: " + because
	case standing.GapRefused, standing.GapUnusable:
		because = "rejected: " + because
	case standing.GapNowhere:
		because = "the repository holds no version of it"
		if fleet {
			because = "its exporter publishes no version of it"
		}
	case standing.GapFailed:
		because = "it failed at every precision"
	default:
		because = "it was not measured in this environment"
	}
	x.Text = subject + ": " + because
	return x
}

// listedGaps are those that a list of rejected folders does not show already.
func (v View) listedGaps() []Gap {
	return slices.DeleteFunc(slices.Clone(v.Gaps), func(g Gap) bool { return g.Cause == standing.GapUnusable })
}
