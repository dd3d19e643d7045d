package terms

import (
	"regexp"
	"strings"
)

// ChangeSeries holds the iteration of a model's newest candidate; its labels say
// what the change was that led to it.
const ChangeSeries = "plancast_candidate_change"

// ChangeText is a change in one line: "quantization, pruning by ann (commit
// 1a2b3c4 on int8)"; "" when nothing is known. A long hash is shortened.
func ChangeText(kinds, author, commit, branch string) string {
	var at []string
	if commit != "" {
		const short = 10
		if hash.MatchString(commit) {
			commit = commit[:short]
		}
		at = append(at, "commit "+commit)
	}
	if branch != "" {
		at = append(at, "on "+branch)
	}
	var parts []string
	if kinds != "" {
		parts = append(parts, kinds)
	}
	if author != "" {
		parts = append(parts, "by "+author)
	}
	where := strings.Join(at, " ")
	if where != "" && len(parts) > 0 {
		where = "(" + where + ")"
	}
	if where != "" {
		parts = append(parts, where)
	}
	return strings.Join(parts, " ")
}

var hash = regexp.MustCompile(`^[0-9a-f]{20,64}$`)
