package compare

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
)

// Question names two results, or two sets of them, as ParseRef reads them.
type Question struct {
	A, B      string
	Model     string           // that refs without an ID speak of; "" is that of the other ref, or the only one
	Precision engine.Precision // "" is each that both have
}

// ErrWhichModel says that a ref may mean several models.
var ErrWhichModel = errors.New("the history has several models")

// InStore compares the results of a history that a question names.
func InStore(ctx context.Context, s *history.Store, q Question, o Options) ([]Result, error) {
	refs, err := parse(q.A, q.B)
	if err != nil {
		return nil, err
	}
	var sides [2][]history.Entry
	for i, ref := range refs {
		if ref.ID == 0 {
			continue
		}
		e, err := entry(ctx, s, ref.ID)
		if err != nil {
			return nil, err
		}
		sides[i] = []history.Entry{e}
		if q.Model == "" {
			q.Model = e.Model
		}
	}
	for i, ref := range refs {
		if ref.ID != 0 {
			continue
		}
		m, err := model(ctx, s, q.Model)
		if err != nil {
			return nil, err
		}
		if sides[i], err = ref.In(m); err != nil {
			return nil, err
		}
	}
	pairs := Pairs(sides[0], sides[1], q.Precision)
	switch {
	case len(pairs) == 0 && q.Precision != "":
		return nil, fmt.Errorf("%s and %s have no %s result to compare: they have %s and %s", q.A, q.B, q.Precision, precisions(sides[0]), precisions(sides[1]))
	case len(pairs) == 0:
		return nil, fmt.Errorf("%s and %s have no result of the same precision: %s and %s", q.A, q.B, precisions(sides[0]), precisions(sides[1]))
	}
	var out []Result
	for _, p := range pairs {
		a, err := s.Record(ctx, p[0].ID)
		if err != nil {
			return nil, err
		}
		b, err := s.Record(ctx, p[1].ID)
		if err != nil {
			return nil, err
		}
		out = append(out, Results(a, b, o))
	}
	return out, nil
}

func parse(texts ...string) (out []Ref, err error) {
	for _, text := range texts {
		r, err := ParseRef(text)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

func entry(ctx context.Context, s *history.Store, id int64) (history.Entry, error) {
	for e, err := range s.Entries(ctx, history.Filter{ID: id}) {
		return e, err
	}
	return history.Entry{}, fmt.Errorf("record %d: %w", id, history.ErrNoRecord)
}

// model is the history of a model; of the only one when name is "".
func model(ctx context.Context, s *history.Store, name string) (history.Model, error) {
	g, found := history.NewGrowth(history.Model{Name: name}), name
	for e, err := range history.Skip(s.Entries(ctx, history.Filter{Model: name}), func(error) {}) {
		switch {
		case err != nil:
			return history.Model{}, err
		case found != "" && e.Model != found:
			return history.Model{}, ErrWhichModel
		}
		found = e.Model
		g.Add(e)
	}
	m := g.Model()
	m.Name = found
	if len(m.Series) == 0 {
		return m, fmt.Errorf("history %s has no results for model %q: plancast history list prints what it has", s.Path(), found)
	}
	return m, nil
}

func precisions(list []history.Entry) []engine.Precision {
	var out []engine.Precision
	for _, e := range list {
		out = append(out, e.Precision)
	}
	return slices.Compact(out)
}
