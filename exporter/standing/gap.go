package standing

import (
	"slices"
	"strconv"

	"github.com/plancast/plancast/exporter/history"
)

// Gap is a model whose newest version has no result in the environment that
// counts: nothing is known of what a gate is asked about.
type Gap struct {
	Model   string // or the folder that cannot be a model
	Version string // the newest; "" when there is none
	Cause   GapCause
	Reason  string // as the repository says; "" for what the history knows
}

// GapCause says why there is no result.
type GapCause string

// The causes of a gap.
const (
	GapPending  GapCause = "pending"  // the version is left alone for now
	GapRefused  GapCause = "refused"  // it cannot be measured
	GapWaiting  GapCause = "waiting"  // no job ended yet
	GapFailed   GapCause = "failed"   // every job failed
	GapNowhere  GapCause = "nowhere"  // the repository holds no version of it
	GapUnusable GapCause = "unusable" // a folder that looks like a model cannot be one
)

// Gaps finds the models whose newest version has no result. A rejected version
// whose name is no number may be the newest, so it is one as well.
func (s *State) Gaps() []Gap {
	var out []Gap
	for _, m := range s.Models {
		out = append(out, m.gaps()...)
	}
	for _, r := range s.Refused {
		out = append(out, Gap{Model: r.Name, Cause: GapUnusable, Reason: r.Reason})
	}
	return out
}

func (m *Model) gaps() []Gap {
	var out []Gap
	var newest *Version
	for i := range m.Versions {
		v := &m.Versions[i]
		switch {
		case number(v.Version) == 0 && v.State == Refused:
			out = append(out, Gap{m.Name, v.Version, GapRefused, v.Reason})
		case newest == nil || number(v.Version) > number(newest.Version):
			newest = v
		}
	}
	switch {
	case newest == nil && len(out) > 0:
	case newest == nil:
		out = append(out, Gap{Model: m.Name, Cause: GapNowhere})
	case newest.State == Pending:
		out = append(out, Gap{m.Name, newest.Version, GapPending, newest.Reason})
	case newest.State == Refused:
		out = append(out, Gap{m.Name, newest.Version, GapRefused, newest.Reason})
	default:
		if cause := m.unmeasured(*newest); cause != "" {
			out = append(out, Gap{Model: m.Name, Version: newest.Version, Cause: cause})
		}
	}
	return out
}

// unmeasured says why an accepted version has no result; "" when it has one.
func (m *Model) unmeasured(v Version) GapCause {
	s := m.Series
	if m.Fingerprint != "" {
		s, _ = m.History.In(m.Fingerprint)
	}
	i := slices.IndexFunc(s.Trials, func(t history.Trial) bool { return t.Digest == v.Digest })
	switch {
	case i < 0:
		return GapWaiting
	case s.Trials[i].Measured():
		return ""
	case s.Trials[i].Complete(m.Precisions):
		return GapFailed
	}
	return GapWaiting
}

// number is a version's place in order; 0 for what is none.
func number(version string) int64 {
	n, err := strconv.ParseInt(version, 10, 64)
	if err != nil || n < 1 {
		return 0
	}
	return n
}
