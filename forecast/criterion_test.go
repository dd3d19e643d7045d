package forecast

import (
	"math"
	"testing"
)

func TestNearestChoosesTheResultThatStandsForAnIteration(t *testing.T) {
	nan := math.NaN()
	criteria := []Criterion{
		{Metric: "p99", Comparison: Below, Target: 0.050, Unit: "seconds"},
		{Metric: "top1", Comparison: AtLeast, Target: 0.7, Unit: "ratio"},
	}
	for name, c := range map[string]struct {
		results [][]float64
		want    int
	}{
		"there is none": {nil, -1},
		"one that meets all, however near others are":          {[][]float64{{0.0501, 0.9}, {0.049, 0.71}}, 1},
		"of two that meet all the one with more to spare":      {[][]float64{{0.049, 0.9}, {0.030, 0.9}}, 1},
		"one that may still meet all before one that misses":   {[][]float64{{0.0501, 0.7}, {0.020, nan}}, 1},
		"of those that miss the one whose largest gap is less": {[][]float64{{0.100, 0.7}, {0.060, 0.6}}, 1},
		"the first of equals":                                  {[][]float64{{0.060, 0.8}, {0.060, 0.9}}, 0},
	} {
		if got := Nearest(criteria, c.results); got != c.want {
			t.Errorf("%s: result %d, want %d", name, got, c.want)
		}
	}
}
