package main

import "slices"

// baseRate is the hit rate of the same share and steps over all other
// repositories, every history weighing the same.
func baseRate(s *sample) func(repo string, q *question) float64 {
	type key struct {
		share float64
		steps int
	}
	type count struct{ hits, n float64 }
	perSeries := map[int]map[key]*count{}
	repoOf := map[int]string{}
	for _, c := range s.cuts {
		repoOf[c.series] = c.repo
		if perSeries[c.series] == nil {
			perSeries[c.series] = map[key]*count{}
		}
		for _, q := range c.questions {
			k := key{q.share, q.steps}
			if perSeries[c.series][k] == nil {
				perSeries[c.series][k] = &count{}
			}
			t := perSeries[c.series][k]
			t.n++
			if q.hit {
				t.hits++
			}
		}
	}
	total, own := map[key]*count{}, map[string]map[key]*count{}
	series := make([]int, 0, len(perSeries))
	for i := range perSeries {
		series = append(series, i)
	}
	slices.Sort(series)
	for _, i := range series {
		for k, t := range perSeries[i] {
			if total[k] == nil {
				total[k] = &count{}
			}
			r := repoOf[i]
			if own[r] == nil {
				own[r] = map[key]*count{}
			}
			if own[r][k] == nil {
				own[r][k] = &count{}
			}
			for _, x := range []*count{total[k], own[r][k]} {
				x.hits += t.hits / t.n
				x.n++
			}
		}
	}
	return func(repo string, q *question) float64 {
		k := key{q.share, q.steps}
		t, o := *total[k], count{}
		if x := own[repo][k]; x != nil {
			o = *x
		}
		return (t.hits - o.hits + 0.5) / (t.n - o.n + 1)
	}
}
