package onnx

import (
	"path/filepath"
	"strings"

	"github.com/plancast/plancast/exporter/engine"
)

// CheckExternal refuses a model at modelPath whose weights in other files are not
// there, or lead out of its folder: a runtime would read whatever they name.
func (m *Model) CheckExternal(modelPath string) error {
	const op = "find the weights of"
	dir := filepath.Dir(modelPath)
	for _, name := range m.ExternalData {
		real, err := filepath.EvalSymlinks(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil {
			return engine.Errorf(engine.KindInvalidModel, op, modelPath, "its weights in %q cannot be read: %v", name, err)
		}
		home, err := filepath.EvalSymlinks(dir)
		if err != nil || !strings.HasPrefix(real, home+string(filepath.Separator)) {
			return engine.Errorf(engine.KindInvalidModel, op, modelPath, "its weights in %q lie outside of the model's folder", name)
		}
	}
	return nil
}
