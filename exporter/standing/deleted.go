package standing

import (
	"slices"

	"github.com/plancast/plancast/exporter/history"
)

// Holds reports whether the repository holds a version of the model: under its name,
// also when another file took its place, or as the same file under another name.
func (m *Model) Holds(version, digest string) bool {
	return slices.ContainsFunc(m.Versions, func(x Version) bool {
		return x.Version == version || x.Digest != "" && x.Digest == digest
	})
}

// Deleted are the candidates newer than all that the repository still holds, the
// newest first: nothing but the first of them is judged.
func (m *Model) Deleted() []history.Trial {
	var out []history.Trial
	for _, t := range slices.Backward(m.Series.Trials) {
		if m.Holds(t.Version, t.Digest) {
			break
		}
		out = append(out, t)
	}
	return out
}
