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

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/candidate"
	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/engine"
)

// reference is what the outputs of a candidate are compared with.
type reference struct {
	path string // of its outputs; "" when nobody has made them yet
	name string // whose they are; "" when the candidate's own become the reference
	kept string // where outputs that are still to be made are kept; "" is nowhere
	// model is the version that makes them, where the configuration declares one and
	// the repository holds it.
	model *candidate.Candidate
}

// referenceFor is what the outputs of c, staged in a folder, are compared with: those
// of the version that the configuration declares, or what c brings along, or the kept
// outputs of the model's first FP32 candidate.
func (r *Runner) referenceFor(ctx context.Context, scan candidate.Scan, c candidate.Candidate, staged string) (reference, error) {
	if r.Config.BenchmarkFor(c.Model).Reference == bench.ReferenceLabels {
		return reference{name: bench.ReferenceLabels}, nil
	}
	declared, err := r.declaredReference(ctx, scan, c)
	if err != nil {
		return reference{}, err
	}
	if _, ok := c.Files[candidate.ReferenceFile]; ok && declared == "" {
		return reference{path: filepath.Join(staged, candidate.ReferenceFile), name: candidate.ReferenceFile}, nil
	}
	stem, err := r.referenceStem(scan, c, declared)
	if err != nil {
		return reference{}, err
	}
	dir := filepath.Join(r.Config.State, referencesDir, c.Model)
	found, err := keptOutputs(dir, stem)
	if err != nil {
		return reference{}, err
	}
	if found != "" {
		_, whose, _ := strings.Cut(strings.TrimSuffix(filepath.Base(found), ".npz"), "@")
		version, precision, _ := strings.Cut(whose, "-")
		return reference{path: found, name: referenceName(version, engine.Precision(precision))}, nil
	}
	out := reference{kept: filepath.Join(dir, fmt.Sprintf("%s@%s-%s.npz", stem, cmp.Or(declared, c.Version), engine.FP32))}
	if declared != "" {
		out.name = referenceName(declared, engine.FP32)
	}
	if held, ok := scan.Find(c.Model, declared); ok {
		out.model = &held
	}
	return out, nil
}

// keptOutputs is the newest file of outputs in dir that a stem names; "" when there is none.
func keptOutputs(dir, stem string) (string, error) {
	files, err := newestFirst(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	for _, f := range files {
		if names(stem, f.Name()) {
			return filepath.Join(dir, f.Name()), nil
		}
	}
	return "", err
}

func referenceName(version string, p engine.Precision) string {
	return fmt.Sprintf("version %s %s", version, p)
}

// referenceStem begins the names of kept references, <stem>@<version>-<precision>.npz:
// it says what inputs they are of, and whether they were declared. That of a declared
// version ends in its digest, since a version may be replaced in place.
func (r *Runner) referenceStem(scan candidate.Scan, c candidate.Candidate, declared string) (string, error) {
	if declared == "" {
		return engine.Fingerprint(engine.Environment{}, engine.Settings{}, r.inputs(c))
	}
	stem, err := engine.Fingerprint(engine.Environment{}, engine.Settings{}, struct {
		Inputs  inputs
		Version string
	}{r.inputs(c), declared})
	if held, ok := scan.Find(c.Model, declared); ok {
		stem += "-" + held.Digest
	}
	return stem, err
}

// names reports whether a file is of the outputs that a stem names. Outputs outlive the
// version that made them: the stem of one that is gone has no digest, and names them all.
func names(stem, file string) bool {
	of, _, _ := strings.Cut(file, "@")
	return of == stem || strings.HasPrefix(of, stem+"-")
}

// declaredReference is the version that the configuration declares as c's reference:
// the one that it names, or the newest that was trained and is no newer than c. It is
// "" where there is none.
func (r *Runner) declaredReference(ctx context.Context, scan candidate.Scan, c candidate.Candidate) (string, error) {
	o := r.Config.BenchmarkFor(c.Model)
	if version, ok := o.ReferenceVersion(); ok {
		return version, nil
	}
	if o.Reference != bench.ReferenceTrained {
		return "", nil
	}
	trained, err := r.trained(ctx, scan.Models[c.Model], c.Model)
	if err != nil {
		return "", err
	}
	var newest candidate.Candidate
	for version := range trained {
		x := candidate.Candidate{Version: version}
		if n := x.Number(); n <= c.Number() && n > newest.Number() {
			newest = x
		}
	}
	return newest.Version, nil
}

// trained are those of a model's versions whose change, by the repository or by the
// history, was a training; one that was deleted since is among them.
func (r *Runner) trained(ctx context.Context, versions []candidate.Candidate, model string) (map[string]bool, error) {
	out := map[string]bool{}
	note := func(version string, c change.Change) {
		if slices.Contains(c.Kinds, change.Training) {
			out[version] = true
		}
	}
	for _, c := range versions {
		if c.Change != nil {
			note(c.Version, *c.Change)
		}
	}
	if r.Store == nil {
		return out, nil
	}
	for t, err := range r.Store.Changes(ctx, model) {
		if err != nil {
			return nil, err
		}
		note(t.Version, t.Change)
	}
	return out, nil
}

// declare notes in a plan what the outputs of c are compared with, where that is
// declared.
func (r *Runner) declare(ctx context.Context, p *Plan, c candidate.Candidate) error {
	if r.Config.BenchmarkFor(c.Model).Reference == bench.ReferenceLabels {
		p.References[c.Model] = bench.ReferenceLabels
		return nil
	}
	declared, err := r.declaredReference(ctx, p.Scan, c)
	if declared != "" {
		p.References[c.Model] = referenceName(declared, engine.FP32)
	}
	return err
}

// referencesToRead are the declared references of identified candidates that the scan
// has not identified: only their digest says whether the kept outputs are still theirs.
func (r *Runner) referencesToRead(ctx context.Context, scan candidate.Scan) ([]candidate.Version, error) {
	var out []candidate.Version
	for name, versions := range scan.Models {
		for _, c := range slices.Concat(versions, scan.Earlier) {
			if c.Model != name || c.Digest == "" {
				continue
			}
			declared, err := r.declaredReference(ctx, scan, c)
			if err != nil {
				return nil, err
			}
			v := candidate.Version{Model: name, Version: declared}
			held := slices.ContainsFunc(versions, func(x candidate.Candidate) bool { return x.Version == declared })
			if _, identified := scan.Find(name, declared); held && !identified && !slices.Contains(out, v) {
				out = append(out, v)
			}
		}
	}
	return out, nil
}

// refer says to a job what its outputs are compared with, and copies the model that
// has to make the reference's to a folder of dir. The job's own outputs, or those of
// that model, go where the result says, which is "" when none are to be kept.
func (r *Runner) refer(ctx context.Context, c candidate.Candidate, job *bench.Job, ref reference, dir string) (made string) {
	own := ref.model != nil && ref.model.Digest == c.Digest && job.Precision == engine.FP32
	switch {
	case ref.path != "" || ref.kept == "":
		job.ReferencePath, job.ReferenceName = ref.path, ref.name
	case own, ref.name == "" && job.Precision == engine.FP32:
		job.OutputsPath = filepath.Join(dir, "outputs.npz")
		return job.OutputsPath
	case ref.name != "":
		job.ReferenceName = ref.name
		model, err := r.stageReference(ctx, ref.model, filepath.Join(dir, "reference"))
		if err != nil {
			r.Log.Warn("Cannot copy the reference; accuracy is not measured", "model", c.Model, "version", c.Version, "reference", ref.name, "err", err)
		}
		if model != nil {
			job.ReferenceModel, job.ReferencePath = model, filepath.Join(dir, "reference.npz")
			return job.ReferencePath
		}
	}
	return ""
}

// stageReference copies a reference's model; nil when there is none.
func (r *Runner) stageReference(ctx context.Context, c *candidate.Candidate, dir string) (*bench.ReferenceModel, error) {
	if c == nil {
		return nil, nil
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	if err := r.Repository.Stage(ctx, c.Bare(), dir); err != nil {
		return nil, err
	}
	return &bench.ReferenceModel{ModelPath: filepath.Join(dir, candidate.ModelFile), Digest: c.Digest}, nil
}

// keepReference keeps outputs that a job made. It may have made none: where the
// reference could not be run, a warning of the measurement says why.
func keepReference(outputs, kept string) error {
	if _, err := os.Stat(outputs); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	err := os.MkdirAll(filepath.Dir(kept), 0o755)
	if err == nil {
		err = os.Rename(outputs, kept)
	}
	if err != nil {
		return fmt.Errorf("keep reference outputs %s: %w", kept, err)
	}
	return nil
}

// keptReferences bounds the references of a model that no current input asks
// for: going back to earlier inputs finds them again.
const keptReferences = 5

// pruneReferences removes all references but those that the candidates are
// compared with now and the newest of the others.
func (r *Runner) pruneReferences(ctx context.Context, dir string, scan candidate.Scan, model string) error {
	var current []string // stems
	for _, c := range scan.Models[model] {
		if c.Digest == "" {
			continue
		}
		declared, err := r.declaredReference(ctx, scan, c)
		if err != nil {
			return err
		}
		stem, err := r.referenceStem(scan, c, declared)
		if err != nil {
			return err
		}
		current = append(current, stem)
	}
	files, err := newestFirst(dir)
	errs := []error{err}
	others := 0
	for _, f := range files {
		if slices.ContainsFunc(current, func(stem string) bool { return names(stem, f.Name()) }) {
			continue
		}
		if others++; others > keptReferences {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, f.Name())))
		}
	}
	return errors.Join(errs...)
}
