package report

import (
	"encoding/json"
	"io"
)

// JSON writes the view in its documented form, indented, with a final newline.
func JSON(w io.Writer, v View) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
