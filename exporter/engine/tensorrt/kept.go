package tensorrt

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"github.com/plancast/plancast/exporter/engine"
)

// metadata lies beside a plan, as <plan>.json: what it was built from, and what
// a loaded plan no longer shows.
type metadata struct {
	Key    string              `json:"key"`    // of everything that the plan depends on
	SHA256 string              `json:"sha256"` // of the plan
	Plan   engine.Plan         `json:"plan"`   // as Build returned it
	Inputs []engine.TensorInfo `json:"inputs"` // with the model's names for open dimensions, in its order

	Outputs     []engine.TensorInfo `json:"outputs"`
	Environment engine.Environment  `json:"environment"`
	Built       time.Time           `json:"built"` // UTC
}

func metadataPath(plan string) string { return plan + ".json" }

// planName is <digest>-<precision>-<key>: the key is a digest of everything else
// that decides what is built.
func planName(req engine.BuildRequest, env engine.Environment) (string, error) {
	s := req.Settings
	s.CUDAGraph, s.SpinWait, s.Transfers, s.Threads, s.GraphOptimization = false, false, false, 0, "" // of the run, not of the build
	key, err := engine.Fingerprint(env, s, struct {
		Precision    engine.Precision            `json:"precision"`
		Profiles     map[string]engine.Profile   `json:"profiles"`
		MoreProfiles []map[string]engine.Profile `json:"more_profiles,omitempty"`
	}{req.Precision, req.Profiles, req.MoreProfiles})
	digest := "model"
	if len(req.Digest) >= 12 {
		digest = req.Digest[:12]
	}
	return fmt.Sprintf("%s-%s-%s", digest, req.Precision, key), err
}

// keptPlan is where the plan of that name belongs, and the plan where an earlier job left
// it there.
func keptPlan(req engine.BuildRequest, name string) (path string, plan engine.Plan, kept bool, err error) {
	if req.Kept.Plans == "" || req.Digest == "" {
		return filepath.Join(req.WorkDir, name+".plan"), plan, false, nil
	}
	if err := os.MkdirAll(req.Kept.Plans, 0o755); err != nil {
		return "", plan, false, fmt.Errorf("create folder for plans: %w", err)
	}
	path = filepath.Join(req.Kept.Plans, name+".plan")
	plan, kept = reuse(path, name)
	return path, plan, kept, nil
}

// reuse finds a plan that is whole.
func reuse(path, name string) (engine.Plan, bool) {
	text, err := os.ReadFile(metadataPath(path))
	if err != nil {
		return engine.Plan{}, false
	}
	var m metadata
	if json.Unmarshal(text, &m) != nil || m.Key != name {
		return engine.Plan{}, false
	}
	sum, err := hashFile(path)
	if err != nil || sum != m.SHA256 {
		return engine.Plan{}, false
	}
	p := m.Plan
	p.Path, p.Reused, p.Duration, p.TimingCacheHit = path, true, 0, nil
	now := time.Now()
	_ = os.Chtimes(path, now, now) // the newest are kept
	return p, true
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// write puts the plan down, and then its metadata: a plan without is not used.
func write(path string, plan []byte, m metadata) error {
	sum := sha256.Sum256(plan)
	m.SHA256 = hex.EncodeToString(sum[:])
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(path, plan, 0o644); err != nil {
		return err
	}
	return renameio.WriteFile(metadataPath(path), append(text, '\n'), 0o644)
}

// kept is a file that later builds can use; with no folder it is nowhere.
type kept struct{ path string }

func newKept(dir, name string) kept {
	if dir == "" {
		return kept{}
	}
	return kept{filepath.Join(dir, name)}
}

func (k kept) read() []byte {
	if k.path == "" {
		return nil
	}
	b, err := os.ReadFile(k.path)
	if err != nil {
		return nil // the first build, or one that is done in full
	}
	return b
}

func (k kept) write(b []byte) error {
	if k.path == "" || len(b) == 0 {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(k.path), 0o755); err != nil {
		return err
	}
	return renameio.WriteFile(k.path, b, 0o644)
}

// timingsName names the timing cache of an environment: TensorRT refuses those
// of others.
func timingsName(env engine.Environment) string {
	clean := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' {
			return r
		}
		return '-'
	}, env.Device+"-"+env.BackendVersion+"-"+env.CUDA)
	return clean + ".timing"
}
