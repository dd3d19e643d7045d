package pass

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/plancast/plancast/exporter/candidate"
)

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

// prune removes what is kept of models that the repository no longer holds, the
// plans and calibration ranges of candidates that it no longer holds, all but
// the newest plans of each precision, and all but the newest references.
func (r *Runner) prune(ctx context.Context, scan candidate.Scan) error {
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
				errs = append(errs, r.pruneReferences(ctx, dir, scan, e.Name()))
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
