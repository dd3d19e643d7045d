package candidate

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/change"
)

// fact is what is remembered of a file.
type fact struct {
	stamp
	Digest   string         `json:"digest,omitempty"`
	Shapes   *Shapes        `json:"shapes,omitempty"`   // of config.pbtxt
	Contents *Contents      `json:"contents,omitempty"` // of a model
	Change   *change.Change `json:"change,omitempty"`   // of change.yml
	Unusable string         `json:"unusable,omitempty"` // why a change.yml cannot be used
	Verified time.Time      `json:"verified"`           // when it was last read
}

// settling is a reason to wait: time is going to fix it.
type settling struct {
	reason string
	until  time.Time
}

func (s *settling) Error() string { return s.reason }

// unusable is a file that cannot be what its name says; waiting changes
// nothing.
type unusable struct{ key, why string }

func (u *unusable) Error() string { return u.key + " " + u.why }

// identification finds out which candidate a version is.
type identification struct {
	*Repository
	files  map[string]object // the version's, by name
	learnt map[string]fact   // new facts, by key
	unread map[string]object // of files, those that do not count
	now    time.Time
	note   func(Note) // of a file that is not used
	read   int
}

// identify fills in the digests of c. Its error is a *settling or an *unusable,
// or else concerns the repository.
func (i *identification) identify(ctx context.Context, c *Candidate) error {
	main := i.main()
	model, err := i.fact(ctx, main)
	if err != nil {
		return err
	}
	wanted := []string{main}
	if model.Contents != nil {
		c.Inputs = model.Contents.Inputs
		for _, location := range model.Contents.External {
			name, err := i.external(location)
			if err != nil {
				return err
			}
			if name != "" && !slices.Contains(wanted, name) {
				wanted = append(wanted, name)
			}
		}
	}
	for _, name := range besideFiles {
		if main == PlanFile && name == CalibrationFile {
			continue // nothing is built
		}
		if _, ok := i.files[name]; ok && !slices.Contains(wanted, name) {
			wanted = append(wanted, name)
		}
	}
	if err := i.checkSize(wanted); err != nil {
		return err
	}
	c.Files = map[string]string{}
	digests, data := map[string]string{}, map[string]string{}
	for _, name := range wanted {
		f, err := i.fact(ctx, name)
		if err != nil {
			return err
		}
		c.Files[name] = i.files[name].key
		if f.Modified.After(c.Modified) {
			c.Modified = f.Modified
		}
		switch {
		case f.Shapes != nil:
			c.Shapes = *f.Shapes
		case slices.Contains(evaluationFiles, name):
			data[name] = f.Digest
		default:
			digests[name] = f.Digest
		}
	}
	i.unread = maps.Clone(i.files)
	for _, name := range wanted {
		delete(i.unread, name)
	}
	c.Digest, c.DataDigest = combine(digests), combine(data)
	if c.Change, err = i.change(ctx); err == nil && c.Change != nil && !c.Change.Time.IsZero() {
		c.Modified = c.Change.Time
	}
	return err
}

// main is the name of the version's model, or of its plan where there is no model.
func (i *identification) main() string {
	if _, ok := i.files[ModelFile]; ok {
		return ModelFile
	}
	return PlanFile
}

// external is the name in the version's folder of a file that holds weights; ""
// for one that is not there, or that leads out of the folder: a runtime gives
// that its name.
func (i *identification) external(location string) (string, error) {
	name := path.Clean(location)
	if !filepath.IsLocal(filepath.FromSlash(name)) || strings.ContainsRune(name, 0) {
		return "", nil
	}
	if _, ok := i.files[name]; ok {
		return name, nil
	}
	model := i.files[ModelFile]
	if until := i.graceEnd(model); i.now.Before(until) {
		return "", &settling{fmt.Sprintf("%s keeps weights in %s, which does not exist yet", model.key, name), until}
	}
	return "", nil
}

func (i *identification) checkSize(names []string) error {
	var total int64
	for _, name := range names {
		total += i.files[name].Size
	}
	if limit := i.opts.MaxSize; limit > 0 && total > limit {
		return &unusable{i.files[i.main()].key, fmt.Sprintf("has %d bytes with its files, more than repository.max_size (%d): raise that, or push a smaller model", total, limit)}
	}
	return nil
}

// fact is what the file of that name holds, read now unless it is remembered.
func (i *identification) fact(ctx context.Context, name string) (fact, error) {
	o := i.files[name]
	if o.problem != "" {
		return fact{}, &unusable{o.key, o.problem}
	}
	if f, ok := i.learnt[o.key]; ok {
		return f, nil
	}
	if until := i.since(o).Add(i.opts.Quiet); i.now.Before(until) {
		return fact{}, &settling{fmt.Sprintf("%s changed less than %s ago and may still be copied", o.key, i.opts.Quiet), until}
	}
	if f, ok := i.facts[o.key]; ok && f.equal(o.stamp) {
		return f, nil
	}
	if err := i.checkSize([]string{name}); err != nil {
		return fact{}, err
	}
	if o.digest != "" && !slices.Contains(lookedInto, name) {
		return fact{stamp: o.stamp, Digest: o.digest}, nil
	}
	f, err := i.readFact(ctx, name, o)
	if errors.Is(err, errChanged) {
		return fact{}, &settling{o.key + " changed while it was read", i.now.Add(max(i.opts.Quiet, time.Second))}
	}
	if err != nil {
		return fact{}, err
	}
	f.stamp, f.Verified = o.stamp, i.now.UTC()
	i.read++
	i.learnt[o.key] = f
	return f, nil
}

// lookedInto are the files whose content matters besides their digest.
var lookedInto = []string{ModelFile, ConfigFile, ChangeFile}

// configBytes is far more than any config.pbtxt needs.
const configBytes = 1 << 20

func (i *identification) readFact(ctx context.Context, name string, o object) (fact, error) {
	switch name {
	case ModelFile:
		digest, contents, why, err := i.inspectObject(ctx, o)
		if err != nil {
			return fact{}, err
		}
		if why != nil {
			if until := i.graceEnd(o); i.settles && i.now.Before(until) {
				return fact{}, &settling{fmt.Sprintf("%s is incomplete: %v", o.key, why), until}
			}
			return fact{Digest: digest}, nil // measuring it gives the failure its name
		}
		return fact{Digest: digest, Contents: &contents}, nil
	case ConfigFile:
		f, err := i.readConfig(ctx, o)
		var bad *unusable
		if until := i.graceEnd(o); errors.As(err, &bad) && i.settles && i.now.Before(until) {
			err = &settling{bad.Error(), until}
		}
		return f, err
	case ChangeFile:
		return i.readChange(ctx, o)
	}
	digest, err := i.copyObject(ctx, o.key, o.Size, io.Discard)
	return fact{Digest: digest}, err
}

func (i *identification) readConfig(ctx context.Context, o object) (fact, error) {
	if o.Size > configBytes {
		return fact{}, &unusable{o.key, fmt.Sprintf("cannot be used: it has %d bytes, too many for a config.pbtxt", o.Size)}
	}
	var text bytes.Buffer
	if _, err := i.copyObject(ctx, o.key, o.Size, &text); err != nil {
		return fact{}, err
	}
	shapes, err := parseShapes(text.Bytes())
	if err != nil {
		return fact{}, &unusable{o.key, "cannot be used: " + err.Error()}
	}
	return fact{Shapes: &shapes}, nil
}

// graceEnd is until when a file that ends too early may still be a slow copy;
// after that it is what it is.
func (i *identification) graceEnd(o object) time.Time {
	if i.opts.Quiet == 0 {
		return time.Time{}
	}
	return i.since(o).Add(max(10*i.opts.Quiet, time.Minute))
}

// since is the last time the file is known to have changed. A time in the
// future says nothing; then it is when the file was first listed like this.
func (i *identification) since(o object) time.Time {
	if !o.Modified.After(i.now) {
		return o.Modified
	}
	s, ok := i.first[o.key]
	if !ok || !s.stamp.equal(o.stamp) {
		s = sighting{stamp: o.stamp, at: i.now}
		i.first[o.key] = s
	}
	return s.at
}

// verifyEvery is how often an unchanged file is read again all the same: disks
// rot, and some copying programs restore every mark of a change.
const verifyEvery = 7 * 24 * time.Hour

// verifyOne reads again the file of a folder that was read longest ago, when
// its time has come; a bucket answers for its objects by their tags.
func (r *Repository) verifyOne(ctx context.Context, learnt map[string]fact) error {
	if !r.settles {
		return nil
	}
	oldest := ""
	for key, f := range r.facts {
		if _, fresh := learnt[key]; !fresh && f.Digest != "" && (oldest == "" || f.Verified.Before(r.facts[oldest].Verified)) {
			oldest = key
		}
	}
	now := r.opts.Now()
	if oldest == "" || now.Sub(r.facts[oldest].Verified) < verifyEvery {
		return nil
	}
	f := r.facts[oldest]
	digest, err := r.copyObject(ctx, oldest, f.Size, io.Discard)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil || digest != f.Digest:
		f = fact{} // read as a new file in the next scan
	}
	f.Verified = now.UTC()
	learnt[oldest] = f
	return nil
}

// recallAll reads what an earlier process learnt.
func (r *Repository) recallAll(ctx context.Context) error {
	if r.facts != nil {
		return nil
	}
	texts, err := r.opts.Memory.Files(ctx)
	if err != nil {
		return err
	}
	r.facts = map[string]fact{}
	for key, text := range texts {
		var f fact // one that cannot be read is read again from its file
		if json.Unmarshal([]byte(text), &f) != nil || f.Digest == "" && f.Shapes == nil && f.Change == nil && f.Unusable == "" {
			f = fact{}
		}
		r.facts[key] = f
	}
	return nil
}

// remember keeps what was learnt, and forgets files that are gone.
func (r *Repository) remember(ctx context.Context, l *lister, learnt map[string]fact) error {
	keys := map[string]bool{}
	for _, m := range l.models {
		m.keys(keys)
	}
	var gone []string
	for key := range r.facts {
		model, _, _ := strings.Cut(key, "/")
		if _, unread := l.unread[model]; !keys[key] && !unread {
			gone = append(gone, key)
			delete(r.facts, key)
		}
	}
	maps.DeleteFunc(r.first, func(key string, _ sighting) bool { return !keys[key] })
	slices.Sort(gone)
	texts := map[string]string{}
	for key, f := range learnt {
		text, err := json.Marshal(f)
		if err != nil {
			return err
		}
		texts[key] = string(text)
	}
	if err := r.opts.Memory.Remember(ctx, texts, gone); err != nil {
		return err
	}
	maps.Copy(r.facts, learnt)
	return nil
}

// combine is the digest of a set of files: of one model.onnx or model.plan alone, its
// own; else that of the list that sha256sum prints.
func combine(digests map[string]string) string {
	for _, name := range []string{ModelFile, PlanFile} {
		if d, ok := digests[name]; ok && len(digests) == 1 {
			return d
		}
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
