package iterations

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/plancast/plancast/tsdb/prom"
)

// points reads "0:1 60:2 120:gone 180:nan": seconds and what is there.
func points(text string) []prom.Point {
	var out []prom.Point
	for _, f := range strings.Fields(text) {
		var t int64
		var v string
		if _, err := fmt.Sscanf(strings.Replace(f, ":", " ", 1), "%d %s", &t, &v); err != nil {
			panic(f)
		}
		p := prom.Point{T: 1000 * t}
		switch v {
		case "gone":
			p.Gone = true
		case "nan":
			p.V = math.NaN()
		default:
			if _, err := fmt.Sscan(v, &p.V); err != nil {
				panic(f)
			}
		}
		out = append(out, p)
	}
	return out
}

func series(labels model.Metric, text string) prom.Series {
	return prom.Series{Labels: labels, Points: points(text)}
}

func label(pairs ...string) model.Metric {
	m := model.Metric{}
	for i := 0; i < len(pairs); i += 2 {
		m[model.LabelName(pairs[i])] = model.LabelValue(pairs[i+1])
	}
	return m
}

// format writes iterations as "number@seconds=value", "!" for a missed one.
func format(its []Iteration) string {
	var out []string
	for _, it := range its {
		s := fmt.Sprintf("%g@%d=%g", it.Number, it.Time.Unix(), it.Value)
		if !it.Valid {
			s = fmt.Sprintf("%g@%d!", it.Number, it.Time.Unix())
		}
		if it.Environment != "" {
			s += "/" + it.Environment
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func TestOneObservationForEachIteration(t *testing.T) {
	for _, c := range []struct {
		name, value, number, time, want string
	}{
		{"a value that stays is one iteration, not many", "0:5 600:4", "0:1 600:2", "", "1@0=5 2@600=4"},
		{"two iterations with the same value are two", "0:5", "0:1 600:2", "", "1@0=5 2@600=5"},
		{"the result's own time counts, not the scrape's", "0:5 600:4", "0:1 600:2", "0:-1 600:595", "1@0=5 2@595=4"},
		{"a time in the future is not believed", "600:4", "600:2", "600:99999", "2@600=4"},
		{"a scrape gap changes nothing", "0:5 300:gone 600:5 900:4", "0:1 300:gone 600:1 900:2", "", "1@0=5 2@900=4"},
		{"a gap over the change is bridged", "0:5 300:gone 900:4", "0:1 300:gone 900:2", "", "1@0=5 2@900=4"},
		{"a jump of the number stands for missed iterations", "0:5 900:4", "0:1 900:4", "", "1@0=5 2@300! 3@600! 4@900=4"},
		{"an iteration without a value is missed", "0:5 600:gone 900:4", "0:1 600:2 900:3", "", "1@0=5 2@600! 3@900=4"},
		{"one whose value of before is still seen for five minutes is missed", "0:5 900:gone 1200:4", "0:1 600:2 1200:3", "", "1@0=5 2@600! 3@1200=4"},
		{"an equal value that ends with the number counts", "0:5 900:gone 1200:4", "0:1 600:2 900:gone 1200:3", "", "1@0=5 2@600=5 3@1200=4"},
		{"an equal value that ends later counts", "0:5 1200:gone 1800:4", "0:1 600:2 1800:3", "", "1@0=5 2@600=5 3@1800=4"},
		{"a value that is not a number is missed", "0:5 600:nan 900:4", "0:1 600:2 900:3", "", "1@0=5 2@600! 3@900=4"},
		{"nothing before the first value counts", "600:4", "0:1 600:2", "", "2@600=4"},
		{"a second value in one iteration replaces the first", "0:5 300:6 600:4", "0:1 600:2", "", "1@0=6 2@600=4"},
		{"numbers that start again are new iterations", "0:5 600:4 900:7 1200:6", "0:1 600:2 900:1 1200:2", "", "1@0=5 2@600=4 1@900=7 2@1200=6"},
		{"an earlier result shown again is not a new one", "0:5 600:4 900:5 1200:3", "0:1 600:2 900:1 1200:3", "", "1@0=5 2@600=4 3@1200=3"},
		{"a result after which an earlier one is shown again was excluded", "1000:5 1600:4 1900:5 2200:3", "1000:1 1600:2 1900:1 2200:3", "1000:999 1600:1595 1900:999 2200:2195", "1@999=5 3@2195=3"},
		{"one that is shown once more after that was restored", "1000:5 1600:4 1900:5 2200:4", "1000:1 1600:2 1900:1 2200:2", "1000:999 1600:1595 1900:999 2200:1595", "1@999=5 2@1595=4"},
		{"failures before an excluded result stay", "1000:5 1900:4 2200:5", "1000:1 1900:3 2200:1", "1000:999 1900:1899 2200:999", "1@999=5 2@1449!"},
		{"a number that starts again forgets the results before", "0:5 600:4 900:7 1200:4", "0:1 600:2 900:1 1200:2", "", "1@0=5 2@600=4 1@900=7 2@1200=4"},
		{"a number that is measured again is a new result", "0:5 600:4 660:5 720:3", "0:1 600:2 660:1 720:2", "", "1@0=5 2@600=4 2@720=3"},
		{"a candidate that was measured again has another time", "1000:5 4600:4", "1000:1", "1000:999 4600:4500", "1@4500=4"},
		{"the number of the first iteration is no jump", "0:5", "0:4", "", "4@0=5"},
		{"a number that is not one is a gap", "0:5 600:4", "0:1 300:nan 600:2", "", "1@0=5 2@600=4"},
		{"an infinite value is missed", "0:5 600:+Inf 900:4", "0:1 600:2 900:3", "", "1@0=5 2@600! 3@900=4"},
		{"a time that no clock shows is not believed", "600:4", "600:2", "600:1e300", "2@600=4"},
		{"a gap divides no iteration", "0:5 300:gone 400:6", "0:1 300:gone 400:1", "", "1@0=6"},
		{"two replicas out of step do not multiply", "0:5 600:4 660:5 720:4", "0:1 600:2 660:1 720:2", "", "1@0=5 2@600=4"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := label("model", "resnet50", "precision", "int8")
			e := Joins{Numbers: NewJoin([]prom.Series{series(l, c.number)}), Step: time.Minute}
			if c.time != "" {
				e.Times = NewJoin([]prom.Series{series(l, c.time)})
			}
			its, notes := Rebuild(series(l, c.value), e)
			if got := format(its); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if restarted := strings.Contains(c.name, "start"); (len(notes) > 0) != restarted || restarted && !strings.Contains(notes[0], "restarted once") {
				t.Errorf("notes: %q", notes)
			}
			for _, it := range its {
				if it.NoEffect || it.Disturbed {
					t.Errorf("without evidence for it, an iteration is disturbed or without effect: %+v", it)
				}
			}
		})
	}
}

func TestOtherWaysToDistinguishIterations(t *testing.T) {
	s := series(label("model", "a"), "0:5 60:5 120:nan 180:5 240:4 300:gone 360:4 420:3")
	for _, c := range []struct {
		by   By
		want string
	}{
		{ByChange, "1@0=5 2@240=4 3@420=3"},
		{BySample, "1@0=5 2@60=5 3@120! 4@180=5 5@240=4 6@360=4 7@420=3"},
	} {
		its, _ := Rebuild(s, Joins{By: c.by})
		if got := format(its); got != c.want {
			t.Errorf("by %s:\ngot  %s\nwant %s", c.by, got, c.want)
		}
	}
	its, notes := Rebuild(s, Joins{By: BySeries})
	if format(its) != "1@0=5 2@240=4 3@420=3" || len(notes) != 1 || !strings.Contains(notes[0], "no iteration series matches") {
		t.Errorf("without an iteration series: %s, %q", format(its), notes)
	}
}

func TestAFailureAfterTheNewestResultIsAMissedIteration(t *testing.T) {
	l := label("model", "a")
	for _, c := range []struct{ name, value, built, want string }{
		{"a failure", "0:5 600:4", "0:1 900:0", "1@0=5 2@600=4 3@900!"},
		{"a failure before the newest result", "0:5 600:4", "0:1 300:0", "1@0=5 2@600=4"},
		{"a failure at the newest result", "0:5 600:4", "0:1 600:0", "1@0=5 2@600=4"},
		{"a failure that was put right", "0:5 600:4", "0:1 900:0 1200:1", "1@0=5 2@600=4"},
		{"a build that ended its series", "0:5 600:4", "0:0 900:gone", "1@0=5 2@600=4"},
		{"a failure without any result", "", "0:0 900:0", ""},
	} {
		number := "0:1 600:2"
		if c.value == "" {
			number = "0:1"
		}
		e := Joins{Numbers: NewJoin([]prom.Series{series(l, number)}), Step: time.Minute, Built: NewJoin([]prom.Series{series(l, c.built)})}
		its, _ := Rebuild(series(l, c.value), e)
		if got := format(its); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

func TestOnlyAJumpThatCanBeBelievedStandsForMissedIterations(t *testing.T) {
	l := label("model", "a")
	for to, missed := range map[int]int{2: 0, 3: 1, maxMissed + 2: maxMissed, maxMissed + 3: 0} {
		its, _ := Rebuild(series(l, "0:5 600:4"), Joins{Numbers: NewJoin([]prom.Series{series(l, fmt.Sprintf("0:1 600:%d", to))})})
		if len(its) != missed+2 {
			t.Errorf("from 1 to %d: %d iterations, want %d", to, len(its), missed+2)
		}
	}
}

func TestResultsAreDatedToTheMillisecond(t *testing.T) {
	if got, want := moment(1.2346), time.UnixMilli(1235).UTC(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestACandidateIsFinishedWhenItsLastPrecisionIs(t *testing.T) {
	fp16, int8 := label("model", "a", "precision", "fp16"), label("model", "a", "precision", "int8")
	e := Joins{
		Numbers: NewJoin([]prom.Series{series(fp16, "60:1 660:2"), series(int8, "120:1 720:2")}),
		Times:   NewJoin([]prom.Series{series(fp16, "60:50 660:650"), series(int8, "120:110 720:710")}),
		Step:    time.Minute,
	}
	its, _ := Rebuild(series(fp16, "60:5 660:4"), e)
	if got, want := format(its), "1@110=5 2@710=4"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// The same numbers of another time, here after they started again, are other candidates.
	e.Numbers = NewJoin([]prom.Series{series(fp16, "60:1 660:9"), series(int8, "60:9 660:1")})
	e.Times = NewJoin([]prom.Series{series(fp16, "60:50 660:650"), series(int8, "60:55 660:655")})
	its, _ = Rebuild(series(fp16, "60:5 660:4"), e)
	if got, want := format(slices.DeleteFunc(its, func(it Iteration) bool { return !it.Valid })), "1@50=5 9@650=4"; got != want {
		t.Errorf("numbers of another time: got %s, want %s", got, want)
	}
}

func TestEnvironments(t *testing.T) {
	l := label("model", "a", "precision", "int8")
	with := func(fingerprint string) model.Metric {
		m := l.Clone()
		m["fingerprint"] = model.LabelValue(fingerprint)
		return m
	}
	e := Joins{
		Numbers: NewJoin([]prom.Series{series(l, "0:1 600:2 1200:1 1800:2")}), EnvironmentLabel: "fingerprint",
		Environments: NewJoin([]prom.Series{series(with("old"), "0:1 1200:gone"), series(with("new"), "1200:1")}),
	}
	its, _ := Rebuild(series(l, "0:5 600:4 1200:7 1800:6"), e)
	if got, want := format(its), "1@0=5/old 2@600=4/old 1@1200=7/new 2@1800=6/new"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	// One that ended names what follows it, the first what came before it; one
	// that is not 1 is none.
	e.Environments = NewJoin([]prom.Series{
		series(with("first"), "60:1 300:gone 1500:1 1600:gone"), series(with("none"), "0:0 700:0"), series(with("second"), "1200:1 1900:gone"),
	})
	its, _ = Rebuild(series(l, "0:5 600:4 1200:7 1800:6"), e)
	if got, want := format(its), "1@0=5/first 2@600=4/first 1@1200=7/second 2@1800=6/second"; got != want {
		t.Errorf("with gaps: got %s, want %s", got, want)
	}
	e.Environments = NewJoin([]prom.Series{series(with("second"), "100:1 200:gone"), series(with("first"), "0:1 50:gone")})
	its, _ = Rebuild(series(l, "0:5 600:4"), e)
	if got, want := format(its[:2]), "1@0=5/first 2@600=4/second"; got != want {
		t.Errorf("after all ended: got %s, want %s", got, want)
	}
	// Of several that hold, the newest; of two that began together, the last by name.
	e.Environments = NewJoin([]prom.Series{series(with("newest"), "600:1 1200:gone"), series(with("b"), "0:1"), series(with("a"), "0:1")})
	its, _ = Rebuild(series(l, "0:5 600:4 1200:7 1800:6"), e)
	if got, want := format(its), "1@0=5/b 2@600=4/newest 1@1200=7/b 2@1800=6/b"; got != want {
		t.Errorf("several: got %s, want %s", got, want)
	}
	own := label("model", "a", "gpu", "L4")
	its, _ = Rebuild(series(own, "0:5 600:4"), Joins{By: ByChange, EnvironmentLabel: "gpu"})
	if got, want := format(its), "1@0=5/L4 2@600=4/L4"; got != want {
		t.Errorf("by a label of its own: got %s, want %s", got, want)
	}
}

func TestUnquantizedLayersAreAConcernWhenTheyGrow(t *testing.T) {
	l := label("model", "a")
	e := Joins{
		Numbers: NewJoin([]prom.Series{series(l, "0:1 600:2 1200:3")}), Unquantized: NewJoin([]prom.Series{series(l, "0:0 600:12")}),
	}
	its, _ := Rebuild(series(l, "0:5 600:4 1200:3"), e)
	var got []string
	for _, it := range its {
		got = append(got, it.Concern)
	}
	if want := []string{"", "12 layers stayed unquantized", ""}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOfSeveralIterationSeriesTheNewestCounts(t *testing.T) {
	l := label("model", "a")
	by := func(instance string) model.Metric { return label("model", "a", "instance", instance) }
	for _, c := range []struct {
		name  string
		fit   []prom.Series
		want  string
		doubt bool
	}{
		{"they agree", []prom.Series{series(by("x"), "0:1 600:2"), series(by("y"), "0:1 600:2")}, "1@0=5 2@600=4", false},
		{"one ended", []prom.Series{series(by("x"), "0:1 600:2"), series(by("y"), "0:7 300:gone")}, "1@0=5 2@600=4", true},
		{"one ended, and comes first", []prom.Series{series(by("y"), "0:7 300:gone"), series(by("x"), "0:1 600:2")}, "1@0=5 2@600=4", true},
		{"one counts further", []prom.Series{series(by("x"), "0:1 600:2"), series(by("y"), "0:4 600:5")}, "4@0=5 5@600=4", true},
		{"one counts further, and comes first", []prom.Series{series(by("y"), "0:4 600:5"), series(by("x"), "0:1 600:2")}, "4@0=5 5@600=4", true},
		{"one has no number, and comes last", []prom.Series{series(by("x"), "0:1 600:2"), series(by("y"), "0:nan")}, "1@0=5 2@600=4", false},
		{"one has no number", []prom.Series{series(by("y"), "0:nan"), series(by("x"), "0:1 600:2")}, "1@0=5 2@600=4", false},
	} {
		its, notes := Rebuild(series(l, "0:5 600:4"), Joins{Numbers: NewJoin(c.fit)})
		if got := format(its); got != c.want || (len(notes) == 1 && strings.Contains(notes[0], "several iteration series match")) != c.doubt {
			t.Errorf("%s: got %s, want %s; notes %q", c.name, got, c.want, notes)
		}
	}
}

func TestJoin(t *testing.T) {
	j := NewJoin([]prom.Series{
		series(label("model", "a", "precision", "fp16"), "0:1"),
		series(label("model", "a", "precision", "int8"), "0:2"),
		series(label("model", "b", "precision", "int8"), "0:3"),
	})
	for _, c := range []struct {
		labels model.Metric
		want   int
	}{
		{label("model", "a", "precision", "int8", "quantile", "0.99"), 1},
		{label("model", "a"), 2},
		{label("model", "a", "precision", "fp32"), 0},
		{label("model", "c"), 0},
		{label("host", "x"), 0},
	} {
		if got := len(j.Of(c.labels)); got != c.want {
			t.Errorf("%s fits %d series, want %d", c.labels, got, c.want)
		}
	}
	hiding := NewJoin([]prom.Series{
		series(label("model", "a"), "0:1"), series(label("model", "a", "precision", "int8", "device", "x"), "0:2"),
		series(label("model", "a", "precision", "int8", "device", "y"), "0:3"), series(label("model", "a", "precision", "int8"), "0:4"),
	})
	for want, labels := range map[string]model.Metric{
		"1":       label("model", "a", "precision", "fp16"),
		"2":       label("model", "a", "precision", "int8", "device", "x"),
		"4":       label("model", "a", "precision", "int8", "device", "z"),
		"1 2 3 4": label("model", "a"),
		"":        label(model.MetricNameLabel, "m"),
	} {
		var got []string
		for _, s := range hiding.Of(labels) {
			got = append(got, fmt.Sprint(s.Points[0].V))
		}
		if slices.Sort(got); strings.Join(got, " ") != want {
			t.Errorf("%s fits %v, want %s", labels, got, want)
		}
	}
	if got := len(NewJoin([]prom.Series{series(label("job", "ci"), "0:1")}).Of(label("model", "a"))); got != 1 {
		t.Errorf("a single series without labels in common fits %d times, want 1", got)
	}
	if (*Join)(nil).Of(label("model", "a")) != nil {
		t.Error("no join fits something")
	}
}

func TestMergeOfReplicasAndMoves(t *testing.T) {
	l := label("model", "a")
	number := NewJoin([]prom.Series{series(l, "0:1 600:2 1200:3")})
	part := func(text string) []Iteration {
		its, _ := Rebuild(series(l, text), Joins{Numbers: number})
		return its
	}
	if got, want := format(Merge(part("0:5 600:4 1200:3"), part("0:5 600:4 1200:3"))), "1@0=5 2@600=4 3@1200=3"; got != want {
		t.Errorf("replicas: got %s, want %s", got, want)
	}
	late := []Iteration{{Number: 1, Time: at(60_000), Known: at(60_000), Value: 5, Valid: true}, {Number: 2, Time: at(660_000), Known: at(660_000)}}
	if got, want := format(Merge(late, part("0:5 600:4 1200:gone"))), "1@0=5 2@600=4 3@1200!"; got != want {
		t.Errorf("a replica that came late and missed one: got %s, want %s", got, want)
	}
	missed := []Iteration{{Number: 1, Time: at(0), Known: at(0)}}
	if got, want := format(Merge(missed, []Iteration{{Number: 1, Time: at(60_000), Known: at(60_000), Value: 5, Valid: true}})), "1@60=5"; got != want {
		t.Errorf("a result that the first replica missed: got %s, want %s", got, want)
	}
	if got, want := format(Merge(missed, []Iteration{{Number: 2, Time: at(60_000), Known: at(60_000), Value: 5, Valid: true}})), "1@0! 2@60=5"; got != want {
		t.Errorf("another iteration than the one missed: got %s, want %s", got, want)
	}
	in := func(environment string, n, seconds int64, value float64) Iteration {
		return Iteration{Number: float64(n), Time: at(1000 * seconds), Known: at(1000 * (1000 - seconds)), Value: value, Valid: true, Environment: environment}
	}
	all := Merge([]Iteration{in("x", 1, 300, 5)}, []Iteration{in("y", 1, 200, 5), in("x", 2, 100, 5)}, []Iteration{in("x", 1, 0, 4)})
	if got, want := format(all), "1@0=4/x 2@100=5/x 1@200=5/y 1@300=5/x"; got != want {
		t.Errorf("what differs in environment, number or value, in order of time: got %s, want %s", got, want)
	}
	if got, want := format(Merge(part("0:5 600:4 900:gone"), part("1200:3"))), "1@0=5 2@600=4 3@1200=3"; got != want {
		t.Errorf("a move: got %s, want %s", got, want)
	}
}

func TestNothingFromTheFutureIsKnown(t *testing.T) {
	its := []Iteration{
		{Number: 1, Time: at(0), Known: at(0), Value: 5, Valid: true},
		{Number: 2, Time: at(500_000), Known: at(600_000), Value: 4, Valid: true}, // dated before it was known
		{Number: 3, Time: at(900_000), Known: at(700_000), Value: 3, Valid: true}, // and after
	}
	for _, c := range []struct {
		known int64
		want  int
	}{{0, 1}, {550_000, 1}, {600_000, 2}, {700_000, 2}, {900_000, 3}} {
		if got := len(Observations(its, at(c.known))); got != c.want {
			t.Errorf("at %d ms %d observations are known, want %d", c.known, got, c.want)
		}
	}
	if len(Observations(its, time.Time{})) != 3 {
		t.Error("the zero time does not mean everything")
	}
}
