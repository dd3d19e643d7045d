package iterations

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/prometheus/common/model"

	"github.com/plancast/plancast/tsdb/prom"
)

// life is the time in which an environment was published, [from, to).
type life struct {
	name     string
	from, to int64
}

// Environments are those that were published for one thing, in the order in which
// they began.
type Environments []life

// NewEnvironments reads them from series that are above 0 while the environment
// named in a label holds.
func NewEnvironments(series []prom.Series, label string) Environments {
	var out Environments
	for _, x := range series {
		name := string(x.Labels[model.LabelName(label)])
		for i, p := range x.Points {
			if p.Gone || !(p.V > 0) {
				continue
			}
			to := int64(math.MaxInt64)
			for _, q := range x.Points[i+1:] {
				if q.Gone {
					to = q.T
					break
				}
			}
			out = append(out, life{name, p.T, to})
		}
	}
	slices.SortStableFunc(out, func(a, b life) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.name, b.name)) })
	return out
}

// At is the environment that was published last as of a moment, and since when;
// the zero time is the end of the history. It is "" when there was none, and when
// there were several: two exporters may measure one model on two machines.
func (e Environments) At(t time.Time) (name string, since time.Time) {
	now := int64(math.MaxInt64)
	if !t.IsZero() {
		now = t.UnixMilli()
	}
	last := int64(math.MinInt64)
	for _, l := range e {
		switch to := min(l.to, now); {
		case l.from > now || to < last:
		case to > last || name == l.name:
			last, name, since = to, l.name, at(l.from)
		default:
			name, since = "", time.Time{}
		}
	}
	return name, since
}

// of names the environment in which something became known: the newest that had
// begun. One that has ended still names the past, unless another holds.
func (e Environments) of(known time.Time) (name string) {
	t := known.UnixMilli()
	for _, l := range slices.Backward(e) {
		if l.from > t {
			continue
		}
		name = cmp.Or(name, l.name)
		if t < l.to {
			return l.name
		}
	}
	return cmp.Or(name, e[0].name)
}

// environments names the environment of each iteration: by a label of the
// value itself, or by the newest environment series that was there then.
func (e Joins) environments(s prom.Series, its []Iteration) {
	if e.EnvironmentLabel == "" {
		return
	}
	if v, ok := s.Labels[model.LabelName(e.EnvironmentLabel)]; ok {
		for i := range its {
			its[i].Environment = string(v)
		}
		return
	}
	if measured := NewEnvironments(e.Environments.Of(s.Labels), e.EnvironmentLabel); len(measured) > 0 {
		for i := range its {
			its[i].Environment = measured.of(its[i].Known)
		}
	}
	if n := len(its); n > 0 && its[n-1].Guessed { // it failed last, maybe where nothing was measured yet
		counting, _ := NewEnvironments(e.Counting.Of(s.Labels), e.EnvironmentLabel).At(time.Time{})
		its[n-1].Environment = cmp.Or(counting, its[n-1].Environment)
	}
}
