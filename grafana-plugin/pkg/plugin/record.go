package plugin

import (
	"context"
	"fmt"
	"math"

	"github.com/grafana/grafana-plugin-sdk-go/data"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/grafana-plugin/pkg/frames"
	"github.com/plancast/plancast/grafana-plugin/pkg/models"
)

// record answers with how well forecasts on these very histories came true.
func (d *Datasource) record(ctx context.Context, a *request) (data.Frames, error) {
	if err := d.load(ctx, a); err != nil {
		return nil, err
	}
	var series []forecast.Series
	for _, s := range a.history.Series {
		series = append(series, s.Forecast(a.Fingerprint, noTime))
	}
	r := forecast.Backtest(series, forecast.BacktestOptions{})
	if r.Plancast.Questions == 0 {
		f := frames.None(data.FrameTypeNumericMulti)
		frames.Warn(f, fmt.Sprintf("none of %s is long enough for a back-test: it needs at least 9 iterations", count(len(series), "history", "histories")))
		return data.Frames{f}, nil
	}
	if a.Show == models.ShowCalibration {
		return data.Frames{calibration(&r)}, nil
	}
	s := r.Plancast
	var out data.Frames
	add := func(measure, title string, v *float64, unit string, decimals uint16) {
		c := frames.Neutral(title, unit)
		c.Decimals = &decimals
		out = append(out, frames.Numeric("score", data.Labels{"measure": measure}, v, c))
	}
	add("brier", "Brier score", frames.Number(s.Brier), "none", 3)
	add("skill", "skill against the base rate", frames.Number(s.Skill), "percentunit", 0)
	add("log_loss", "log loss", frames.Number(s.LogLoss), "none", 3)
	add("calibration_error", "calibration error", frames.Number(s.CalibrationError), "none", 3)
	if s.Coverage != nil {
		add("coverage", "values within the 80 % band", frames.Number(*s.Coverage), "percentunit", 0)
	}
	add("questions", "questions looked back on", frames.Number(float64(s.Questions)), "none", 0)
	frames.Info(out[0], fmt.Sprintf("back-test over %s: each forecast against what happened", count(r.Series, "history", "histories")))
	if r.Skipped > 0 {
		frames.Info(out[0], fmt.Sprintf("%s too short and skipped", count(r.Skipped, "history was", "histories were")))
	}
	return out, nil
}

// fewQuestions are too few to say how far a class of forecasts is off.
const fewQuestions = 10

// calibration is the reliability diagram as a table: what was said against
// what came true, by class, and what would have come true without the correction
// by the other series.
func calibration(r *forecast.Report) *data.Frame {
	var class []string
	var said, came, off, before, offBefore []*float64
	var questions []int64
	for i, b := range r.Bins {
		var u forecast.Bin
		if r.UncorrectedBins != nil {
			u = r.UncorrectedBins[i]
		}
		if b.Questions+u.Questions == 0 {
			continue
		}
		class = append(class, fmt.Sprintf("%d-%d %%", 10*i, 10*(i+1)))
		said, came, off = append(said, known(b, b.Said, 1)), append(came, known(b, b.True, 1)), append(off, known(b, math.Abs(b.True-b.Said), fewQuestions))
		before, offBefore = append(before, known(u, u.True, 1)), append(offBefore, known(u, math.Abs(u.True-u.Said), fewQuestions))
		questions = append(questions, int64(b.Questions))
	}
	f := data.NewFrame("calibration", data.NewField("said", nil, class), data.NewField("mean probability", nil, said),
		data.NewField("came true", nil, came), data.NewField("questions", nil, questions), data.NewField("off by", nil, off))
	if r.UncorrectedBins != nil {
		f.Fields = append(f.Fields, data.NewField("came true uncorrected", nil, before), data.NewField("off by uncorrected", nil, offBefore))
	}
	for _, x := range f.Fields[1:] {
		if x.Name != "questions" {
			x.Config = frames.Percent("")
		}
	}
	f.Meta = &data.FrameMeta{Type: data.FrameTypeTable, TypeVersion: data.FrameTypeVersion{0, 1}}
	text := fmt.Sprintf("calibration error %.3f over %s", r.Plancast.CalibrationError, count(r.Plancast.Questions, "question", "questions"))
	if r.Uncorrected != nil {
		text += fmt.Sprintf(", %.3f without the correction by the other series", r.Uncorrected.CalibrationError)
	}
	frames.Info(f, text)
	return f
}

// known is a figure of a class that has at least that many questions; else nil.
func known(b forecast.Bin, v float64, questions int) *float64 {
	if b.Questions < questions {
		return nil
	}
	return &v
}
