package iterations

import (
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/plancast/plancast/tsdb/prom"
)

// environment is one that was published for model a.
func environment(fingerprint, text string) prom.Series {
	return series(label("model", "a", "fingerprint", fingerprint), text)
}

func TestTheEnvironmentThatCountsIsTheOneThatIsPublished(t *testing.T) {
	for _, c := range []struct {
		name   string
		series []prom.Series
		at     int64 // seconds; 0 is the end
		want   string
		since  int64
	}{
		{"none: an exporter that does not say", nil, 0, "", 0},
		{"one", []prom.Series{environment("old", "60:1")}, 0, "old", 60},
		{"before it began", []prom.Series{environment("old", "60:1")}, 30, "", 0},
		{"another that took its place", []prom.Series{environment("old", "60:1 600:gone"), environment("new", "600:1")}, 0, "new", 600},
		{"the one before, at an earlier moment", []prom.Series{environment("old", "60:1 600:gone"), environment("new", "600:1")}, 300, "old", 60},
		{"the last, while the exporter is down", []prom.Series{environment("old", "60:1 600:gone"), environment("new", "600:1 900:gone")}, 1200, "new", 600},
		{"one that came back", []prom.Series{environment("old", "60:1 600:gone 900:1"), environment("new", "600:1 900:gone")}, 0, "old", 900},
		{"two exporters on two machines", []prom.Series{environment("one", "60:1"), environment("two", "600:1")}, 0, "", 0},
		{"the first of two exporters, before the second began", []prom.Series{environment("one", "60:1"), environment("two", "600:1")}, 300, "one", 60},
		{"one that is not 1", []prom.Series{environment("none", "60:0")}, 0, "", 0},
	} {
		at := time.Time{}
		if c.at > 0 {
			at = time.Unix(c.at, 0)
		}
		name, since := NewEnvironments(c.series, "fingerprint").At(at)
		if name != c.want || name != "" && since.Unix() != c.since {
			t.Errorf("%s: got %q since %d, want %q since %d", c.name, name, since.Unix(), c.want, c.since)
		}
	}
}

func TestAFailureBelongsToTheEnvironmentThatCounts(t *testing.T) {
	l := label("model", "a", "precision", "int8")
	measured := l.Clone()
	measured["fingerprint"] = "old"
	moved := []prom.Series{environment("old", "0:1 900:gone"), environment("new", "900:1")}
	for name, c := range map[string]struct {
		counting []prom.Series
		labels   model.Metric
		want     string
	}{
		"one without any result":              {moved, l, "1@0=5/old 2@600=4/old 3@900!/new"},
		"the one that is measured":            {moved[:1], l, "1@0=5/old 2@600=4/old 3@900!/old"},
		"an exporter that does not say":       {nil, l, "1@0=5/old 2@600=4/old 3@900!/old"},
		"a label of the values names it well": {moved, measured, "1@0=5/old 2@600=4/old 3@900!/old"},
	} {
		e := Joins{
			Numbers: NewJoin([]prom.Series{series(l, "0:1 600:2 900:gone")}), Built: NewJoin([]prom.Series{series(l, "0:1 900:0")}), Step: time.Minute,
			Environments: NewJoin([]prom.Series{series(measured, "0:1 900:gone")}), EnvironmentLabel: "fingerprint", Counting: NewJoin(c.counting),
		}
		its, _ := Rebuild(series(c.labels, "0:5 600:4 900:gone"), e)
		if got := format(its); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, c.want)
		}
	}
}

func TestAnEnvironmentThatComesBackTakesNothingBack(t *testing.T) {
	l := label("model", "a", "precision", "int8")
	of := func(fingerprint, text string) prom.Series {
		m := l.Clone()
		m["fingerprint"] = model.LabelValue(fingerprint)
		return series(m, text)
	}
	e := Joins{
		Numbers: NewJoin([]prom.Series{series(l, "1000:1 1600:2 1900:1")}), Times: NewJoin([]prom.Series{series(l, "1000:999 1600:1595 1900:999")}), Step: time.Minute,
		Environments: NewJoin([]prom.Series{of("old", "1000:1 1600:gone 1900:1"), of("new", "1600:1 1900:gone")}), EnvironmentLabel: "fingerprint",
	}
	its, _ := Rebuild(series(l, "1000:5 1600:4 1900:5"), e)
	if got, want := format(its), "1@999=5/old 2@1595=4/new"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
