package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/units"
)

func environmentText(e engine.Environment) string {
	parts := []string{strings.TrimSpace(backendTitle(e.Backend) + " " + e.BackendVersion), outside.Line(e.DeviceName(), 80)}
	if e.Cores > 0 {
		parts = append(parts, units.Count(e.Cores, "core"))
	}
	if e.Governor != "" {
		parts = append(parts, "governor "+e.Governor)
	}
	if e.Driver != "" {
		parts = append(parts, "driver "+e.Driver)
	}
	if e.CUDA != "" {
		parts = append(parts, "CUDA "+e.CUDA)
	}
	return outside.Line(strings.Join(append(parts, e.Platform), ", "), 300)
}

func backendTitle(name string) string {
	switch name {
	case "onnxruntime":
		return "ONNX Runtime"
	case "tensorrt":
		return "TensorRT"
	}
	return outside.Line(name, 60)
}

// environmentChange compares the environment that counts with the one before it.
func environmentChange(m *standing.Model) *EnvironmentChange {
	at := slices.IndexFunc(m.History.Series, func(s history.Series) bool { return s.Fingerprint == m.Series.Fingerprint })
	if at < 1 {
		return nil
	}
	now, before := m.Series, m.History.Series[at-1]
	c := &EnvironmentChange{At: now.First.UTC(), From: before.Fingerprint}
	for _, s := range m.History.Series[:at] {
		c.Iterations += len(s.Trials)
	}
	var what []string
	add := func(name, from, to string) {
		if from != to {
			what = append(what, fmt.Sprintf("%s %s became %s", name, cmp.Or(from, "unknown"), cmp.Or(to, "unknown")))
		}
	}
	measured := func(s history.Series) engine.Environment {
		r, _ := m.Environment(s)
		return r.Environment
	}
	a, b := measured(before), measured(now)
	add("the backend", backendTitle(a.Backend), backendTitle(b.Backend))
	if a.Backend == b.Backend {
		add(backendTitle(b.Backend), a.BackendVersion, b.BackendVersion)
	}
	add("the device", outside.Line(a.DeviceName(), 80), outside.Line(b.DeviceName(), 80))
	if a.Cores != b.Cores {
		what = append(what, fmt.Sprintf("%s became %s", units.Count(a.Cores, "core"), units.Count(b.Cores, "core")))
	}
	add("the governor", a.Governor, b.Governor)
	add("the driver", a.Driver, b.Driver)
	add("CUDA", a.CUDA, b.CUDA)
	add("the platform", a.Platform, b.Platform)
	if a.Timing != b.Timing {
		what = append(what, "plancast times queries in another way")
	}
	if len(what) == 0 {
		what = []string{"the benchmark settings or inputs changed"}
	}
	c.What = outside.Line(strings.Join(what, ", "), 400)
	c.Text = fmt.Sprintf("New environment since %s: %s. %s measured before that are not compared.",
		c.At.Format("2 January 2006"), c.What, upperFirst(units.Count(c.Iterations, "iteration")))
	if c.Effect = environmentEffect(before, now); c.Effect != nil {
		c.Text += " The change itself: " + c.Effect.Text + ". Measured apart: whatever else changed on the machine meanwhile is in it."
	}
	return c
}

// environmentEffect says what a change of environment did to the candidates that were
// measured in both; nil without one.
func environmentEffect(before, now history.Series) *EnvironmentEffect {
	e, ok := standing.EffectOn("p99", before, now)
	if !ok {
		return nil
	}
	x := &EnvironmentEffect{Ratio: e.Ratio - 1, Low: num(e.Low - 1), High: num(e.High - 1), Candidates: e.Candidates}
	change := units.Change(x.Ratio)
	switch {
	case x.Low == nil || x.High == nil:
	case *x.Low > 0 || *x.High < 0:
		change = units.ChangeWithin(x.Ratio, *x.Low, *x.High)
	default:
		change += fmt.Sprintf(" (%s to %s)", units.Change(*x.Low), units.Change(*x.High))
	}
	x.Text = fmt.Sprintf("P99 %s over %s", change, units.Count(e.Candidates, "candidate"))
	return x
}
