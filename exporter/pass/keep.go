package pass

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/engine"
)

// referenceFile is a kept reference: the outputs of the first FP32 candidate.
type referenceFile struct{ path, name string }

// References are kept as <model>/<which inputs>@<version>-<precision>.npz: the
// file's name says whose outputs it holds.
func (r *Runner) referenceDir(c candidate.Candidate) (dir, stem string, err error) {
	stem, err = engine.Fingerprint(engine.Environment{}, engine.Settings{}, r.inputs(c))
	return filepath.Join(r.Config.State, referencesDir, c.Model), stem, err
}

// referenceFor is what the outputs of c, staged in a folder, are compared with:
// what it brings along, or what was kept. Its path is "" when there is neither.
func (r *Runner) referenceFor(c candidate.Candidate, staged string) (referenceFile, error) {
	if _, ok := c.Files[candidate.ReferenceFile]; ok {
		return referenceFile{filepath.Join(staged, candidate.ReferenceFile), candidate.ReferenceFile}, nil
	}
	return r.reference(c)
}

func (r *Runner) reference(c candidate.Candidate) (referenceFile, error) {
	dir, stem, err := r.referenceDir(c)
	if err != nil {
		return referenceFile{}, err
	}
	found, err := filepath.Glob(filepath.Join(globEscape(dir), stem+"@*.npz"))
	if err != nil || len(found) == 0 {
		return referenceFile{}, err
	}
	slices.SortFunc(found, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	_, whose, _ := strings.Cut(strings.TrimSuffix(filepath.Base(found[0]), ".npz"), "@")
	version, precision, _ := strings.Cut(whose, "-")
	return referenceFile{path: found[0], name: "version " + version + " " + precision}, nil
}

func globEscape(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}

func (r *Runner) keepReference(c candidate.Candidate, p engine.Precision, outputs string) error {
	dir, stem, err := r.referenceDir(c)
	if err == nil {
		err = os.MkdirAll(dir, 0o755)
	}
	if err == nil {
		err = os.Rename(outputs, filepath.Join(dir, fmt.Sprintf("%s@%s-%s.npz", stem, c.Version, p)))
	}
	if err != nil {
		return fmt.Errorf("keep the outputs of %s version %s as reference: %w", c.Model, c.Version, err)
	}
	return nil
}

// What is kept of models, in folders of the state, each but the last with a folder
// for each model.
const (
	plansDir        = "plans"
	calibrationsDir = "calibrations"
	referencesDir   = "references"
	samplesDir      = "samples"
	timingsDir      = "timings" // of all models

	planSuffix        = ".plan"
	calibrationSuffix = ".calibration"
)

// keptReferences bounds the references of a model that no current input asks
// for: going back to earlier inputs finds them again.
const keptReferences = 5

// prune removes what is kept of models that the repository no longer holds, the
// plans and calibration ranges of candidates that it no longer holds, all but
// the newest plans of each precision, and all but the newest references.
func (r *Runner) prune(scan candidate.Scan) error {
	var errs []error
	for _, kind := range []string{plansDir, calibrationsDir, referencesDir, samplesDir} {
		entries, err := os.ReadDir(filepath.Join(r.Config.State, kind))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		for _, e := range entries {
			dir := filepath.Join(r.Config.State, kind, e.Name())
			switch {
			case !scan.Holds(e.Name()):
				errs = append(errs, os.RemoveAll(dir))
			case kind == samplesDir: // pruned as they come
			case kind == referencesDir:
				errs = append(errs, r.pruneReferences(dir, scan.Models[e.Name()]))
			case kind == plansDir:
				errs = append(errs, r.prunePlans(dir, planSuffix, digests(scan, e.Name())))
			default:
				errs = append(errs, r.prunePlans(dir, calibrationSuffix, digests(scan, e.Name())))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove old plans, calibrations and references: %w", err)
	}
	return nil
}

// digests are the beginnings of the digests of a model's candidates; nil when
// not all are known, so that none can be said to be gone.
func digests(scan candidate.Scan, model string) map[string]bool {
	known := map[string]bool{}
	for _, c := range scan.Models[model] {
		if c.Digest == "" {
			return nil // older than the backlog
		}
		known[c.Digest[:min(len(c.Digest), digestPrefix)]] = true
	}
	// A version that waits or is refused may be one that was measured.
	if slices.ContainsFunc(scan.Pending, func(p candidate.Pending) bool { return p.Model == model }) ||
		slices.ContainsFunc(scan.Refused, func(x candidate.Refusal) bool { return x.Model == model }) {
		return nil
	}
	return known
}

// digestPrefix is how much of a candidate's digest begins the names of what
// backends keep.
const digestPrefix = 12

// prunePlans removes from a model's folder of plans or calibration ranges what
// belongs to candidates that are gone, and the oldest of what is left of each
// precision. held is as of digests.
func (r *Runner) prunePlans(dir, suffix string, held map[string]bool) error {
	files, err := newestFirst(dir)
	errs := []error{err}
	kept := map[string]int{} // by precision; ranges have none
	for _, f := range files {
		name := f.Name()
		if !strings.HasSuffix(name, suffix) {
			continue // a plan's metadata goes with the plan
		}
		digest, rest, _ := strings.Cut(name, "-")
		precision, _, _ := strings.Cut(rest, "-")
		if suffix == calibrationSuffix {
			precision = ""
		}
		if held == nil || held[digest] {
			if kept[precision]++; kept[precision] <= r.Config.TensorRT.KeepPlans {
				continue
			}
		}
		errs = append(errs, os.Remove(filepath.Join(dir, name)), os.RemoveAll(filepath.Join(dir, name+".json")))
	}
	return errors.Join(errs...)
}

// pruneReferences removes all references but those that the candidates are
// compared with now and the newest of the others.
func (r *Runner) pruneReferences(dir string, candidates []candidate.Candidate) error {
	current := map[string]bool{}
	for _, c := range candidates {
		if c.Digest == "" {
			continue
		}
		_, stem, err := r.referenceDir(c)
		if err != nil {
			return err
		}
		current[stem] = true
	}
	files, err := newestFirst(dir)
	errs := []error{err}
	others := 0
	for _, f := range files {
		if stem, _, _ := strings.Cut(f.Name(), "@"); current[stem] {
			continue
		}
		if others++; others > keptReferences {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, f.Name())))
		}
	}
	return errors.Join(errs...)
}

// newestFirst lists a folder's files by time.
func newestFirst(dir string) ([]os.FileInfo, error) {
	entries, err := os.ReadDir(dir)
	var files []os.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			files = append(files, info)
		}
	}
	slices.SortFunc(files, func(a, b os.FileInfo) int {
		return cmp.Or(b.ModTime().Compare(a.ModTime()), cmp.Compare(a.Name(), b.Name()))
	})
	return files, err
}
