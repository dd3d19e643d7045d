// Package candidate finds the models to measure. A model repository has
// Triton's layout, <model>/<version>/model.onnx, in a folder or in any bucket
// that gocloud.dev/blob opens. A candidate is one version's content: its
// identity is a SHA-256, never a path or a time.
//
// Scan says what is there and reads no file that it knows already; Stage
// copies one candidate to local disk and proves that it is still the one that
// was scanned. A Repository may be used by one goroutine at a time.
package candidate

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gocloud.dev/blob"
	_ "gocloud.dev/blob/azureblob" // azblob://
	"gocloud.dev/blob/fileblob"
	_ "gocloud.dev/blob/gcsblob" // gs://
	_ "gocloud.dev/blob/memblob" // mem://
	_ "gocloud.dev/blob/s3blob"  // s3://
	"gocloud.dev/gcerrors"

	"github.com/plancast/plancast/exporter/history"
)

// ModelFile is the name of a version's model.
const ModelFile = "model.onnx"

// The files beside a model that say how to measure it. Each may lie in the
// version's folder or, for all versions, in the model's.
const (
	InputsFile      = "inputs.npz"      // evaluation inputs
	LabelsFile      = "labels.npy"      // their classes
	ReferenceFile   = "reference.npz"   // outputs to compare with
	CalibrationFile = "calibration.npz" // for INT8; part of the candidate's identity
	ConfigFile      = "config.pbtxt"    // shapes
)

var evaluationFiles = []string{InputsFile, LabelsFile, ReferenceFile}

// Candidate is one version of a model.
type Candidate struct {
	Model   string
	Version string
	// Digest identifies the content: the SHA-256 of model.onnx when that is
	// all there is, else of a list, as sha256sum prints it, of every file that
	// a build reads. Empty when it was not asked for.
	Digest   string
	Modified time.Time // of the newest of its files

	// DataDigest identifies the evaluation data (inputs, labels, reference),
	// "" when there is none.
	DataDigest string

	// Shapes is what the model's config.pbtxt says; zero without one.
	Shapes Shapes

	// Files are the keys in the repository of all that belongs to the
	// candidate, by the name it has in the version's folder.
	Files map[string]string
}

// Number is the version as Triton orders it.
func (c Candidate) Number() int64 {
	n, _ := strconv.ParseInt(c.Version, 10, 64)
	return n
}

// Refusal is something in the repository that looks like a candidate and
// cannot be one.
type Refusal struct {
	Path   string
	Model  string // "" when the model's name is what is refused
	Reason string // what is wrong and what would be right
}

// Pending is a candidate that is left alone for now.
type Pending struct {
	Model   string
	Version string
	Reason  string
}

// Scan is the state of the repository at one time.
type Scan struct {
	// Models has every model with at least one version, by name; the versions
	// ascend by number. Only the wanted ones (see Repository.Scan) have digests.
	Models   map[string][]Candidate
	Refused  []Refusal
	Pending  []Pending
	Versions int // seen in all
	Read     int // files that had to be read for their digest
}

// Memory keeps what was read of files that have not changed since. A
// *history.Store is one.
type Memory interface {
	Files(ctx context.Context) (map[string]history.Remembered, error)
	Remember(ctx context.Context, facts []history.Remembered, gone []string) error
}

// Options configure a Repository.
type Options struct {
	URL    string        // a folder's path, or a bucket's URL
	Quiet  time.Duration // how long a file must not have changed
	Memory Memory
	Now    func() time.Time // nil is time.Now
	// Whole tells whether the ONNX file of that size is complete, and which
	// files it needs beside it; an error is the reason to wait. It is asked of
	// local files only: an object in a bucket appears at once.
	Whole func(r io.ReaderAt, size int64) (beside []string, err error)
}

// Repository is an open model repository.
type Repository struct {
	opts   Options
	bucket *blob.Bucket
	dir    string                        // the folder, when it is one
	seen   map[string]sighting           // files whose time lies in the future
	facts  map[string]history.Remembered // nil until read from Memory
}

type sighting struct {
	size     int64
	modified time.Time
	first    time.Time
}

// Open opens the repository. The error names it and says what to do.
func Open(ctx context.Context, opts Options) (*Repository, error) {
	r := &Repository{opts: opts, seen: map[string]sighting{}}
	if r.opts.Now == nil {
		r.opts.Now = time.Now
	}
	var err error
	if dir, ok := folder(opts.URL); ok {
		r.dir = dir
		// The walk below a folder does not begin at a link.
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			r.dir = real
		}
		if r.dir, err = filepath.Abs(r.dir); err != nil {
			return nil, fmt.Errorf("open model repository %s: %w", dir, err)
		}
		info, statErr := os.Stat(dir)
		switch {
		case errors.Is(statErr, os.ErrNotExist):
			return nil, fmt.Errorf("open model repository %s: there is no such folder: create it, or set repository.url", dir)
		case statErr != nil:
			return nil, fmt.Errorf("open model repository %s: %w", dir, statErr)
		case !info.IsDir():
			return nil, fmt.Errorf("open model repository %s: it is a file: repository.url must name the folder that holds <model>/<version>/model.onnx", dir)
		}
		r.bucket, err = fileblob.OpenBucket(r.dir, &fileblob.Options{Metadata: fileblob.MetadataDontWrite})
	} else {
		r.bucket, err = blob.OpenBucket(ctx, opts.URL)
	}
	if err != nil {
		return nil, fmt.Errorf("open model repository %s: %w", opts.URL, err)
	}
	return r, nil
}

// folder tells whether the URL is a local folder, and which.
func folder(raw string) (string, bool) {
	if !strings.Contains(raw, "://") {
		return raw, true
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "file" || u.RawQuery != "" {
		return "", false
	}
	return filepath.FromSlash(u.Path), true
}

// Close closes the bucket.
func (r *Repository) Close() error { return r.bucket.Close() }

// Names become label values, file names and words in sentences.
var modelName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$`)

// Files beside a model are staged under their own names.
var fileName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_. -]{0,199}$`)

// ValidModel tells whether a model may have that name.
func ValidModel(name string) bool { return modelName.MatchString(name) }

// Scan lists the repository and identifies, of each model, the newest version
// and backlog older ones. What it has identified before and finds unchanged is
// not read again.
func (r *Repository) Scan(ctx context.Context, backlog int) (Scan, error) {
	listed, refused, err := r.list(ctx)
	if err != nil {
		return Scan{}, err
	}
	if r.facts == nil {
		if r.facts, err = r.opts.Memory.Files(ctx); err != nil {
			return Scan{}, err
		}
	}
	s := Scan{Models: map[string][]Candidate{}, Refused: refused}
	var learnt []history.Remembered
	for _, name := range slices.Sorted(maps.Keys(listed)) {
		m := listed[name]
		versions := slices.SortedFunc(maps.Keys(m.versions), func(a, b string) int { return cmp.Compare(number(a), number(b)) })
		s.Versions += len(versions)
		wanted := 0 // whole candidates identified so far, newest first
		var found []Candidate
		for i := len(versions) - 1; i >= 0; i-- {
			files := m.effective(versions[i])
			c := Candidate{Model: name, Version: versions[i], Files: map[string]string{}}
			for name, o := range files {
				c.Files[name] = o.Key
				if o.ModTime.After(c.Modified) {
					c.Modified = o.ModTime.UTC()
				}
			}
			if wanted <= backlog {
				reason, facts, err := r.identify(ctx, &c, files)
				if err != nil {
					return Scan{}, err
				}
				learnt = append(learnt, facts...)
				s.Read += len(facts)
				if reason != "" {
					s.Pending = append(s.Pending, Pending{Model: name, Version: versions[i], Reason: reason})
					continue
				}
				wanted++
			}
			found = append(found, c)
		}
		if len(found) > 0 {
			slices.Reverse(found)
			s.Models[name] = found
		}
	}
	var gone []string
	keys := map[string]bool{}
	for _, m := range listed {
		m.keys(keys)
	}
	for key := range r.facts {
		if !keys[key] {
			gone = append(gone, key)
			delete(r.facts, key)
		}
	}
	for key := range r.seen {
		if !keys[key] {
			delete(r.seen, key)
		}
	}
	slices.Sort(gone)
	if err := r.opts.Memory.Remember(ctx, learnt, gone); err != nil {
		return Scan{}, err
	}
	return s, nil
}

// listing is what the repository holds of one model.
type listing struct {
	shared   map[string]blob.ListObject            // files of all versions, by name
	versions map[string]map[string]blob.ListObject // by version and name
}

// effective are the files that count for a version, by name: its own and, where
// it has none of that name, the shared ones.
func (l *listing) effective(version string) map[string]blob.ListObject {
	files := maps.Clone(l.shared)
	maps.Copy(files, l.versions[version])
	return files
}

func (l *listing) keys(into map[string]bool) {
	for _, o := range l.shared {
		into[o.Key] = true
	}
	for _, files := range l.versions {
		for _, o := range files {
			into[o.Key] = true
		}
	}
}

func (r *Repository) list(ctx context.Context) (map[string]*listing, []Refusal, error) {
	models := map[string]*listing{}
	refused := map[string]Refusal{}
	odd := map[string]bool{} // models and versions with a file that cannot be staged
	take := func(o *blob.ListObject) {
		parts := strings.Split(o.Key, "/")
		if slices.ContainsFunc(parts, func(p string) bool { return strings.HasPrefix(p, ".") && p != ".." && p != "." }) {
			return // hidden: temporary files of copying programs, .git
		}
		name := parts[0]
		isModel := parts[len(parts)-1] == ModelFile
		switch {
		case len(parts) == 1:
			return // a README beside the models
		case !modelName.MatchString(name):
			if isModel {
				refused[name] = Refusal{Path: name, Reason: fmt.Sprintf("%q cannot be a model's name: use up to 100 letters, digits, \"-\", \"_\" and \".\", beginning with a letter or digit", name)}
			}
			return
		case len(parts) == 2 && isModel:
			refused[o.Key] = Refusal{Path: o.Key, Model: name, Reason: "a model lies in a version's folder: move it to " + name + "/1/" + ModelFile}
			return
		case len(parts) > 3:
			if isModel {
				refused[o.Key] = Refusal{Path: o.Key, Model: name, Reason: "it lies too deep: a candidate is <model>/<version>/" + ModelFile}
			}
			return
		}
		m := models[name]
		if m == nil {
			m = &listing{shared: map[string]blob.ListObject{}, versions: map[string]map[string]blob.ListObject{}}
			models[name] = m
		}
		if len(parts) == 2 {
			if counts(parts) {
				m.shared[parts[1]] = *o
			}
			return
		}
		version := parts[1]
		if number(version) < 1 {
			if isModel {
				refused[path.Join(name, version)] = Refusal{Path: path.Join(name, version), Model: name,
					Reason: fmt.Sprintf("%q cannot be a version: use a whole number from 1, without leading zeros", version)}
			}
			return
		}
		if !fileName.MatchString(parts[2]) {
			odd[path.Join(name, version)] = true
			refused[path.Join(name, version)] = Refusal{Path: path.Join(name, version), Model: name,
				Reason: fmt.Sprintf("its file %q cannot be staged: use letters, digits, \"-\", \"_\" and \".\" in file names", parts[2])}
			return
		}
		if m.versions[version] == nil {
			m.versions[version] = map[string]blob.ListObject{}
		}
		m.versions[version][parts[2]] = *o
	}
	it := r.bucket.List(nil)
	for {
		o, err := it.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, nil, fmt.Errorf("list model repository %s: %w", r.opts.URL, err)
		}
		behind, why := r.follow(o)
		if why == "" {
			for _, b := range behind {
				take(b)
			}
			continue
		}
		if parts := strings.Split(o.Key, "/"); len(parts) > 1 && modelName.MatchString(parts[0]) {
			at := path.Join(parts[0], parts[1])
			refused[at] = Refusal{Path: at, Model: parts[0], Reason: o.Key + " is a link " + why}
			odd[at] = true
			if number(parts[1]) == 0 {
				odd[parts[0]] = true // a file for all versions: none is measured without it
			}
		}
	}
	for name, m := range models {
		for version, files := range m.versions {
			at := path.Join(name, version)
			if odd[at] || odd[name] {
				delete(m.versions, version)
				continue
			}
			if _, ok := files[ModelFile]; ok {
				continue
			}
			delete(m.versions, version) // another program's, or not there yet
			for file := range files {
				if strings.EqualFold(path.Ext(file), ".onnx") {
					refused[at] = Refusal{Path: at, Model: name, Reason: fmt.Sprintf("it holds %s: a candidate's file is named %s", file, ModelFile)}
				}
			}
		}
		if len(m.versions) == 0 {
			delete(models, name)
		}
	}
	if err := r.links(refused); err != nil {
		return nil, nil, err
	}
	out := make([]Refusal, 0, len(refused))
	for _, key := range slices.Sorted(maps.Keys(refused)) {
		out = append(out, refused[key])
	}
	return models, out, nil
}

// follow returns what an object of the listing stands for: itself or, where it
// is a link, the file or the files of the folder that it leads to, under the
// link's own name; otherwise why it stands for nothing. A link may not lead
// out of the repository: whoever may write a candidate could have any file of
// this machine read.
func (r *Repository) follow(o *blob.ListObject) (behind []*blob.ListObject, why string) {
	var info os.FileInfo
	if r.dir == "" || !o.As(&info) || info.Mode()&os.ModeSymlink == 0 {
		return []*blob.ListObject{o}, ""
	}
	parts := strings.Split(o.Key, "/")
	version := len(parts) == 2 && number(parts[1]) > 0
	if !version && !counts(parts) {
		return nil, "" // an alias such as latest -> 7, or nothing of plancast's
	}
	at := filepath.Join(r.dir, filepath.FromSlash(o.Key))
	info, why = r.inside(at)
	switch {
	case why != "":
		return nil, why
	case !info.IsDir():
		return []*blob.ListObject{as(o.Key, info)}, ""
	case !version:
		return nil, "to a folder, where a file belongs"
	}
	entries, err := os.ReadDir(at)
	if err != nil {
		return nil, fmt.Sprintf("to a folder that cannot be read: %v", err)
	}
	for _, e := range entries {
		info, why := r.inside(filepath.Join(at, e.Name()))
		switch {
		case why != "":
			return nil, fmt.Sprintf("to a folder whose %s is a link %s", e.Name(), why)
		case info.IsDir():
			continue // a candidate has no folders
		}
		behind = append(behind, as(path.Join(o.Key, e.Name()), info))
	}
	return behind, ""
}

// counts tells whether a key is one of a version's files or of a file for all
// versions.
func counts(parts []string) bool {
	switch len(parts) {
	case 2:
		return parts[1] == ConfigFile || parts[1] == CalibrationFile || slices.Contains(evaluationFiles, parts[1])
	case 3:
		return number(parts[1]) > 0 && !strings.HasPrefix(parts[2], ".")
	}
	return false
}

// inside looks at the file or folder that a path leads to, if that lies in the repository.
func (r *Repository) inside(at string) (info os.FileInfo, why string) {
	const nothing = "that leads to nothing: mend it, or copy the file"
	real, err := filepath.EvalSymlinks(at)
	if err != nil {
		return nil, nothing
	}
	if rel, err := filepath.Rel(r.dir, real); err != nil || !filepath.IsLocal(rel) {
		return nil, "that leads out of the repository, and such links are not followed: copy the file, or mount its folder inside"
	}
	if info, err = os.Stat(real); err != nil {
		return nil, nothing
	}
	return info, ""
}

func as(key string, info os.FileInfo) *blob.ListObject {
	return &blob.ListObject{Key: key, ModTime: info.ModTime(), Size: info.Size()}
}

// links refuses model folders that are links: a model would be measured under two
// names.
func (r *Repository) links(refused map[string]Refusal) error {
	if r.dir == "" {
		return nil
	}
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return fmt.Errorf("list model repository %s: %w", r.opts.URL, err)
	}
	for _, e := range entries {
		if e.Type()&os.ModeSymlink == 0 || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if info, err := os.Stat(filepath.Join(r.dir, e.Name())); err == nil && info.IsDir() {
			refused[e.Name()] = Refusal{Path: e.Name(), Reason: fmt.Sprintf("%q is a link, and links are not followed: copy the folder, or mount it there", e.Name())}
		}
	}
	return nil
}

// number is the version as a number, 0 when it is none in Triton's sense.
func number(version string) int64 {
	n, err := strconv.ParseInt(version, 10, 64)
	if err != nil || n < 1 || strconv.FormatInt(n, 10) != version {
		return 0
	}
	return n
}

// fact is what is remembered of a file.
type fact struct {
	Digest string  `json:"digest,omitempty"`
	Shapes *Shapes `json:"shapes,omitempty"` // of config.pbtxt
}

// identify fills in the digests of c, or says why it must wait.
func (r *Repository) identify(ctx context.Context, c *Candidate, files map[string]blob.ListObject) (reason string, learnt []history.Remembered, err error) {
	now := r.opts.Now()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if wait := r.opts.Quiet - now.Sub(r.since(files[name], now)); wait > 0 {
			return fmt.Sprintf("%s changed less than %s ago and may still be copied", files[name].Key, r.opts.Quiet), learnt, nil
		}
	}
	digests := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		o := files[name]
		f, known := r.recall(o)
		if !known {
			if name == ModelFile && r.dir != "" && r.opts.Whole != nil {
				if why := r.whole(o, files, now); why != "" {
					return why, learnt, nil
				}
			}
			f, err = r.read(ctx, name, o)
			var bad *unusable
			switch {
			case errors.Is(err, errChanged):
				return fmt.Sprintf("%s changed while it was read", o.Key), learnt, nil
			case errors.As(err, &bad):
				return bad.Error(), learnt, nil
			case err != nil:
				return "", learnt, err
			}
			text, err := json.Marshal(f)
			if err != nil {
				return "", learnt, err
			}
			m := history.Remembered{File: asFile(o), Facts: string(text)}
			r.facts[o.Key] = m
			learnt = append(learnt, m)
		}
		if f.Shapes != nil {
			c.Shapes = *f.Shapes
		} else {
			digests[name] = f.Digest
		}
	}
	data := map[string]string{}
	for _, name := range evaluationFiles {
		if d, ok := digests[name]; ok {
			data[name] = d
			delete(digests, name)
		}
	}
	c.Digest, c.DataDigest = combine(digests), combine(data)
	return "", learnt, nil
}

// since is the last time the file is known to have changed. A time in the
// future says nothing; then it is when the file was first seen like this.
func (r *Repository) since(o blob.ListObject, now time.Time) time.Time {
	if !o.ModTime.After(now) {
		return o.ModTime
	}
	s := r.seen[o.Key]
	if s.size != o.Size || !s.modified.Equal(o.ModTime) {
		s = sighting{size: o.Size, modified: o.ModTime, first: now}
		r.seen[o.Key] = s
	}
	return s.first
}

// A file that ends too early is waited for as long as a slow copy may pause;
// after that it is what it is, and measuring it gives the failure its name.
func (r *Repository) whole(o blob.ListObject, files map[string]blob.ListObject, now time.Time) (reason string) {
	if now.Sub(r.since(o, now)) > max(10*r.opts.Quiet, time.Minute) {
		return ""
	}
	f, err := os.Open(filepath.Join(r.dir, filepath.FromSlash(o.Key)))
	if err != nil {
		return fmt.Sprintf("%s cannot be read yet: %v", o.Key, err)
	}
	defer f.Close()
	beside, err := r.opts.Whole(f, o.Size)
	if err != nil {
		return fmt.Sprintf("%s is not whole yet: %v", o.Key, err)
	}
	for _, name := range beside {
		if _, ok := files[name]; !ok {
			return fmt.Sprintf("%s keeps weights in %s, which is not there yet", o.Key, name)
		}
	}
	return ""
}

// errChanged says that a file is no longer what was listed.
var errChanged = errors.New("the file changed while it was read")

// unusable is a file that cannot be what its name says.
type unusable struct {
	key string
	err error
}

func (u *unusable) Error() string { return fmt.Sprintf("%s: %v", u.key, u.err) }

// recall is what is remembered of an unchanged file.
func (r *Repository) recall(o blob.ListObject) (fact, bool) {
	m, ok := r.facts[o.Key]
	if !ok || m.File != asFile(o) {
		return fact{}, false
	}
	var f fact
	if json.Unmarshal([]byte(m.Facts), &f) != nil || f.Digest == "" && f.Shapes == nil {
		return fact{}, false
	}
	return f, true
}

// configBytes is far more than any config.pbtxt needs.
const configBytes = 1 << 20

func (r *Repository) read(ctx context.Context, name string, o blob.ListObject) (fact, error) {
	if name != ConfigFile {
		digest, err := r.copy(ctx, o.Key, o.Size, io.Discard)
		return fact{Digest: digest}, err
	}
	if o.Size > configBytes {
		return fact{}, &unusable{o.Key, fmt.Errorf("it has %d bytes; no configuration is that long", o.Size)}
	}
	var text bytes.Buffer
	if _, err := r.copy(ctx, o.Key, o.Size, &text); err != nil {
		return fact{}, err
	}
	shapes, err := parseShapes(text.Bytes())
	if err != nil {
		return fact{}, &unusable{o.Key, err}
	}
	return fact{Shapes: &shapes}, nil
}

// copy writes an object to w and returns the SHA-256 of what it wrote. size -1
// takes any.
func (r *Repository) copy(ctx context.Context, key string, size int64, w io.Writer) (string, error) {
	in, err := r.bucket.NewReader(ctx, key, nil)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return "", errChanged // deleted since it was listed
	}
	if err != nil {
		return "", fmt.Errorf("read %s of model repository %s: %w", key, r.opts.URL, err)
	}
	defer in.Close()
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(h, w), in)
	if err != nil {
		return "", fmt.Errorf("read %s of model repository %s: %w", key, r.opts.URL, err)
	}
	if size >= 0 && n != size {
		return "", errChanged
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func asFile(o blob.ListObject) history.File {
	return history.File{Path: o.Key, Size: o.Size, Modified: o.ModTime.UTC(), Tag: hex.EncodeToString(o.MD5)}
}

// combine is the digest of a set of files: of one model.onnx alone, its own;
// else that of the list that sha256sum prints.
func combine(digests map[string]string) string {
	if d, ok := digests[ModelFile]; ok && len(digests) == 1 {
		return d
	}
	if len(digests) == 0 {
		return ""
	}
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(digests)) {
		fmt.Fprintf(h, "%s  %s\n", digests[name], name)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// ErrChanged says that a candidate is no longer what was scanned.
var ErrChanged = errors.New("the candidate changed since the repository was scanned: it is looked at again in the next pass")

// Stage copies the candidate's files into dir, under the names that they have
// in a version's folder, and checks them against the candidate's digests. The
// caller owns dir and removes it.
func (r *Repository) Stage(ctx context.Context, c Candidate, dir string) error {
	digests, data := map[string]string{}, map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.Files)) {
		digest, err := r.stageFile(ctx, c.Files[name], filepath.Join(dir, name))
		if errors.Is(err, errChanged) {
			err = ErrChanged
		}
		if err != nil {
			return fmt.Errorf("stage %s version %s: %w", c.Model, c.Version, err)
		}
		switch {
		case name == ConfigFile:
		case slices.Contains(evaluationFiles, name):
			data[name] = digest
		default:
			digests[name] = digest
		}
	}
	if combine(digests) != c.Digest || combine(data) != c.DataDigest {
		return fmt.Errorf("stage %s version %s: %w", c.Model, c.Version, ErrChanged)
	}
	return nil
}

func (r *Repository) stageFile(ctx context.Context, key, to string) (string, error) {
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return "", err
	}
	digest, err := r.copy(ctx, key, -1, f)
	return digest, errors.Join(err, f.Close())
}
