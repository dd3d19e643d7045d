package forecasting

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/units"
)

func points(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, ",[%d,%v]", 1_700_000_000+86400*i, 100+i*7%5)
	}
	return "[" + b.String()[1:] + "]"
}

func TestJSONLAnswersEveryLineInOrder(t *testing.T) {
	good := `{"points":` + points(12) + `,"direction":"lower","target":90,"horizon":5}`
	for name, c := range map[string]struct{ line, want string }{
		"a question":           {good, ""},
		"higher is better":     {`{"points":` + points(12) + `,"direction":"higher","target":120,"horizon":30}`, ""},
		"unknown fields":       {strings.Replace(good, "{", `{"base_rate":0.3,`, 1), ""},
		"one point":            {`{"points":[[1,2]],"direction":"lower","target":1,"horizon":1}`, ""},
		"clock stood still":    {`{"points":[[1,2],[1,2],[1,2],[0,3]],"direction":"lower","target":1,"horizon":1}`, ""},
		"values of both signs": {`{"points":[[1,-2],[2,0],[3,4]],"direction":"lower","target":-3,"horizon":2}`, ""},
		"active":               {strings.Replace(good, "{", `{"effort":"active",`, 1), ""},
		"an unknown effort":    {strings.Replace(good, "{", `{"effort":"hard",`, 1), `effort "hard", want active or maintenance`},
		"no JSON":              {"what?", "read the question: invalid character"},
		"torn line":            {good[:50], "read the question: unexpected end"},
		"wrong type":           {`[1,2]`, "read the question"},
		"direction":            {strings.Replace(good, "lower", "down", 1), `direction "down" is neither lower nor higher`},
		"no target":            {`{"points":[[1,2]],"direction":"lower","horizon":1}`, "the question has no target"},
		"no horizon":           {`{"points":[[1,2]],"direction":"lower","target":1}`, "the question has no horizon"},
		"horizon 0":            {strings.Replace(good, `"horizon":5`, `"horizon":0`, 1), "horizon 0 is not 1 or more"},
		"horizon too far":      {strings.Replace(good, `"horizon":5`, `"horizon":100000`, 1), "forecast: goal: 100000 iterations"},
		"no points":            {`{"points":[],"direction":"lower","target":1,"horizon":1}`, "the question has no points"},
		"a point of null":      {`{"points":[[1,2],[2,null]],"direction":"lower","target":1,"horizon":1}`, "point 2 holds null"},
		"a sibling of null":    {`{"points":[[1,2]],"siblings":[{"points":[[1,null]],"direction":"lower"}],"direction":"lower","target":1,"horizon":1}`, "point 1 holds null"},
		"null elsewhere":       {`{"points":[[1,2]],"direction":"lower","target":1,"horizon":1,"note":null}`, ""},
		"a point of three":     {`{"points":[[1,2],[1,2,3]],"direction":"lower","target":1,"horizon":1}`, "point 2 has 3 numbers"},
		"time in nanoseconds":  {`{"points":[[1700000000000000000,2]],"direction":"lower","target":1,"horizon":1}`, "not in unix seconds"},
		"number out of range":  {strings.Replace(good, "90", "1e999", 1), "read the question"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := ServeJSONL(strings.NewReader(good+"\n\n"+c.line+"\r\n"+good), &out); err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			if len(lines) != 3 || lines[0] != lines[2] {
				t.Fatalf("answers %q", lines)
			}
			var a struct {
				Probability *float64
				Quantiles   map[string]float64
				Error       string
			}
			if err := json.Unmarshal([]byte(lines[1]), &a); err != nil {
				t.Fatal(err)
			}
			if c.want != "" {
				if !strings.Contains(a.Error, c.want) || a.Probability != nil {
					t.Errorf("answer %s, want error %q", lines[1], c.want)
				}
				return
			}
			if a.Probability == nil || *a.Probability <= 0 || *a.Probability >= 1 {
				t.Fatalf("answer %s", lines[1])
			}
			if q := a.Quantiles; len(q) != 3 || q["0.1"] > q["0.5"] || q["0.5"] > q["0.9"] {
				t.Errorf("quantiles %v", q)
			}
		})
	}
}

// An asker that waits for its answer before it asks again must get it.
func TestJSONLStreams(t *testing.T) {
	in, ask := io.Pipe()
	answers, out := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- ServeJSONL(in, out); out.Close() }()
	dec := json.NewDecoder(answers)
	for i := range 3 {
		fmt.Fprintf(ask, `{"points":%s,"direction":"lower","target":90,"horizon":5}`+"\n", points(10+i))
		var a map[string]any
		if err := dec.Decode(&a); err != nil || a["probability"] == nil {
			t.Fatalf("answer %v, %v", a, err)
		}
	}
	ask.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

type broken struct{}

var errBroken = errors.New("broken pipe")

func (broken) Write([]byte) (int, error) { return 0, errBroken }
func (broken) Read([]byte) (int, error)  { return 0, errBroken }

func TestJSONLReportsBrokenPipes(t *testing.T) {
	if err := ServeJSONL(strings.NewReader("x\n"), broken{}); !errors.Is(err, errBroken) {
		t.Errorf("write: %v", err)
	}
	if err := ServeJSONL(broken{}, io.Discard); !errors.Is(err, errBroken) {
		t.Errorf("read: %v", err)
	}
}

func TestReadCSV(t *testing.T) {
	got, err := ReadCSV(strings.NewReader("\ufefftime, value, valid, environment\n2026-11-01,42ms,true,l4\n2026-11-02T10:00:00+02:00,0.041,,l4\n1793750400,,false,\n"), units.Seconds)
	if err != nil {
		t.Fatal(err)
	}
	want := []forecast.Observation{
		{Time: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), Value: 0.042, Valid: true, Environment: "l4"},
		{Time: time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC), Value: 0.041, Valid: true, Environment: "l4"},
		{Time: time.Unix(1793750400, 0)},
	}
	if len(got) != len(want) {
		t.Fatalf("%d observations", len(got))
	}
	for i, w := range want {
		g := got[i]
		if !g.Time.Equal(w.Time) || math.Abs(g.Value-w.Value) > 1e-12 || g.Valid != w.Valid || g.Environment != w.Environment {
			t.Errorf("observation %d is %+v, want %+v", i, g, w)
		}
	}
}

func TestReadCSVNamesTheLine(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty":          {"", "read history: it is empty"},
		"no header":      {"2026-11-01,1,2\n", "line 1: 3 columns without names: give a first line such as date,value"},
		"no value":       {"time\n", "line 1: no column of values: name one value; there are time"},
		"no time":        {"when,value\n", "line 1: no column of times: name one of time, date,"},
		"many values":    {"date,a,b\n", "line 1: no column of values: name one value; there are date, a, b"},
		"column twice":   {"time,value,date\n", `line 1: the columns "time" and "date" mean the same`},
		"time":           {"time,value\n2026-11-01,1\nyesterday,2\n", `line 3: time "yesterday" is not RFC 3339`},
		"value":          {"time,value\n2026-11-01,fast\n", `line 2: value: "fast" is not`},
		"no number":      {"time,value\n2026-11-01,NaN\n", `line 2: value: "NaN" is not`},
		"empty value":    {"time,value\n2026-11-01,\n", `line 2: value: "" is not`},
		"valid":          {"time,value,valid\n2026-11-01,1,maybe\n", `line 2: valid "maybe" is neither true nor false`},
		"field too many": {"time,value\n2026-11-01,1,2\n", "line 2: wrong number of fields"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadCSV(strings.NewReader(c.text), units.Seconds)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

// Tables as people have them give the same series, and say what was read.
func TestReadCSVAsPeopleHaveThem(t *testing.T) {
	for name, c := range map[string]struct{ text, suffix, note string }{
		"units in cells":      {"date,value\n2026-10-01,310us\n2026-10-05,0.262ms\n", "", `Read 2 values from column "value", 2026-10-01 to 2026-10-05`},
		"a unit for all":      {"Date,Value\n2026-10-01,310\n2026-10-05,262\n", "us", "numbers without a unit are in us"},
		"a unit in the head":  {"day;p99 (us)\n2026-10-01;310\n2026-10-05;262\n", "", `column "p99 (us)"`},
		"one as names are":    {"finished\tp99_us\n2026-10-01\t310\n2026-10-05\t262\n", "", "are in us"},
		"no head":             {"2026-10-01,310\n2026-10-05,262\n", "us", "the second column"},
		"other columns":       {"author,p99,date,note\nann,310us,2026-10-01,first\nben,262us,2026-10-05,\"second, better\"\n", "", `column "p99"`},
		"times with a minute": {"date,value\n2026-10-01 00:00,310us\n2026-10-05T00:00,262us\n", "", "Read 2 values"},
		"base units":          {"date,value\n2026-10-01,0.00031\n2026-10-05,0.000262\n", "", "numbers without a unit are in seconds"},
	} {
		got, note, err := CSV{Unit: units.Seconds, Suffix: c.suffix, Metric: "p99"}.Read(strings.NewReader(c.text))
		if err != nil || len(got) != 2 || math.Abs(got[0].Value-310e-6) > 1e-12 || math.Abs(got[1].Value-262e-6) > 1e-12 || !got[1].Time.Equal(time.Date(2026, 10, 5, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if !strings.Contains(note, c.note) {
			t.Errorf("%s: it says %q; want %q", name, note, c.note)
		}
	}
}

// A table of something else than the criterion is about gives no forecast.
func TestReadCSVRefusesAnotherQuantity(t *testing.T) {
	for name, c := range map[string]struct {
		of         CSV
		head, want string
	}{
		"a size for a time":          {CSV{Unit: units.Seconds, Metric: "p99"}, "p99 (MiB)", `column "p99 (MiB)" is in MiB, which is no unit of p99`},
		"a time for a rate":          {CSV{Unit: units.PerSec, Metric: "throughput"}, "latency_us", `column "latency_us" is in us, which is no unit of throughput`},
		"another percentile":         {CSV{Unit: units.Seconds, Metric: "p99"}, "p50_us", `column "p50_us" holds p50, and the criterion is about p99`},
		"another known quantity":     {CSV{Unit: units.Seconds, Metric: "p99"}, "Throughput", `column "Throughput" holds throughput, and the criterion is about p99`},
		"the same, of two words":     {CSV{Unit: units.Ratio, Metric: "accuracy_deviation"}, "accuracy_deviation", ""},
		"the same under its own":     {CSV{Unit: units.Seconds, Metric: "p99"}, "P99 [ms]", ""},
		"a name that nobody knows":   {CSV{Unit: units.Seconds, Metric: "p99"}, "answer", ""},
		"a metric that nobody knows": {CSV{Metric: "loss"}, "loss (ms)", ""},
	} {
		_, _, err := c.of.Read(strings.NewReader("date," + c.head + "\n2026-10-01,3\n"))
		if (err == nil) != (c.want == "") || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
	}
}

// The number at the end of a name is no unit.
func TestReadCSVTakesNoNumberForAUnit(t *testing.T) {
	got, _, err := CSV{Unit: units.Ratio, Metric: "top1"}.Read(strings.NewReader("date,top_1\n2026-10-01,0.9\n"))
	if err != nil || len(got) != 1 || got[0].Value != 0.9 {
		t.Errorf("%+v, %v", got, err)
	}
}

// Points are put in order of time; those of one moment keep theirs.
func TestJSONLSortsPoints(t *testing.T) {
	answers := func(points string) string {
		var out bytes.Buffer
		if err := ServeJSONL(strings.NewReader(`{"points":`+points+`,"direction":"lower","target":60,"horizon":5}`), &out); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	const day = 86400
	sorted := fmt.Sprintf("[[0,100],[%d,90],[%d,80],[%d,81],[%d,70]]", day, 2*day, 2*day, 3*day)
	mixed := fmt.Sprintf("[[%d,70],[%d,80],[0,100],[%d,81],[%d,90]]", 3*day, 2*day, 2*day, day)
	if a, b := answers(sorted), answers(mixed); a != b {
		t.Errorf("in order %s, mixed %s", a, b)
	}
}

func TestTextOfFewResultsClaimsNoPace(t *testing.T) {
	s := forecast.Series{Criterion: forecast.Criterion{Metric: "p99", Comparison: forecast.Below, Target: 0.05, Unit: units.Seconds}}
	day := time.Date(2026, 10, 5, 0, 0, 0, 0, time.UTC)
	s.Observations = []forecast.Observation{{Time: day, Value: 0.1, Valid: true}}
	f, err := forecast.Single(s, forecast.Goal{Iterations: 5}, day, forecast.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := WriteText(&text, f, Basis{}, units.Seconds); err != nil || !strings.Contains(text.String(), "1 result, 0 missed, one iteration a day is assumed\n") {
		t.Errorf("%v\n%s", err, text.String())
	}
}

// example is a forecast with everything in it.
func example(t *testing.T) (forecast.Series, forecast.Goal, forecast.Forecast) {
	t.Helper()
	s := forecast.Series{Model: `res<net> & "co"`, Criterion: forecast.Criterion{Metric: "p99", Comparison: forecast.Below, Target: 0.05, Unit: units.Seconds}}
	for i, v := range []float64{0.098, 0.091, 0.083, 0.080, 0, 0.071, 0.069, 0.066, 0.061} {
		s.Observations = append(s.Observations, forecast.Observation{Time: time.Date(2026, 10, 5+7*i, 9, 0, 0, 0, time.UTC), Value: v, Valid: v > 0})
	}
	now := s.Observations[8].Time
	g := forecast.Goal{Deadline: now.AddDate(0, 0, 60)}
	f, err := forecast.Single(s, g, now, forecast.Options{Score: true})
	if err != nil {
		t.Fatal(err)
	}
	return s, g, f
}

func TestReportOfABacktest(t *testing.T) {
	var series []forecast.Series
	for k := range 4 {
		s := forecast.Series{Criterion: forecast.Criterion{Metric: "x", Comparison: forecast.Below}}
		for i := range 40 {
			s.Observations = append(s.Observations, forecast.Observation{Time: time.Unix(int64(i)*86400, 0), Value: 100 / float64(1+i*i*(k+1)%17), Valid: true})
		}
		series = append(series, s)
	}
	for name, r := range map[string]forecast.Report{
		"full":  forecast.Backtest(series, forecast.BacktestOptions{Peers: true}),
		"empty": forecast.Backtest(nil, forecast.BacktestOptions{}),
	} {
		t.Run(name, func(t *testing.T) {
			var text bytes.Buffer
			if err := WriteReport(&text, r); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"plancast ", "linear ", "holt ", "monte carlo ", "base rate "} {
				if strings.Contains(text.String(), want) != (name == "full") {
					t.Errorf("%q in\n%s", want, text.String())
				}
			}
		})
	}
}

func TestText(t *testing.T) {
	_, _, f := example(t)
	var b bytes.Buffer
	if err := WriteText(&b, f, Basis{LookBack: 365 * 24 * time.Hour, Notes: []string{"a note"}}, units.Seconds); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{f.Summary, "by deadline", "attained", "8 results of the last 365 days, 1 missed, about one iteration every 7 d", "a note", "next value"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func FuzzServeJSONL(f *testing.F) {
	f.Add([]byte(`{"points":[[1,2],[2,3]],"direction":"lower","target":1,"horizon":3}`))
	f.Add([]byte("\n\n{}\n[]"))
	f.Add([]byte(`{"points":[[1e300,1e308],[-1,-1e308],[2,0]],"direction":"higher","target":1e308,"horizon":999}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		var out bytes.Buffer
		if err := ServeJSONL(bytes.NewReader(in), &out); err != nil {
			t.Fatal(err)
		}
		lines := 0
		for l := range bytes.Lines(in) {
			if len(bytes.TrimSpace(l)) > 0 {
				lines++
			}
		}
		if got := bytes.Count(out.Bytes(), []byte("\n")); got != lines {
			t.Fatalf("%d answers to %d questions", got, lines)
		}
		for l := range bytes.Lines(out.Bytes()) {
			var a map[string]any
			if err := json.Unmarshal(l, &a); err != nil || (a["probability"] == nil) == (a["error"] == nil) {
				t.Fatalf("answer %s: %v", l, err)
			}
		}
	})
}

func FuzzReadCSV(f *testing.F) {
	f.Add("time,value,valid,environment\n2026-11-01,42ms,true,l4\n")
	f.Add("time,value\n1,\"2\n")
	f.Fuzz(func(t *testing.T, in string) {
		o, err := ReadCSV(strings.NewReader(in), units.Seconds)
		if err != nil {
			return
		}
		for _, x := range o {
			if x.Valid && (math.IsNaN(x.Value) || math.IsInf(x.Value, 0)) {
				t.Fatalf("value %v", x.Value)
			}
		}
	})
}

// Siblings are other series of the project: their gains raise the answer, and a
// broken one is named.
func TestSiblingsOfAQuestion(t *testing.T) {
	ask := func(siblings string) string {
		line := `{"points": [[0,100],[86400,101],[172800,99],[259200,100],[345600,101]], "direction": "lower", "target": 90, "horizon": 5` + siblings + "}\n"
		var out strings.Builder
		if err := ServeJSONL(strings.NewReader(line), &out); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	probability := func(answer string) (p float64) {
		var a struct{ Probability float64 }
		if err := json.Unmarshal([]byte(answer), &a); err != nil {
			t.Fatal(err)
		}
		return a.Probability
	}
	alone := probability(ask(""))
	beside := probability(ask(`, "siblings": [{"points": [[0,100],[1,80],[2,60],[3,45],[4,30]], "direction": "lower"}]`))
	if beside <= alone {
		t.Errorf("alone %v, beside a series that gains %v", alone, beside)
	}
	if got := ask(`, "siblings": [{"points": [[0,1]], "direction": "up"}]`); !strings.Contains(got, `sibling 1: direction \"up\" is neither lower nor higher`) {
		t.Errorf("answer %s", got)
	}
}
