// Package candidate finds the models to measure. A model repository has
// Triton's layout, <model>/<version>/model.onnx or model.plan, in a folder, in any
// bucket that gocloud.dev/blob opens, in a registry of OCI artifacts, or in one of
// MLflow's. A candidate is one version's content: its
// identity is a SHA-256, never a path or a time.
//
// Scan says what is there and reads no file that it knows already; Stage
// copies one candidate to local disk and proves that it is still the one that
// was scanned. A Repository may be used by one goroutine at a time.
package candidate

import (
	"context"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/change"
)

// ModelFile is the name of a version's model. PlanFile is a TensorRT plan that a team
// built itself; where a version has both, the model counts.
const (
	ModelFile = "model.onnx"
	PlanFile  = "model.plan"
)

// The files beside a model that say how to measure it. Each may lie in the
// version's folder or, for all versions, in the model's.
const (
	InputsFile      = "inputs.npz"      // evaluation inputs
	LabelsFile      = "labels.npy"      // their classes
	ReferenceFile   = "reference.npz"   // outputs to compare with
	CalibrationFile = "calibration.npz" // for INT8; part of the candidate's identity
	ConfigFile      = "config.pbtxt"    // shapes
)

// ChangeFile lies in a version's folder and says what the change was that led to
// it. It is no part of the candidate.
const ChangeFile = "change.yml"

var (
	evaluationFiles = []string{InputsFile, LabelsFile, ReferenceFile}
	// besideFiles are all files that count besides the model and its weights.
	besideFiles = append([]string{CalibrationFile, ConfigFile}, evaluationFiles...)
)

// Candidate is one version of a model.
type Candidate struct {
	Model   string
	Version string
	// Digest identifies the content: the SHA-256 of model.onnx or model.plan when
	// that is all there is, else of a list, as sha256sum prints it, of every file
	// that a build reads. Empty when the version is older than the backlog.
	Digest   string
	Modified time.Time // when it was made: as its change says, else of the newest of its files

	// DataDigest identifies the evaluation data (inputs, labels, reference),
	// "" when there is none.
	DataDigest string

	// Shapes is what the model's config.pbtxt says; zero without one.
	Shapes Shapes

	// Change is what the version's change.yml says; nil without a usable one.
	// Versions older than the backlog have it as well.
	Change *change.Change

	// Inputs are the dimensions of the model's inputs by name, as its file
	// declares them; nil when the file could not be read as a model.
	Inputs map[string][]string

	// Files are the keys in the repository of all that belongs to the
	// candidate, by the name it has in the version's folder.
	Files map[string]string
}

// File is the name of an identified candidate's model: ModelFile or PlanFile.
func (c Candidate) File() string {
	if _, plan := c.Files[PlanFile]; plan {
		return PlanFile
	}
	return ModelFile
}

// Number is the version as Triton orders it.
func (c Candidate) Number() int64 { return number(c.Version) }

// Refusal is something in the repository that looks like a candidate and
// cannot be one: waiting alone will not change it.
type Refusal struct {
	Path    string
	Model   string // "" when the model's name is what is refused
	Version string // the version's folder; "" when there is none
	Reason  string // what is wrong and what would be right
}

// Pending is a candidate that is left alone for now.
type Pending struct {
	Model   string
	Version string
	Reason  string
	Until   time.Time // when it is worth another scan
}

// Note is a file that nothing reads and that probably should be read.
type Note struct {
	Path string
	Text string // what is read instead
}

// Scan is the state of the repository at one time.
type Scan struct {
	// Models has every model with at least one version, by name; the versions
	// ascend by number. Only the wanted ones (see Repository.Scan) have digests.
	Models map[string][]Candidate
	// Earlier are older versions that Scan was asked for by name; those that are
	// gone or cannot be identified are left out.
	Earlier  []Candidate
	Refused  []Refusal
	Pending  []Pending
	Notes    []Note
	Surplus  []string // models beyond the limit, by name
	Unread   []error  // of models that could not be listed: what was known of them stays
	Versions int      // listed in all
	Read     int      // files that had to be read for their digest
}

// Find returns an identified version of a model, among the wanted ones or the
// earlier ones.
func (s Scan) Find(model, version string) (Candidate, bool) {
	for _, list := range [][]Candidate{s.Models[model], s.Earlier} {
		for _, c := range list {
			if c.Model == model && c.Version == version && c.Digest != "" {
				return c, true
			}
		}
	}
	return Candidate{}, false
}

// Bare is the candidate without its evaluation data: what a build reads.
func (c Candidate) Bare() Candidate {
	files := maps.Clone(c.Files)
	for _, name := range evaluationFiles {
		delete(files, name)
	}
	c.Files, c.DataDigest = files, ""
	return c
}

// Holds reports whether the repository has anything under the model's name,
// usable or not.
func (s Scan) Holds(model string) bool {
	_, surplus := slices.BinarySearch(s.Surplus, model)
	return surplus || len(s.Models[model]) > 0 ||
		slices.ContainsFunc(s.Pending, func(p Pending) bool { return p.Model == model }) ||
		slices.ContainsFunc(s.Refused, func(r Refusal) bool { return r.Model == model || r.Path == model })
}

// Memory keeps what was read of files that have not changed since: a text for
// each path. A *history.Store is one.
type Memory interface {
	Files(ctx context.Context) (map[string]string, error)
	Remember(ctx context.Context, facts map[string]string, gone []string) error
}

// Contents is what a repository has to know of a model file.
type Contents struct {
	// External names the files, relative to the model's folder, that hold
	// weights.
	External []string `json:"external,omitempty"`
	// Inputs are the dimensions of each input: numbers, or symbols; "" is a
	// dimension that varies and has no name.
	Inputs map[string][]string `json:"inputs,omitempty"`
}

// Options configure a Repository.
type Options struct {
	URL    string        // a folder's path, or a bucket's URL
	Quiet  time.Duration // how long a file must not have changed; 0 takes every file as it is
	Memory Memory
	Now    func() time.Time // nil is time.Now
	// Inspect reads an ONNX file of that size. An error says why the file is no
	// complete model: in a folder, a reason to wait while the file is new.
	Inspect func(r io.ReaderAt, size int64) (Contents, error)
	// ParseChange reads a change.yml; name stands for it in errors. Without it
	// such files are not read.
	ParseChange func(name string, text []byte) (change.Change, error)
	// MaxSize is how many bytes the files of a candidate may have together;
	// 0 is no limit.
	MaxSize int64
	// MaxModels is how many models are looked at; 0 is all.
	MaxModels int
	// Patience is how long one answer of a bucket may take; 0 is a minute.
	Patience time.Duration
	// Waiting is called with what the repository waits for when an answer of a
	// bucket is slow, and with "" when it came. It may be nil.
	Waiting func(what string)
}

// defaultPatience is longer than any healthy bucket needs for one page of a
// listing, or for the next bytes of an object.
const defaultPatience = time.Minute

// Repository is an open model repository.
type Repository struct {
	opts   Options
	source source
	// settles reports whether files appear piece by piece, as in a folder.
	settles bool
	first   map[string]sighting // files whose time lies in the future
	facts   map[string]fact     // nil until read from Memory
	listed  map[string]*listing // of the last scan, by model, where one may fail alone; else nil
	emptied time.Time           // since when there has been nothing where there were models
}

type sighting struct {
	stamp stamp
	at    time.Time
}

// Open opens the repository. The error names it and says what to do.
func Open(ctx context.Context, opts Options) (*Repository, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Patience == 0 {
		opts.Patience = defaultPatience
	}
	if opts.Waiting == nil {
		opts.Waiting = func(string) {}
	}
	if opts.Inspect == nil {
		opts.Inspect = func(io.ReaderAt, int64) (Contents, error) { return Contents{}, nil }
	}
	r := &Repository{opts: opts, first: map[string]sighting{}}
	var err error
	switch dir, ok := folderPath(opts.URL); {
	case ok:
		r.settles = true
		r.source, err = openFolder(dir)
	case strings.HasPrefix(opts.URL, "oci://"):
		r.listed = map[string]*listing{}
		r.source, err = openArtifacts(opts)
	case strings.HasPrefix(opts.URL, "mlflow://"):
		r.listed = map[string]*listing{}
		r.source, err = openRegistered(opts)
	default:
		r.source, err = openBucket(ctx, opts)
	}
	if err != nil {
		return nil, fmt.Errorf("open model repository %s: %w", opts.URL, err)
	}
	return r, nil
}

// tagger is a source that keeps tags of versions.
type tagger interface {
	tag(ctx context.Context, model, version string, tags map[string]string) error
}

// Tag gives a version of the last scan tags, named without "plancast.", as far as it
// does not have them. Of the sources only MLflow keeps any; for others it does nothing.
func (r *Repository) Tag(ctx context.Context, model, version string, tags map[string]string) error {
	t, ok := r.source.(tagger)
	if !ok {
		return nil
	}
	if err := t.tag(ctx, model, version, tags); err != nil {
		return fmt.Errorf("write the results of %s version %s to %s: %w", model, version, r.opts.URL, err)
	}
	return nil
}

// Close closes the bucket.
func (r *Repository) Close() error { return r.source.close() }

// Names become label values, file names and words in sentences.
var modelName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$`)

// ValidModel reports whether a model may have that name.
func ValidModel(name string) bool { return modelName.MatchString(name) }

// number is the version as a number, 0 when it is none in Triton's sense.
func number(version string) int64 {
	n, err := strconv.ParseInt(version, 10, 64)
	if err != nil || n < 1 || strconv.FormatInt(n, 10) != version {
		return 0
	}
	return n
}
