package plugin

import (
	"testing"

	"github.com/plancast/plancast/forecast"
)

// A class says how far it is off only where it has enough questions, so that
// nothing is green by luck, and stands beside what was said without correction.
func TestCalibrationSaysHowFarItIsOffWhereItKnows(t *testing.T) {
	r := forecast.Report{Uncorrected: &forecast.Score{}, UncorrectedBins: &[10]forecast.Bin{}}
	r.Bins[2] = forecast.Bin{Questions: 40, Said: 0.25, True: 0.3}
	r.Bins[9] = forecast.Bin{Questions: fewQuestions - 1, Said: 0.95, True: 1}
	r.UncorrectedBins[2] = forecast.Bin{Questions: 12, Said: 0.25, True: 0.75}
	r.UncorrectedBins[5] = forecast.Bin{Questions: 28, Said: 0.55, True: 0.5}
	f := calibration(&r)
	at := func(name string, row int) float64 {
		field, _ := f.FieldByName(name)
		if v, ok := field.ConcreteAt(row); ok {
			return v.(float64)
		}
		return -1
	}
	for name, want := range map[string][3]float64{
		"came true":             {0.3, -1, 1},
		"off by":                {0.05, -1, -1},
		"came true uncorrected": {0.75, 0.5, -1},
		"off by uncorrected":    {0.5, 0.05, -1},
	} {
		for row, w := range want {
			if got := at(name, row); got < w-1e-9 || got > w+1e-9 {
				t.Errorf("%s in row %d is %v, want %v (-1 is none)", name, row, got, w)
			}
		}
	}
	r.Uncorrected, r.UncorrectedBins = nil, nil
	if f := calibration(&r); len(f.Fields) != 5 || f.Rows() != 2 {
		t.Errorf("one series gives %d fields in %d rows; there is nothing uncorrected to show", len(f.Fields), f.Rows())
	}
}
