package candidate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// emptyFor is how long a repository that held models may be empty before they
// are taken for withdrawn.
const emptyFor = 24 * time.Hour

// Scan lists the repository and identifies, of each model, the newest version
// and backlog older ones. What it has identified before and finds unchanged is
// not read again. earlier are further versions to identify, wherever they stand;
// they are not among the wanted ones. An error concerns the whole repository:
// what is wrong with one candidate is a Refusal.
func (r *Repository) Scan(ctx context.Context, backlog int, earlier ...Version) (Scan, error) {
	l, err := r.list(ctx)
	if err != nil {
		return Scan{}, err
	}
	if err := r.recallAll(ctx); err != nil {
		return Scan{}, err
	}
	if err := r.guardEmpty(l); err != nil {
		return Scan{}, err
	}
	s := Scan{Models: map[string][]Candidate{}, Surplus: r.trim(l)}
	for _, name := range slices.Sorted(maps.Keys(l.unread)) {
		s.Unread = append(s.Unread, fmt.Errorf("list %s of model repository %s: %w: what was known of it stays", name, r.opts.URL, l.unread[name]))
	}
	learnt := map[string]fact{}
	for _, name := range slices.Sorted(maps.Keys(l.models)) {
		if err := r.scanModel(ctx, &s, l, name, backlog, learnt); err != nil {
			return Scan{}, err
		}
		for _, v := range earlier {
			if v.Model != name {
				continue
			}
			if err := r.scanEarlier(ctx, &s, l, v, learnt); err != nil {
				return Scan{}, err
			}
		}
	}
	if err := r.verifyOne(ctx, learnt); err != nil {
		return Scan{}, err
	}
	if err := r.remember(ctx, l, learnt); err != nil {
		return Scan{}, err
	}
	s.Refused, s.Notes = sorted(l.refused), sorted(l.notes)
	return s, nil
}

// trim leaves as many models as the options allow and refuses the others together:
// a million folders must not become a million refusals. A model that was read before
// keeps its place; of new ones the first by name get what is left.
func (r *Repository) trim(l *lister) []string {
	most := r.opts.MaxModels
	if most <= 0 || len(l.models) <= most {
		return nil
	}
	before := map[string]bool{}
	for key := range r.facts {
		name, _, _ := strings.Cut(key, "/")
		before[name] = true
	}
	names := slices.SortedFunc(maps.Keys(l.models), func(a, b string) int {
		if before[a] != before[b] {
			if before[a] {
				return -1
			}
			return 1
		}
		return cmp.Compare(a, b)
	})
	total, surplus := len(names), slices.Sorted(slices.Values(names[most:]))
	for _, name := range surplus {
		delete(l.models, name)
	}
	maps.DeleteFunc(l.refused, func(_ string, x Refusal) bool { _, found := slices.BinarySearch(surplus, x.Model); return found })
	l.refuse(fmt.Sprintf("%d models", len(surplus)), "", "",
		"the repository holds %d models and repository.max_models is %d: %s and the new ones after it by name are not measured; remove folders that are not models, or raise the limit", total, most, surplus[0])
	return surplus
}

// Version names a version of a model.
type Version struct{ Model, Version string }

// scanEarlier identifies one version that is not among the wanted ones.
func (r *Repository) scanEarlier(ctx context.Context, s *Scan, l *lister, v Version, learnt map[string]fact) error {
	m := l.models[v.Model]
	if _, listed := m.versions[v.Version]; !listed {
		return nil
	}
	if _, known := s.Find(v.Model, v.Version); known {
		return nil
	}
	c := Candidate{Model: v.Model, Version: v.Version}
	i := identification{Repository: r, files: m.effective(v.Version), learnt: learnt, now: r.opts.Now(), note: l.note}
	err := i.identify(ctx, &c)
	s.Read += i.read
	var wait *settling
	var bad *unusable
	switch {
	case errors.As(err, &wait), errors.As(err, &bad):
		return nil
	case err != nil:
		return fmt.Errorf("read model repository %s: %w", r.opts.URL, err)
	}
	s.Earlier = append(s.Earlier, c)
	return nil
}

func (r *Repository) scanModel(ctx context.Context, s *Scan, l *lister, name string, backlog int, learnt map[string]fact) error {
	m := l.models[name]
	versions := slices.SortedFunc(maps.Keys(m.versions), func(a, b string) int { return cmp.Compare(number(a), number(b)) })
	s.Versions += len(versions)
	wanted := 0 // whole candidates identified so far, newest first
	var found []Candidate
	for _, version := range slices.Backward(versions) {
		c := Candidate{Model: name, Version: version}
		if wanted > backlog {
			var err error
			if c.Change, err = r.olderChange(ctx, l, m.versions[version], learnt); err != nil {
				return fmt.Errorf("read model repository %s: %w", r.opts.URL, err)
			}
			found = append(found, c)
			continue
		}
		i := identification{Repository: r, files: m.effective(version), learnt: learnt, now: r.opts.Now(), note: l.note}
		err := i.identify(ctx, &c)
		s.Read += i.read
		var wait *settling
		var bad *unusable
		switch {
		case errors.As(err, &wait):
			s.Pending = append(s.Pending, Pending{Model: name, Version: version, Reason: wait.reason, Until: wait.until})
			continue
		case errors.As(err, &bad):
			l.refuse(name+"/"+version, name, version, "%v", bad)
			continue
		case err != nil:
			return fmt.Errorf("read model repository %s: %w", r.opts.URL, err)
		}
		if o, both := i.unread[PlanFile]; both {
			l.note(Note{Path: o.key, Text: "it is not read: the version has " + ModelFile + ", which plancast builds itself"})
		}
		for _, file := range slices.Sorted(maps.Keys(i.unread)) {
			if strings.HasSuffix(strings.ToLower(file), ".onnx") && !strings.Contains(file, "/") && !hidden(file) {
				key := i.unread[file].key
				l.note(Note{Path: key, Text: "it is ignored: a version's model is named " + ModelFile})
			}
		}
		wanted++
		found = append(found, c)
	}
	if len(found) > 0 {
		slices.Reverse(found)
		s.Models[name] = found
	}
	return nil
}

// guardEmpty refuses an empty listing where there were models: a mount that is
// missing, a path or credentials that changed look just like that.
func (r *Repository) guardEmpty(l *lister) error {
	if len(l.models) > 0 || len(l.refused) > 0 || len(r.facts) == 0 {
		r.emptied = time.Time{}
		return nil
	}
	now := r.opts.Now()
	if r.emptied.IsZero() {
		r.emptied = now
	}
	if until := r.emptied.Add(emptyFor); now.Before(until) {
		return fmt.Errorf("list model repository %s: it is empty but held models before: check its mount, path and credentials; if it stays empty, its models count as withdrawn from %s on",
			r.opts.URL, until.UTC().Format("2006-01-02 15:04 MST"))
	}
	return nil
}
