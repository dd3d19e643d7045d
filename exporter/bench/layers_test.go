package bench

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/fake"
)

func TestAnEngineIn8BitsInWhichNothingIs(t *testing.T) {
	layer := func(p engine.Precision, quantizable bool) engine.Layer {
		return engine.Layer{Name: "l", Type: "Conv", Precision: p, Quantizable: quantizable}
	}
	for name, c := range map[string]struct {
		precision engine.Precision
		layers    []engine.Layer
		want      string
	}{
		"all that multiplies stayed above":     {engine.INT8, []engine.Layer{layer(engine.FP16, true), layer(engine.FP16, true), layer(engine.INT8, false)}, "none of the 2 layers that multiply runs in 8 bits; the runtime found them faster in FP16"},
		"one of them is":                       {engine.INT8, []engine.Layer{layer(engine.FP16, true), layer(engine.INT8, true)}, ""},
		"nothing multiplies, nothing is 8-bit": {engine.INT8, []engine.Layer{layer(engine.FP32, false)}, "none of the 1 layers that compute runs in 8 bits; the runtime found them faster in FP32"},
		"nothing multiplies, some is 8-bit":    {engine.INT8, []engine.Layer{layer(engine.FP32, false), layer(engine.INT8, false)}, ""},
		"nothing is known":                     {engine.INT8, []engine.Layer{layer("", true)}, ""},
		"another precision":                    {engine.FP16, []engine.Layer{layer(engine.FP32, true)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			j := job(t, fake.Script{Layers: c.layers})
			j.Precision = c.precision
			m, err := Measure(t.Context(), fake.New(), j, nil)
			if err != nil {
				t.Fatal(err)
			}
			warned := strings.Contains(strings.Join(m.Warnings, "\n"), "INT8 had no effect: ")
			if !strings.HasPrefix(m.Layers.NoEffect, c.want) || (c.want == "") != (m.Layers.NoEffect == "") || warned != (c.want != "") {
				t.Errorf("%q, warnings %q; want %q", m.Layers.NoEffect, m.Warnings, c.want)
			}
		})
	}
}

func TestARecordIsBoundedWhateverTheModelIs(t *testing.T) {
	var layers []engine.Layer
	long := strings.Repeat("ü", 5000)
	for i := range mostLayers + 100 {
		layers = append(layers, engine.Layer{Name: fmt.Sprint(i), Type: "Relu"})
	}
	layers[0] = engine.Layer{Name: long, Type: "Relu", Origins: []string{long, long}}
	m, err := Measure(t.Context(), fake.New(), job(t, fake.Script{Layers: layers}), nil)
	if err != nil {
		t.Fatal(err)
	}
	l := m.Layers
	if l.Total != mostLayers+100 || len(l.Layers) != mostLayers || len(l.Layers[0].Name) > mostName || len(l.Layers[0].Origins[1]) > mostName || !utf8.ValidString(l.Layers[0].Name) {
		t.Errorf("%d layers of %d, the first %+v", len(l.Layers), l.Total, l.Layers[0])
	}
	_, err = Measure(t.Context(), fake.New(), job(t, fake.Script{Fault: fake.BuildFailed, Message: long}), nil)
	if e := engine.AsError(err); len(e.Message) > mostMessage || !utf8.ValidString(e.Message) {
		t.Errorf("a message of %d bytes", len(e.Message))
	}
}
