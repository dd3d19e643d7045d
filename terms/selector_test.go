package terms

import "testing"

func TestASelectorChoosesByLabels(t *testing.T) {
	gpus := Selector{}.With("job", "plancast").With("device", "NVIDIA H100*", "NVIDIA H2?0")
	if want := `{job="plancast",device=~"NVIDIA H100.*|NVIDIA H2.0"}`; gpus.String() != want {
		t.Errorf("as PromQL it is %s, want %s", gpus, want)
	}
	for _, c := range []struct {
		name        string
		job, device string
		want        bool
	}{
		{"all labels match", "plancast", "NVIDIA H100 80GB HBM3", true},
		{"the second pattern matches", "plancast", "NVIDIA H200", true},
		{"one label does not match", "staging", "NVIDIA H200", false},
		{"a pattern is about the whole value", "plancast", "an NVIDIA H200", false},
		{"a label is missing", "plancast", "", false},
	} {
		labels := map[string]string{"job": c.job}
		if c.device != "" {
			labels["device"] = c.device
		}
		if got := gpus.Matches(labels); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
	if !(Selector{}).Matches(nil) {
		t.Error("the selector without a condition does not choose everything")
	}
	if literal := (Selector{}).With("path", "a.b|c"); literal.Matches(map[string]string{"path": "axb|c"}) || literal.Matches(map[string]string{"path": "c"}) {
		t.Error("what is no wildcard is taken for a regular expression")
	}
}
