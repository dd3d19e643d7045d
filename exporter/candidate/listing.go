package candidate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// listing is what the repository holds of one model.
type listing struct {
	shared   map[string]object            // files of all versions, by name
	versions map[string]map[string]object // by version and path below its folder
	problems map[string]object            // versions' folders that cannot be listed
}

// effective are the files that count for a version, by name: its own and, where
// it has none of that name, the shared ones.
func (l *listing) effective(version string) map[string]object {
	files := maps.Clone(l.shared)
	for name, o := range l.versions[version] {
		// Triton keeps a model of several files in a folder that has the model's name.
		if inner, ok := strings.CutPrefix(name, ModelFile+"/"); ok {
			name = inner
		}
		files[name] = o
	}
	return files
}

func (l *listing) keys(into map[string]bool) {
	for _, o := range l.shared {
		into[o.key] = true
	}
	for _, files := range l.versions {
		for _, o := range files {
			into[o.key] = true
		}
	}
}

// lister sorts the files of a repository into models.
type lister struct {
	models  map[string]*listing
	refused map[string]Refusal // by path
	notes   map[string]Note    // by path
	unread  partError
}

func (r *Repository) list(ctx context.Context) (*lister, error) {
	l := &lister{models: map[string]*listing{}, refused: map[string]Refusal{}, notes: map[string]Note{}}
	if err := r.source.list(ctx, l.add); err != nil && !errors.As(err, &l.unread) {
		return nil, fmt.Errorf("list model repository %s: %w", r.opts.URL, err)
	}
	for name, err := range l.unread {
		if before, known := r.listed[name]; known {
			l.models[name] = before
		} else {
			l.refuse(name, name, "", "it cannot be listed: %v: the next pass tries it again", err)
		}
	}
	l.finish()
	if r.listed != nil {
		r.listed = maps.Clone(l.models)
	}
	return l, nil
}

func (l *lister) refuse(at, model, version, format string, args ...any) {
	l.refused[at] = Refusal{Path: at, Model: model, Version: version, Reason: fmt.Sprintf(format, args...)}
}

func (l *lister) model(name string) *listing {
	m := l.models[name]
	if m == nil {
		m = &listing{shared: map[string]object{}, versions: map[string]map[string]object{}, problems: map[string]object{}}
		l.models[name] = m
	}
	return m
}

// add sorts one file in.
func (l *lister) add(o object) {
	parts := strings.Split(o.key, "/")
	if slices.Contains(parts, "..") || slices.Contains(parts, ".") || slices.Contains(parts, "") {
		return // no key of an honest writer
	}
	name, file := parts[0], parts[len(parts)-1]
	isModel := file == ModelFile || file == PlanFile
	if slices.ContainsFunc(parts[:min(2, len(parts))], hidden) || isModel && slices.ContainsFunc(parts, hidden) {
		return // temporary files of copying programs, .git
	}
	switch {
	case len(parts) == 1 && o.folder:
		l.refuse(o.key, "", "", "%s", o.problem)
		return
	case len(parts) == 1:
		if stem, ok := strings.CutSuffix(strings.ToLower(file), ".onnx"); ok && stem != "" {
			l.refuse(o.key, "", "", "a model belongs in a version's folder: move it to %s/1/%s", file[:len(stem)], ModelFile)
		}
		return // a README beside the models
	case !modelName.MatchString(name):
		if isModel {
			l.refuse(name, "", "", "%q cannot be a model's name: use up to 100 letters, digits, \"-\", \"_\" and \".\", beginning with a letter or digit", name)
		}
		return
	case len(parts) == 2:
		l.addShared(o, name, file)
		return
	}
	version, below := parts[1], path.Join(parts[2:]...)
	if number(version) < 1 {
		switch {
		case isModel && len(parts) == 3:
			l.refuse(path.Join(name, version), name, version, "%q cannot be a version: use a whole number from 1, without leading zeros", version)
		case isModel:
			l.refuse(o.key, name, "", "it is nested too deep: a candidate is <model>/<version>/%s", file)
		}
		return
	}
	// Triton's form of a model of several files: 1/model.onnx/model.onnx.
	if isModel && len(parts) > 3 && below != path.Join(ModelFile, ModelFile) {
		l.refuse(o.key, name, "", "it is nested too deep: a candidate is <model>/<version>/%s", file)
		return
	}
	m := l.model(name)
	if m.versions[version] == nil {
		m.versions[version] = map[string]object{}
	}
	m.versions[version][below] = o
}

// addShared sorts in what lies beside a model's versions.
func (l *lister) addShared(o object, model, file string) {
	switch {
	case number(file) > 0 && o.problem != "": // a version that cannot be listed
		m := l.model(model)
		m.problems[file] = o
	case file == ModelFile, file == PlanFile:
		l.refuse(o.key, model, "", "a model belongs in a version's folder: move it to %s/1/%s", model, file)
	case slices.Contains(besideFiles, file):
		l.model(model).shared[file] = o
	case file == ChangeFile:
		l.note(Note{Path: o.key, Text: fmt.Sprintf("it is ignored: it describes one version and belongs in that version's folder, such as %s/1/%s", model, ChangeFile)})
	case strings.EqualFold(path.Ext(file), ".onnx"):
		l.note(Note{Path: o.key, Text: fmt.Sprintf("a model belongs in a version's folder: move it to %s/1/%s", model, ModelFile)})
	default:
		l.noteMisnamed(o.key, file)
	}
}

// noteMisnamed notes a file whose name is nearly one that is read.
func (l *lister) noteMisnamed(key, file string) {
	stem := strings.ToLower(strings.TrimSuffix(file, path.Ext(file)))
	for _, known := range append(slices.Clip(besideFiles), ChangeFile) {
		want := strings.TrimSuffix(known, path.Ext(known))
		if file != known && (stem == want || stem+"s" == want || stem == want+"s") {
			l.note(Note{Path: key, Text: fmt.Sprintf("it is ignored: plancast reads %s", known)})
		}
	}
}

func (l *lister) note(n Note) { l.notes[n.Path] = n }

// finish judges what can be judged only of the whole listing.
func (l *lister) finish() {
	for name, m := range l.models {
		for version, o := range m.problems {
			l.refuse(path.Join(name, version), name, version, "%s %s", o.key, o.problem)
			delete(m.versions, version)
		}
		for version, files := range m.versions {
			at := path.Join(name, version)
			_, plain := files[ModelFile]
			_, nested := files[path.Join(ModelFile, ModelFile)]
			_, plan := files[PlanFile]
			if !plain && !nested && !plan {
				delete(m.versions, version) // another program's, or not there yet
				for _, known := range []string{ModelFile, PlanFile} {
					for _, file := range alike(files, known) {
						l.refuse(at, name, version, "it holds %s: name the candidate's file %s", file, known)
					}
				}
				continue
			}
			for file, o := range files {
				l.noteMisnamed(o.key, file)
			}
		}
		if len(m.versions) == 0 {
			delete(l.models, name)
		}
	}
	// A lone file is a candidate in the wrong place; beside versions it is a spare.
	for key, n := range l.notes {
		model, file, _ := strings.Cut(key, "/")
		if l.models[model] == nil && strings.EqualFold(path.Ext(file), ".onnx") && !strings.Contains(file, "/") {
			l.refuse(key, model, "", "%s", n.Text)
			delete(l.notes, key)
		}
	}
}

// alike are the files of a version's folder whose names end as known does.
func alike(files map[string]object, known string) []string {
	return slices.Sorted(func(yield func(string) bool) {
		for file := range files {
			if strings.EqualFold(path.Ext(file), path.Ext(known)) && !strings.Contains(file, "/") && !hidden(file) && !yield(file) {
				return
			}
		}
	})
}

func hidden(name string) bool { return strings.HasPrefix(name, ".") }

// sorted are the values of a map in the order of its keys.
func sorted[T any](m map[string]T) []T {
	out := make([]T, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		out = append(out, m[key])
	}
	return out
}
