package plugin

import (
	"strings"
	"testing"

	"github.com/plancast/plancast/tsdb/promtest"
)

// An annotation of an iteration leads to the change; what comes from outside is
// no markup.
func TestAnAnnotationLeadsToTheChange(t *testing.T) {
	h := history()
	for i := range h.Engines {
		if e := h.Engines[i]; e.Model == "resnet50" && e.Precision == "int8" {
			e.Results[2].Author, e.Results[2].Link = "Ann <b>O'Hara</b>", "https://example.org/pull/7?a=1&b=2"
			e.Results[4].Author, e.Results[4].Link = "eve", "javascript:alert(1)"
		}
	}
	s := serve(t, promtest.Start(t, h.OpenMetrics()), nil, nil)
	for name, q := range map[string]query{
		"of a criterion": questions()["annotations"],
		"of iterations":  {"type": "annotations", "models": "resnet50"},
	} {
		r := s.ask(map[string]query{"a": q})["a"]
		if r.Error != nil {
			t.Fatal(r.Error)
		}
		f := r.Frames[0]
		of := map[string]string{}
		for i := range f.Rows() {
			title, _ := f.Fields[1].ConcreteAt(i)
			text, _ := f.Fields[2].ConcreteAt(i)
			of[title.(string)] += text.(string)
		}
		want := `quantization by Ann &lt;b&gt;O&#39;Hara&lt;/b&gt; <a href="https://example.org/pull/7?a=1&amp;b=2" rel="noopener noreferrer" target="_blank">see the change</a>`
		if got := of["resnet50: iteration 3"]; !strings.HasSuffix(got, want) {
			t.Errorf("%s: iteration 3: %q; want it to end with %q", name, got, want)
		}
		if got := of["resnet50: iteration 4"]; strings.Contains(got, "Ann") {
			t.Errorf("%s: iteration 4 has the change of iteration 3: %q", name, got)
		}
		if got := of["resnet50: iteration 5"]; !strings.HasSuffix(got, "quantization by eve") {
			t.Errorf("%s: iteration 5: %q", name, got)
		}
	}
}
