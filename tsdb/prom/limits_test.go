package prom

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/common/model"

	"github.com/plancast/plancast/terms"
)

// Whatever a redirect's status and wherever it points, nobody but the configured
// host is asked, and the error says where it points without what may be secret.
func TestNoRedirectIsFollowed(t *testing.T) {
	var visits atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visits.Add(1) }))
	defer other.Close()
	for _, code := range []int{301, 302, 303, 307, 308} {
		for to, want := range map[string]string{
			other.URL + "/hunter2?token=hunter2":                              fmt.Sprintf("redirects (%d) to %s, and plancast follows no redirects", code, other.URL),
			"http://user:hunter2@" + strings.TrimPrefix(other.URL, "http://"): fmt.Sprintf("redirects (%d) to %s, and plancast follows no redirects", code, other.URL),
			"/login?token=hunter2":                                            fmt.Sprintf("redirects (%d) to another path of its own", code),
			"http://[::1":                                                     fmt.Sprintf("redirects (%d) to an address that cannot be read", code),
			"http://" + strings.Repeat("a", 300) + "/":                        fmt.Sprintf("redirects (%d) to an address that cannot be read", code),
		} {
			var requests atomic.Int32
			client := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				requests.Add(1)
				w.Header().Set("Location", to)
				w.WriteHeader(code)
			}, nil)
			_, err := history(client, context.Background())
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%d to %s: %v; want %q", code, to, err, want)
			}
			if requests.Load() != 1 {
				t.Errorf("%d to %s: the host was asked %d times", code, to, requests.Load())
			}
		}
	}
	if visits.Load() > 0 {
		t.Errorf("the other host was asked %d times", visits.Load())
	}
}

// endless writes what begins an answer, and then more of it for as long as somebody reads.
func endless(begin, more string) (http.HandlerFunc, *atomic.Int64) {
	var sent atomic.Int64
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		n, err := io.WriteString(w, begin)
		chunk := strings.Repeat(more, 1+(64<<10)/len(more))
		for err == nil && r.Context().Err() == nil {
			sent.Add(int64(n))
			n, err = io.WriteString(w, chunk)
		}
	}, &sent
}

// An answer never takes more memory than a question may, however large it is,
// and is not read to its end.
func TestHostileAnswersAreRefusedWhileTheyAreRead(t *testing.T) {
	const matrix = `{"status":"success","data":{"resultType":"matrix","result":[`
	for name, c := range map[string]struct{ begin, more, want string }{
		"points without end":         {matrix + `{"metric":{},"values":[[0,"0"]`, `,[1,"1"]`, "takes more than 32 MiB of memory"},
		"series without end":         {matrix + `{"metric":{},"values":[]}`, `,{"metric":{"a":"b"},"values":[[1,"1"]]}`, "has more series than the 100"},
		"labels without end":         {matrix + `{"metric":{"a":""`, `,"b":"` + strings.Repeat("x", 60<<10) + `"`, "is larger than"}, // of one name each
		"a label's value":            {matrix + `{"metric":{"a":"`, "xxxxxxxx", "takes more than 32 MiB of memory"},
		"a label's name":             {matrix + `{"metric":{"`, "xxxxxxxx", "takes more than 32 MiB of memory"},
		"a number":                   {matrix + `{"metric":{},"values":[[`, "11111111", "does not answer like a Prometheus API"},
		"a text that nobody wants":   {`{"other":"`, "xxxxxxxx", "is larger than"},
		"a list that nobody wants":   {`{"other":[1`, ",1", "is larger than"},
		"nested without end":         {`{"other":`, "[", "does not answer like a Prometheus API"},
		"an error's text":            {`{"status":"error","error":"`, "xxxxxxxx", "takes more than 32 MiB of memory"},
		"warnings without end":       {`{"warnings":["w"`, `,"wwwwwwwwwwwwwwwwwwwwwwww"`, "is larger than"},
		"spaces":                     {`{"status":`, "        ", "is larger than"},
		"histograms without numbers": {matrix + `{"metric":{},"histograms":[[1,{"count":"1"}]`, `,[1,{"count":"1"}]`, "is larger than"},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := endless(c.begin, c.more)
			client := serve(t, h, func(o *Options) { o.MaxBytes = 200 << 20 })
			if strings.Contains(c.want, "larger") {
				client.o.MaxBytes = 2 << 20 // each token of what is skipped is garbage
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := history(client, context.Background())
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			// All that was ever allocated, garbage included; slices that grow are
			// copied, and the test's own server is counted, too.
			if total := int64(after.TotalAlloc - before.TotalAlloc); total > 8*memory {
				t.Errorf("it allocated %d MiB in all", total>>20)
			}
		})
	}
}

// A small body that expands to a large one is measured by what it expands to.
func TestCompressedAnswersAreMeasuredExpanded(t *testing.T) {
	var body bytes.Buffer
	z := gzip.NewWriter(&body)
	fmt.Fprint(z, `{"status":"success","data":{"resultType":"matrix","result":[]},"x":"`)
	for range 64 {
		_, _ = z.Write(make([]byte, 64<<10)[:0])
		fmt.Fprint(z, strings.Repeat("x", 64<<10))
	}
	fmt.Fprint(z, `"}`)
	z.Close()
	client := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(body.Bytes())
	}, nil)
	if _, err := history(client, context.Background()); err == nil || !strings.Contains(err.Error(), "is larger than 1 MiB") {
		t.Errorf("%d bytes of gzip: %v", body.Len(), err)
	}
}

// Points that repeat the one before cost nothing, where every step is asked for.
func TestRepeatedPointsAreDroppedWhileTheyAreRead(t *testing.T) {
	client := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":"b"},"values":[[0,"1"]`)
		for i := range 20_000 {
			fmt.Fprintf(w, `,[%d,"%d"]`, i+1, (i+1)/10_000)
		}
		fmt.Fprint(w, `]}]}}`)
	}, nil)
	e, err := Parse("time() - a")
	if err != nil {
		t.Fatal(err)
	}
	p, err := NewPlan(end, 10*time.Minute, time.Minute, true)
	if err != nil {
		t.Fatal(err)
	}
	used := &budget{limit: memory}
	d := &decoder{settled: true, budget: used}
	if _, err := client.request(t.Context(), http.MethodPost, "api/v1/query_range", url.Values{}, d); err != nil {
		t.Fatal(err)
	}
	if used.used.Load() > 1000 {
		t.Errorf("20,001 points of which four are changes take %d bytes", used.used.Load())
	}
	a, err := client.Changes(t.Context(), e, p)
	if err != nil || len(a.Series) != 1 || len(a.Series[0].Points) != 5 { // and its end
		t.Errorf("%+v, %v", a.Series, err)
	}
}

// FuzzDecode reads back what encoding/json writes.
func FuzzDecode(f *testing.F) {
	f.Add("model", "ä\u2028\"\\\n", int64(1_785_800_000_123), 1e-9, true)
	f.Add("", "\x00<&>", int64(-1), math.Inf(1), false)
	f.Fuzz(func(t *testing.T, name, value string, at int64, v float64, indented bool) {
		if !utf8.ValidString(name) || !utf8.ValidString(value) || len(name) > maxText/6 || len(value) > 4<<10 {
			return // encoding/json replaces what is not valid, and what is long is beyond the limits once it is escaped
		}
		at %= 1e15
		doc := map[string]any{"status": "success", "infos": []any{nil, true, map[string]any{"x": -1.5e-7}}, "warnings": []string{value}, "data": map[string]any{
			"resultType": "matrix", "result": []any{map[string]any{
				"metric": map[string]string{name: value},
				"values": []any{[]any{json.Number(strconv.FormatFloat(float64(at)/1000, 'f', -1, 64)), strconv.FormatFloat(v, 'g', -1, 64)}},
			}},
		}}
		text, err := json.Marshal(doc)
		if indented {
			text, err = json.MarshalIndent(doc, "\t", " ")
		}
		if err != nil {
			t.Fatal(err)
		}
		d := &decoder{maxSeries: 1, budget: &budget{limit: memory}}
		got, err := d.decode(bytes.NewReader(text))
		if err != nil || len(got.series) != 1 || len(got.series[0].Points) != 1 || len(got.series[0].Labels) != 1 {
			t.Fatalf("%s: %+v, %v", text, got, err)
		}
		s := got.series[0]
		if p := s.Points[0]; p.T != at || (p.V != v && !(math.IsNaN(p.V) && math.IsNaN(v))) || string(s.Labels[model.LabelName(name)]) != value {
			t.Errorf("%s: %+v", text, s)
		}
	})
}

func TestTheDecoderReadsWhatPrometheusWrites(t *testing.T) {
	for body, want := range map[string]string{
		`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"m":"a\u00e4\ud83d\ude00\""},"values":[[1.5,"1e3"],[-2,"NaN"],[3,"+Inf"],[4,"1e999"]]}]}}`: `matrix [{{m="aä😀\""} [{1500 1000 false} {-2000 NaN false} {3000 +Inf false} {4000 +Inf false}]}]`,
		`{"data":{"result":[{"value":[7,"1"],"metric":{}},null],"resultType":"vector"},"status":"success"}`:                                                                `vector [{{} [{7000 1 false}]}]`,
		` { "status" : "success" , "data" : { "resultType" : "scalar" , "result" : [ 1 , "2" ] } } `:                                                                       `scalar [{{} [{1000 2 false}]}]`,
		`{"status":"success","data":{"resultType":"string","result":[1,"x"]}}`:                                                                                             `string []`,
	} {
		d := &decoder{budget: &budget{limit: memory}}
		a, err := d.decode(strings.NewReader(body))
		if got := fmt.Sprint(a.kind, " ", a.series); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", body, got, err, want)
		}
	}
	for _, body := range []string{``, `{`, `{}`, `[]`, `{"status":"success","data":{"result":[{"values":[[1]]}]}}`, `{"status":"success","data":{"result":[{"values":[[1,"x"]]}]}}`,
		`{"status":"success","data":{"result":[{"values":[[1,"1",2]]}]}}`, `{"status":"success","data":{"result":[1,"2",3]}}`, `{"status":"success" "data":1}`, `{"status":"success","x":nul}`} {
		d := &decoder{budget: &budget{limit: memory}}
		if a, err := d.decode(strings.NewReader(body)); !errors.Is(err, errSyntax) {
			t.Errorf("%s is read as %+v, %v", body, a, err)
		}
	}
	if !errors.Is(refuse("x"), terms.ErrInvalid) {
		t.Error("a refusal is not the user's")
	}
}

// A piece of a plan ends between two steps, where a series that goes on has not ended.
func TestEndsAreFoundInTheStatesOfEveryStep(t *testing.T) {
	answers := map[string]string{"0": `{"metric":{"a":"stays"},"values":[[0,"1"],[60,"1"]]},{"metric":{"a":"pauses"},"values":[[0,"1"]]},{"metric":{"a":"ends"},"values":[[0,"1"],[60,"1"]]}`,
		"120": `{"metric":{"a":"stays"},"values":[[120,"1"],[180,"1"]]},{"metric":{"a":"pauses"},"values":[[180,"1"]]}`}
	client := serve(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[%s]}}`, answers[r.FormValue("start")])
	}, nil)
	e, err := Parse("x")
	if err != nil {
		t.Fatal(err)
	}
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	a, err := client.States(t.Context(), e, Plan{Start: at(0), End: at(180), Step: time.Minute, Pieces: []Piece{{at(0), at(60)}, {at(120), at(180)}}})
	if err != nil {
		t.Fatal(err)
	}
	const want = `[{{a="ends"} [{0 1 false} {120000 0 true}]} {{a="pauses"} [{0 1 false} {60000 0 true} {180000 1 false}]} {{a="stays"} [{0 1 false}]}]`
	if got := fmt.Sprint(a.Series); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// A whole reading of a fleet has millions of points.
func TestAPointIsReadWithoutAllocations(t *testing.T) {
	read := func(points int) float64 {
		body := `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[0,"1"]` + strings.Repeat(`,[1785800000.123,"0.0123456789012345"]`, points) + `]}]}}`
		return testing.AllocsPerRun(10, func() {
			d := &decoder{settled: true, budget: &budget{limit: memory}}
			if _, err := d.decode(strings.NewReader(body)); err != nil {
				t.Error(err)
			}
		})
	}
	const points = 1000 // pools may be empty now and then, above all with the race detector
	if few, many := read(1), read(points); many-few > points/2 {
		t.Errorf("1 point takes %v allocations, and %d of them %v", few, points, many)
	}
}
