package main

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"github.com/plancast/plancast/forecast/internal/law"
)

var (
	shares = []float64{0.02, 0.05, 0.10, 0.20, 0.40}
	steps  = []int{3, 5, 10, 20}
)

type history struct {
	ID     string
	Source struct{ Repo string }
	// Direction is "lower" or "higher".
	Direction string
	Points    [][2]float64

	values  []float64
	tallies []law.Tally // after each point, on the scale of the whole
}

// cut is what is known of a history at one moment.
type cut struct {
	population, series int
	repo               string
	lower              bool
	history            *law.History
	scale              law.Scale
	siblings           law.Tally
	n                  int
	weight             float64 // in the fit
	questions          []question
	ahead              []ahead
}

type question struct {
	share  float64
	steps  int
	target float64 // on the scale
	hit    bool
	terms  law.Terms // without siblings
}

// ahead is the outcome of a band: the value some steps later.
type ahead struct {
	steps       int
	z           float64
	value, last float64
}

type sample struct {
	histories []*history
	repos     []string
	cuts      []*cut
}

// of returns the part of one population that was asked with at most so many
// results.
func (s *sample) of(population, longest int) *sample {
	p := &sample{histories: s.histories, repos: s.repos}
	for _, c := range s.cuts {
		if c.population == population && c.n <= longest {
			p.cuts = append(p.cuts, c)
		}
	}
	return p
}

func load(paths []string) (*sample, error) {
	s := &sample{}
	for p, path := range paths {
		first := len(s.histories)
		if err := s.read(path); err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		for i := first; i < len(s.histories); i++ {
			s.histories[i].resolve()
		}
		for i := first; i < len(s.histories); i++ {
			s.add(p, i, s.histories[first:])
		}
	}
	s.weigh()
	return s, nil
}

func (s *sample) read(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	zr, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bufio.NewReader(zr))
	for {
		h := &history{}
		if err := dec.Decode(h); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("history %d: %w", len(s.histories)+1, err)
		}
		for _, p := range h.Points {
			h.values = append(h.values, p[1])
		}
		if !slices.Contains(s.repos, h.Source.Repo) {
			s.repos = append(s.repos, h.Source.Repo)
		}
		s.histories = append(s.histories, h)
	}
}

func (h *history) lower() bool { return h.Direction == "lower" }

func (h *history) resolve() {
	scale, _ := law.ScaleOf(h.values, h.lower(), nil)
	var e law.History
	for _, v := range h.values {
		e.Append(scale.To(v))
	}
	c := law.Default()
	h.tallies = e.Tallies(&c, nil)
}

// weigh counts every question of a population the same, as the score does, but
// those of a repository of k histories k^-crowd times as much, since these are
// alike.
func (s *sample) weigh() {
	type key struct {
		population int
		repo       string
	}
	series := map[key]map[int]bool{}
	for _, c := range s.cuts {
		k := key{c.population, c.repo}
		if series[k] == nil {
			series[k] = map[int]bool{}
		}
		series[k][c.series] = true
	}
	total := map[int]float64{}
	for _, c := range s.cuts {
		c.weight = math.Pow(float64(len(series[key{c.population, c.repo}])), -crowd)
		total[c.population] += c.weight * float64(len(c.questions))
	}
	for _, c := range s.cuts {
		c.weight /= total[c.population]
		if c.population == 0 {
			c.weight *= unattended
		}
	}
}

const (
	crowd      = 0.25
	unattended = 3 // how much the first population counts against each other one
)

// add cuts a history where the walk-forward score does: geometrically spaced
// with a jitter that depends on its name alone.
func (s *sample) add(population, i int, others []*history) {
	const cuts, first = 8, 4
	h := s.histories[i]
	last := len(h.Points) - slices.Min(steps)
	if last < first {
		return
	}
	at := map[int]bool{}
	for k := range cuts {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s|%d", h.ID, k))
		u := float64(binary.BigEndian.Uint32(sum[:4])) / (1 << 32)
		at[min(last, int(first*math.Pow(float64(last)/first, (float64(k)+u)/cuts)))] = true
	}
	base := law.Default()
	var l law.Law
	for n := first; n <= last; n++ {
		if !at[n] {
			continue
		}
		c := &cut{population: population, series: i, repo: h.Source.Repo, lower: h.lower(), n: n, history: &law.History{}}
		c.scale, _ = law.ScaleOf(h.values[:n], c.lower, nil)
		for _, v := range h.values[:n] {
			c.history.Append(c.scale.To(v))
		}
		c.history.Law(&base, law.Context{}, slices.Max(steps), &l)
		for _, o := range others {
			if o != h && o.Source.Repo == h.Source.Repo {
				c.siblings.Add(o.at(h.Points[n-1][0]))
			}
		}
		b := c.scale.From(c.history.Best())
		for _, st := range steps {
			if n+st > len(h.values) {
				continue
			}
			next := c.scale.To(h.values[n])
			for _, v := range h.values[n : n+st] {
				next = math.Min(next, c.scale.To(v))
			}
			for _, k := range shares {
				target := b * (1 - k)
				if !c.lower {
					target = b * (1 + k)
				}
				t := c.scale.To(target)
				c.questions = append(c.questions, question{share: k, steps: st, target: t, hit: next <= t, terms: l.Terms(t, st)})
			}
			v := h.values[n+st-1]
			c.ahead = append(c.ahead, ahead{steps: st, z: c.scale.To(v), value: v, last: h.values[n-1]})
		}
		s.cuts = append(s.cuts, c)
	}
}

// at is what a history had shown at a moment.
func (h *history) at(time float64) (t law.Tally) {
	for i, p := range h.Points {
		if p[0] <= time {
			t = h.tallies[i]
		}
	}
	return t
}
