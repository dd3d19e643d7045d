// Package frames shapes answers as Grafana's data plane contract wants them
// (version 0.1), so that panels, alert rules and expressions read them without
// help: https://grafana.github.io/dataplane/contract.
package frames

import (
	"math"
	"sort"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/data"
	"github.com/prometheus/common/model"

	"github.com/plancast/plancast/units"
)

var version = data.FrameTypeVersion{0, 1}

// Labels are the labels of a series, without its metric's name.
func Labels(m model.Metric) data.Labels {
	out := data.Labels{}
	for n, v := range m {
		if n != model.MetricNameLabel {
			out[string(n)] = string(v)
		}
	}
	return out
}

// With is a copy of labels with pairs added.
func With(l data.Labels, pairs ...string) data.Labels {
	out := l.Copy()
	if out == nil {
		out = data.Labels{}
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		out[pairs[i]] = pairs[i+1]
	}
	return out
}

// Number is a value, or null when there is none.
func Number(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// Numeric is one number with labels (NumericMulti).
func Numeric(name string, labels data.Labels, v *float64, config *data.FieldConfig) *data.Frame {
	f := data.NewField(name, labels, []*float64{v})
	f.Config = config
	frame := data.NewFrame(name, f)
	frame.Meta = &data.FrameMeta{Type: data.FrameTypeNumericMulti, TypeVersion: version}
	return frame
}

// Series is one series of numbers over time with labels (TimeSeriesMulti).
func Series(name string, labels data.Labels, times []time.Time, values []*float64, config *data.FieldConfig) *data.Frame {
	f := data.NewField(name, labels, values)
	f.Config = config
	frame := data.NewFrame(name, data.NewField("time", nil, times), f)
	frame.Meta = &data.FrameMeta{Type: data.FrameTypeTimeSeriesMulti, TypeVersion: version}
	return frame
}

// None is the answer "no data" of a kind.
func None(kind data.FrameType) *data.Frame {
	frame := data.NewFrame("")
	frame.Meta = &data.FrameMeta{Type: kind, TypeVersion: version}
	return frame
}

// Percent is how probabilities and shares are shown.
func Percent(name string) *data.FieldConfig {
	min, max := data.ConfFloat64(0), data.ConfFloat64(1)
	decimals := uint16(0)
	return &data.FieldConfig{DisplayNameFromDS: name, Unit: "percentunit", Min: &min, Max: &max, Decimals: &decimals}
}

// Plain is a number in one of Grafana's units.
func Plain(name, unit string) *data.FieldConfig {
	return &data.FieldConfig{DisplayNameFromDS: name, Unit: unit}
}

// Neutral is Plain for a value that is neither good nor bad: thresholds do not
// color it.
func Neutral(name, unit string) *data.FieldConfig {
	c := Plain(name, unit)
	c.Color = map[string]any{"mode": "fixed", "fixedColor": "text"}
	return c
}

// Unit is Grafana's name of a base unit.
func Unit(u units.Unit) string {
	switch u {
	case units.Seconds:
		return "s"
	case units.Ratio:
		return "percentunit"
	case units.Bytes:
		return "bytes"
	case units.PerSec:
		return "reqps"
	}
	return ""
}

// Names gives each label set a short name: the values of the labels in which
// the sets differ, the fallback when they do not, or what a legend such as
// "{{model}}" makes of it.
func Names(sets []data.Labels, legend string, fallback func(int) string) []string {
	out := make([]string, len(sets))
	if legend != "" && legend != "__auto" {
		for i, l := range sets {
			out[i] = Legend(legend, l)
		}
		return out
	}
	differ := map[string]bool{}
	for _, l := range sets {
		for n, v := range l {
			for _, m := range sets {
				if w, ok := m[n]; !ok || w != v {
					differ[n] = true
					break
				}
			}
			_ = v
		}
		if len(sets) > 50 && len(differ) == len(l) {
			break
		}
	}
	for i, l := range sets {
		var parts []string
		names := make([]string, 0, len(l))
		for n := range l {
			if differ[n] {
				names = append(names, n)
			}
		}
		sort.Slice(names, func(a, b int) bool {
			// The model comes first: it is what people look for.
			if (names[a] == "model") != (names[b] == "model") {
				return names[a] == "model"
			}
			return names[a] < names[b]
		})
		for _, n := range names {
			parts = append(parts, l[n])
		}
		out[i] = strings.Join(parts, " ")
		if out[i] == "" {
			out[i] = fallback(i)
		}
	}
	return out
}

// Legend replaces {{label}} by the label's value.
func Legend(legend string, l data.Labels) string {
	var b strings.Builder
	for {
		i := strings.Index(legend, "{{")
		if i < 0 {
			break
		}
		j := strings.Index(legend[i:], "}}")
		if j < 0 {
			break
		}
		b.WriteString(legend[:i])
		b.WriteString(l[strings.TrimSpace(legend[i+2:i+j])])
		legend = legend[i+j+2:]
	}
	b.WriteString(legend)
	return b.String()
}

// Info and Warn add a notice to the first frame.
func Info(f *data.Frame, text string) { notice(f, data.NoticeSeverityInfo, text) }

// Warn adds a warning.
func Warn(f *data.Frame, text string) { notice(f, data.NoticeSeverityWarning, text) }

func notice(f *data.Frame, s data.NoticeSeverity, text string) {
	if f.Meta == nil {
		f.Meta = &data.FrameMeta{}
	}
	f.Meta.Notices = append(f.Meta.Notices, data.Notice{Severity: s, Text: text})
}
