package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Environment is what a result depends on besides the candidate: two results
// are compared only when their environments and settings are the same.
type Environment struct {
	Backend        string `json:"backend"`         // "onnxruntime", "tensorrt"
	BackendVersion string `json:"backend_version"` // "1.32.0", "10.6.0"
	Device         string `json:"device"`          // "NVIDIA L4", or the CPU's model name
	Cores          int    `json:"cores,omitempty"` // CPU cores usable by the worker
	Governor       string `json:"governor,omitempty"`
	Driver         string `json:"driver,omitempty"`
	CUDA           string `json:"cuda,omitempty"`
	Platform       string `json:"platform"` // GOOS/GOARCH
	// Timing names how the backend times a query, since a change of it that moved
	// results: "native loop", "native loop, alone". "" is the way before.
	Timing string `json:"timing,omitempty"`
}

// Fingerprint identifies everything that must be equal for results to be
// comparable: the environment, the settings and, through conditions, whatever
// else the caller measured under (batch, windows, the digest of the inputs).
// It is the first 12 hex digits of a SHA-256 over their canonical JSON. The
// precision is not part of it: a milestone may ask for the best of several.
func Fingerprint(env Environment, settings Settings, conditions any) (string, error) {
	b, err := json.Marshal(struct {
		Environment Environment `json:"environment"`
		Settings    Settings    `json:"settings"`
		Conditions  any         `json:"conditions"`
	}{env, settings, conditions})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:6]), nil
}
