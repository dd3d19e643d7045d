package tensorio

import (
	"slices"
	"strconv"
	"strings"

	"github.com/plancast/plancast/exporter/engine"
)

// Groups splits evaluation arrays by the shapes of their samples, which one array cannot
// hold side by side: the arrays "name/1", "name/2" and so on hold further samples of the
// input, each of a shape of its own. "name/0" is another way to write "name". Those of
// one number belong together; an input without numbered arrays has the same one in each
// group. In a group the arrays bear the names of their inputs. file names the arrays in
// errors, which are of KindInvalidInput.
func Groups(file string, inputs []engine.TensorInfo, arrays []engine.Tensor) ([][]engine.Tensor, error) {
	numbered := make([]map[int]engine.Tensor, len(inputs)) // by input, then by group
	var shared []engine.Tensor
	most, longest := 0, 0
	for _, a := range arrays {
		group, of := 0, -1
		if !slices.ContainsFunc(inputs, func(in engine.TensorInfo) bool { return in.Name == a.Name }) {
			of = slices.IndexFunc(inputs, func(in engine.TensorInfo) (is bool) { group, is = groupOf(in, a.Name); return is })
		}
		if of < 0 {
			shared = append(shared, a)
			continue
		}
		if numbered[of] == nil {
			numbered[of] = map[int]engine.Tensor{}
		}
		a.Name = inputs[of].Name
		if numbered[of][group] = a; group > most {
			most, longest = group, of
		}
	}
	groups := make([][]engine.Tensor, most+1)
	for g := range groups {
		groups[g] = slices.Clone(shared)
		for i, in := range inputs {
			a, ok := numbered[i][g]
			switch {
			case ok:
				groups[g] = append(slices.DeleteFunc(groups[g], func(t engine.Tensor) bool { return t.Name == in.Name }), a)
			case g > 0 && len(numbered[i]) > 0:
				e := engine.Errorf(engine.KindInvalidInput, "read "+file+" for input", in.String(), "%s, which has an array %q and none named %q", file,
					numberedName(inputs[longest], most), numberedName(in, g))
				e.Hint = "give every input that has numbered arrays one for each shape, counted from 0"
				return nil, e
			}
		}
	}
	return groups, nil
}

// groupOf is the number of an array that holds samples of a further shape of an input.
func groupOf(in engine.TensorInfo, array string) (group int, ok bool) {
	rest, ok := strings.CutPrefix(array, in.Name+"/")
	if !ok || len(in.In) > 0 {
		return 0, false
	}
	group, err := strconv.Atoi(rest)
	return group, err == nil && group >= 0 && group < maxArrays && strconv.Itoa(group) == rest
}

func numberedName(in engine.TensorInfo, group int) string {
	return in.Name + "/" + strconv.Itoa(group)
}
