package forecasting

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/units"
)

// Basis is how the results of a forecast were read.
type Basis struct {
	// LookBack is how far back results count; 0 is all the way.
	LookBack time.Duration
	Notes    []string // what a reader should know
}

// Answer is a forecast as JSON, with how its results were read.
type Answer struct {
	forecast.Forecast
	Basis
}

// MarshalJSON adds look_back_seconds and notes to the forecast's own fields.
func (a Answer) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		forecast.Forecast
		LookBack float64  `json:"look_back_seconds,omitempty"`
		Notes    []string `json:"notes,omitempty"`
	}{a.Forecast, a.LookBack.Seconds(), a.Notes})
}

// WriteText writes a forecast for people, a fact a line.
func WriteText(w io.Writer, f forecast.Forecast, basis Basis, unit units.Unit) error {
	b := bufio.NewWriter(w)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(b, "%-14s %s\n", name, fmt.Sprintf(format, args...))
	}
	fmt.Fprintf(b, "%s\n", f.Summary)
	for _, a := range f.Advice {
		fmt.Fprintf(b, "%s\n", a)
	}
	fmt.Fprintln(b)
	line("state", "%s", f.State)
	if f.Attained != nil {
		line("attained", "%s of the way", units.Percent(*f.Attained))
	}
	for _, n := range []int{1, 3, 5, 10, 20} {
		if n <= len(f.Within) && !f.Met {
			line(fmt.Sprintf("within %d", n), "%s", f.Within[n-1])
		}
	}
	if f.ByDeadline != nil && !f.Met {
		line("by deadline", "%s", f.ByDeadline)
	}
	if !f.Met {
		for _, d := range f.When {
			line(fmt.Sprintf("%s by", units.Percent(d.Quantile)), "%s", d.Time.Format(time.DateOnly))
		}
		if f.Limit != nil {
			line("in the long run", "%s within %d further iterations", units.Percent(f.Limit.Chance), forecast.LongRun)
		}
	}
	if len(f.Bands) > 0 {
		line("next value", "%s (80 %%: %s to %s)", units.Format(f.Bands[0].Median, unit), units.Format(f.Bands[0].Low, unit), units.Format(f.Bands[0].High, unit))
	}
	if len(f.Parts) > 1 {
		fmt.Fprintln(b)
		for _, p := range f.Parts {
			odds := string(p.Forecast.State)
			if p.Forecast.Probability != nil && !p.Forecast.Met {
				odds = p.Forecast.Probability.String()
			}
			fmt.Fprintf(b, "%-24s %-32s %s\n", p.Model, p.Criterion, odds)
		}
	}
	fmt.Fprintln(b)
	e := f.Basis
	of := ""
	if basis.LookBack > 0 {
		of = " of " + terms.FormatLookBack(basis.LookBack)
	}
	pace := "about one iteration every " + units.Format(e.PerIteration, units.Seconds)
	if e.Observations < 2 { // nothing shows how often they come
		pace = "one iteration a day is assumed"
	}
	line("evidence", "%s%s, %s missed, %s", units.Count(e.Observations, "result"), of, units.Number(float64(e.Missed)), pace)
	if s := e.Score; s != nil {
		line("own record", "Brier %.3f, skill %+.2f against the base rate, calibration error %s", s.Brier, s.Skill, units.Format(s.CalibrationError, units.Ratio))
	}
	for _, x := range append(slices.Clone(e.Warnings), basis.Notes...) {
		line("note", "%s", x)
	}
	return b.Flush()
}

// WriteReport writes a back-test for people.
func WriteReport(w io.Writer, r forecast.Report) error {
	b := bufio.NewWriter(w)
	s := r.Plancast
	if s.Questions == 0 {
		fmt.Fprintln(b, "No history is long enough to ask about.")
		return b.Flush()
	}
	fmt.Fprintf(b, "%s questions on %s histories; %s came true\n", units.Number(float64(s.Questions)), units.Number(float64(r.Series)), units.Percent(s.HitRate))
	if r.Skipped > 0 {
		fmt.Fprintf(b, "Histories too short to ask about: %s\n", units.Number(float64(r.Skipped)))
	}
	fmt.Fprintf(b, "\n%-14s %8s %8s %9s %12s\n", "method", "Brier", "skill", "log loss", "calibration")
	row := func(name string, s forecast.Score) {
		fmt.Fprintf(b, "%-14s %8.4f %+8.3f %9.4f %12.4f\n", name, s.Brier, s.Skill, s.LogLoss, s.CalibrationError)
	}
	row("plancast", s)
	for _, p := range r.Peers {
		row(p.Name, p.Score)
	}
	if s.Coverage != nil {
		fmt.Fprintf(b, "\n80 %% bands cover %s of the values", units.Percent(*s.Coverage))
		if s.Pinball != nil {
			fmt.Fprintf(b, "; their pinball loss is %.2f of repeating the last value", *s.Pinball)
		}
		fmt.Fprintln(b)
	}
	fmt.Fprintf(b, "\n%-14s %8s %8s %9s\n", "said", "asked", "mean", "came true")
	for i, x := range r.Bins {
		if x.Questions > 0 {
			fmt.Fprintf(b, "%2d-%3d %%       %8d %8.3f %9.3f\n", 10*i, 10*(i+1), x.Questions, x.Said, x.True)
		}
	}
	return b.Flush()
}
