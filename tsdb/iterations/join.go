package iterations

import (
	"github.com/prometheus/common/model"

	"github.com/plancast/plancast/tsdb/prom"
)

// Join finds, for the series of a metric, the series of another one that speak
// of the same thing: those that agree with it in every label both have.
type Join struct {
	series   []prom.Series
	all      []int                   // every index of series
	having   map[model.LabelName]int // how many series have a label
	postings map[model.LabelPair][]int
}

// NewJoin indexes series.
func NewJoin(series []prom.Series) *Join {
	j := &Join{series: series, having: map[model.LabelName]int{}, postings: map[model.LabelPair][]int{}}
	for i, s := range series {
		j.all = append(j.all, i)
		for n, v := range s.Labels {
			if n == model.MetricNameLabel {
				continue
			}
			j.having[n]++
			p := model.LabelPair{Name: n, Value: v}
			j.postings[p] = append(j.postings[p], i)
		}
	}
	return j
}

// Of returns the series that agree with labels in every label both have. A
// series with more labels in common hides those with fewer; without any label
// in common, a single series speaks of everything.
func (j *Join) Of(labels model.Metric) []prom.Series {
	if j == nil || len(j.series) == 0 {
		return nil
	}
	among, found := j.all, false
	for n, v := range labels {
		if n == model.MetricNameLabel || j.having[n] == 0 {
			continue
		}
		found = true
		if p := j.postings[model.LabelPair{Name: n, Value: v}]; j.having[n] == len(j.series) && len(p) < len(among) {
			among = p // a series without the label could agree as well
		}
	}
	if !found {
		if len(j.series) == 1 {
			return j.series
		}
		return nil
	}
	most := 0
	var out []prom.Series
	for _, i := range among {
		common, ok := 0, true
		for n, v := range j.series[i].Labels {
			if n == model.MetricNameLabel {
				continue
			}
			if w, has := labels[n]; has {
				if w != v {
					ok = false
					break
				}
				common++
			}
		}
		switch {
		case !ok || common == 0 || common < most:
		case common > most:
			most, out = common, []prom.Series{j.series[i]}
		default:
			out = append(out, j.series[i])
		}
	}
	return out
}
