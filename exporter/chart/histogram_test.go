package chart

import (
	"math"
	"strings"
	"testing"
)

func TestAHistogramIsDrawn(t *testing.T) {
	factor := math.Exp2(1.0 / 32)
	h := Histogram{ID: "h", Title: `Latency of <net> & "co"`, Factor: factor, Buckets: map[int]int64{-300: 10, -299: 80, -290: 9, 0: 1},
		Marks: []Mark{{0.002, "P50 2 ms"}, {0.9, "P99 900 ms"}}}
	bars, total := h.bars()
	if len(bars) > mostBars || total != 100 {
		t.Errorf("%d bars of %d queries", len(bars), total)
	}
	var sum int64
	for i, b := range bars {
		sum += b.count
		if i > 0 && math.Abs(b.low/bars[i-1].high-1) > 1e-9 {
			t.Errorf("a gap before %v", b)
		}
	}
	if sum != total || bars[0].low > math.Pow(factor, -301)*1.001 || bars[len(bars)-1].high < 0.999 {
		t.Errorf("%d queries in bars from %v to %v", sum, bars[0].low, bars[len(bars)-1].high)
	}
	svg := string(h.SVG())
	wellFormed(t, []byte(svg))
	for _, want := range []string{"100 queries between", "P99 900 ms", "&lt;net&gt;", "1 query</title>"} {
		if !strings.Contains(svg, want) {
			t.Errorf("the picture lacks %q", want)
		}
	}
	if n := strings.Count(svg, `class="bin"`); n != 3 { // two neighbors share a bar
		t.Errorf("%d bars are drawn", n)
	}
}

func TestAHistogramOfOneBucketOrNone(t *testing.T) {
	if h := (Histogram{Factor: 2}); !h.Empty() || h.SVG() != "" {
		t.Error("nothing is drawn")
	}
	one := Histogram{ID: "h", Factor: 2, Buckets: map[int]int64{-9: 7}}
	wellFormed(t, []byte(one.SVG()))
	if strings.Contains(string(one.SVG()), "NaN") {
		t.Error("it holds NaN")
	}
}
