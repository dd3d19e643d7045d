package chart

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/units"
)

// example is a forecast with everything in it.
func example(t *testing.T) (forecast.Series, forecast.Goal, forecast.Forecast) {
	t.Helper()
	s := forecast.Series{Model: `res<net> & "co"`, Criterion: forecast.Criterion{Metric: "p99", Comparison: forecast.Below, Target: 0.05, Unit: units.Seconds}}
	for i, v := range []float64{0.098, 0.091, 0.083, 0.080, 0, 0.071, 0.069, 0.066, 0.061} {
		s.Observations = append(s.Observations, forecast.Observation{Time: time.Date(2026, 10, 5+7*i, 9, 0, 0, 0, time.UTC), Value: v, Valid: v > 0})
	}
	now := s.Observations[8].Time
	g := forecast.Goal{Deadline: now.AddDate(0, 0, 60)}
	f, err := forecast.Single(s, g, now, forecast.Options{Score: true})
	if err != nil {
		t.Fatal(err)
	}
	return s, g, f
}

func wellFormed(t *testing.T, svg []byte) {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
	}
	for _, bad := range []string{"NaN", "Inf", "<script"} {
		if bytes.Contains(svg, []byte(bad)) {
			t.Errorf("%s in\n%s", bad, svg)
		}
	}
}

func TestFan(t *testing.T) {
	s, g, f := example(t)
	var b bytes.Buffer
	if err := Fan(&b, s, f, g); err != nil {
		t.Fatal(err)
	}
	wellFormed(t, b.Bytes())
	for what, n := range map[string]int{`<circle class="dot"`: 8, `<line class="miss"`: 2, `<polygon class="band"`: 1, `class="target"`: 1, `class="due"`: 1, "deadline 2027-01-29": 1, "prefers-color-scheme:dark": 1} {
		if got := strings.Count(b.String(), what); got != n {
			t.Errorf("%d of %s, want %d", got, what, n)
		}
	}
	for name, values := range map[string][]float64{"nothing": nil, "one": {1}, "huge": {-1.7e308, 1.7e308, 1}, "flat": {1, 1, 1, 1}} {
		t.Run(name, func(t *testing.T) {
			s := s
			s.Observations = nil
			for i, v := range values {
				s.Observations = append(s.Observations, forecast.Observation{Time: time.Unix(int64(i)*86400, 0), Value: v, Valid: true})
			}
			f, err := forecast.Single(s, forecast.Goal{}, time.Unix(1e6, 0), forecast.Options{})
			if err != nil {
				t.Fatal(err)
			}
			var b bytes.Buffer
			if err := Fan(&b, s, f, forecast.Goal{}); err != nil {
				t.Fatal(err)
			}
			wellFormed(t, b.Bytes())
		})
	}
}

func TestReliability(t *testing.T) {
	var series []forecast.Series
	for k := range 4 {
		s := forecast.Series{Criterion: forecast.Criterion{Metric: "x", Comparison: forecast.Below}}
		for i := range 40 {
			s.Observations = append(s.Observations, forecast.Observation{Time: time.Unix(int64(i)*86400, 0), Value: 100 / float64(1+i*i*(k+1)%17), Valid: true})
		}
		series = append(series, s)
	}
	for name, r := range map[string]forecast.Report{
		"full":  forecast.Backtest(series, forecast.BacktestOptions{Peers: true}),
		"empty": forecast.Backtest(nil, forecast.BacktestOptions{}),
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			if err := Reliability(&b, r); err != nil {
				t.Fatal(err)
			}
			wellFormed(t, b.Bytes())
		})
	}
}
