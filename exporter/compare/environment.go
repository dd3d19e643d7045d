package compare

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/outside"
)

// String reads "backend version 1.31.0 and 1.32.0".
func (d Difference) String() string { return fmt.Sprintf("%s %s and %s", d.Name, d.A, d.B) }

// differences are the conditions of environment and settings that differ, by name.
func differences(a, b history.Record) (out []Difference) {
	first, second := conditions(a), conditions(b)
	names := map[string]bool{}
	for name := range first {
		names[name] = true
	}
	for name := range second {
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if x, y := written(first, name), written(second, name); x != y {
			out = append(out, Difference{strings.ReplaceAll(name, "_", " "), x, y})
		}
	}
	return out
}

// conditions are the fields of a record's environment and settings.
func conditions(r history.Record) map[string]json.RawMessage {
	out := map[string]json.RawMessage{}
	for _, part := range []any{r.Environment, r.Settings} {
		text, err := json.Marshal(part)
		if err == nil {
			err = json.Unmarshal(text, &out)
		}
		if err != nil {
			panic(err) // plain structures encode and decode
		}
	}
	return out
}

// written is the value of a field as people read it.
func written(fields map[string]json.RawMessage, name string) string {
	raw, ok := fields[name]
	if !ok {
		return "unset"
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		if text == "" {
			return "unknown"
		}
		return outside.Line(text, 100)
	}
	return string(raw)
}
