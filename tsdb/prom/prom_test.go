package prom

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"go.uber.org/goleak"

	"github.com/plancast/plancast/terms"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

var end = time.Date(2026, 10, 1, 12, 0, 0, 0, time.UTC)

func TestAYearIsOneRequest(t *testing.T) {
	for _, c := range []struct {
		history, resolution time.Duration
		exact               bool
		step                time.Duration
		pieces              int
	}{
		{365 * 24 * time.Hour, 15 * time.Second, false, time.Hour, 1},
		{30 * 24 * time.Hour, 15 * time.Second, false, 5 * time.Minute, 1},
		{24 * time.Hour, 15 * time.Second, false, 15 * time.Second, 1},
		{time.Hour, time.Minute, false, time.Minute, 1},
		{365 * 24 * time.Hour, 5 * time.Minute, true, 5 * time.Minute, 10},
		{time.Minute, 5 * time.Minute, true, 5 * time.Minute, 1},
	} {
		p, err := NewPlan(end, c.history, c.resolution, c.exact)
		if err != nil {
			t.Fatal(err)
		}
		if p.Step != c.step || len(p.Pieces) != c.pieces {
			t.Errorf("%s at %s: step %s in %d pieces, want %s in %d", c.history, c.resolution, p.Step, len(p.Pieces), c.step, c.pieces)
		}
		at := p.Start
		for _, q := range p.Pieces {
			if n := int64(q.End.Sub(q.Start)/p.Step) + 1; n > MaxPoints {
				t.Errorf("a piece of %d points", n)
			}
			if !q.Start.Equal(at) {
				t.Errorf("a piece begins at %s, want %s", q.Start, at)
			}
			at = q.End.Add(p.Step)
		}
		if !p.Pieces[len(p.Pieces)-1].End.Equal(end) {
			t.Errorf("the last moment %s is not asked for", end)
		}
	}
	if _, err := NewPlan(end, 365*24*time.Hour, 15*time.Second, true); err == nil || !strings.Contains(err.Error(), "use at least") {
		t.Errorf("a year every 15 s is not refused with a remedy: %v", err)
	}
}

// serve answers every request with one body.
func serve(t testing.TB, h http.HandlerFunc, change func(*Options)) *Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	o := Options{URL: s.URL + "/secret-path", Method: http.MethodPost, HTTP: &http.Client{Transport: &http.Transport{}}, MaxSeries: 100, MaxBytes: 1 << 20, Requests: 2, Resolution: time.Minute}
	if change != nil {
		change(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func history(c *Client, ctx context.Context) (Answer, error) {
	e, err := Parse("a")
	if err != nil {
		return Answer{}, err
	}
	p, err := NewPlan(end, 10*time.Minute, time.Minute, true)
	if err != nil {
		return Answer{}, err
	}
	return c.Changes(ctx, e, p)
}

func TestErrorsSayWhatToDo(t *testing.T) {
	for _, c := range []struct {
		name, contentType, body string
		code                    int
		status                  int
		want                    string
	}{
		{"credentials", "", "bad password hunter2", 401, http.StatusUnauthorized, "refuses the credentials (401)"},
		{"access", "", "", 403, http.StatusForbidden, "denies access (403)"},
		{"address", "", "", 404, http.StatusNotFound, "check the URL, and its path"},
		{"rate limit", "", "", 429, http.StatusTooManyRequests, "too many requests"},
		{"gateway", "", "", 502, http.StatusBadGateway, "HTTP status 502 Bad Gateway"},
		{"bad query", "application/json", `{"status":"error","errorType":"bad_data","error":"1:3: parse error"}`, 400, http.StatusBadRequest, "cannot read the query: 1:3: parse error"},
		{"evaluation", "application/json", `{"status":"error","errorType":"execution","error":"found duplicate series"}`, 422, http.StatusBadRequest, "cannot evaluate the query: found duplicate series"},
		{"timeout", "application/json", `{"status":"error","errorType":"timeout","error":"query timed out"}`, 503, http.StatusGatewayTimeout, "gave up on the query"},
		{"not Prometheus", "text/html", "<html>hello</html>", 200, http.StatusBadGateway, "does not answer like a Prometheus API"},
		{"wrong type", "application/json", `{"status":"success","data":{"resultType":"string","result":[1,"x"]}}`, 200, http.StatusBadGateway, "does not answer like a Prometheus API"},
		{"a bad query behind a proxy", "text/html", "<html>bad</html>", 400, http.StatusBadGateway, "does not answer like a Prometheus API"},
		{"an evaluation behind a proxy", "text/html", "<html>bad</html>", 422, http.StatusBadGateway, "does not answer like a Prometheus API"},
		{"broken", "application/json", `{"status":"success","data":{"resultType":"matrix","result":[{"metric"`, 200, http.StatusBadGateway, "does not answer like a Prometheus API"},
	} {
		t.Run(c.name, func(t *testing.T) {
			client := serve(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.Header().Set("Content-Type", c.contentType)
				w.WriteHeader(c.code)
				fmt.Fprint(w, c.body)
			}, nil)
			_, err := history(client, context.Background())
			var known *Error
			if !errors.As(err, &known) || known.Status != c.status || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want status %d and %q", err, c.status, c.want)
			}
			for _, secret := range []string{"hunter2", "secret-path", "query="} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error tells %q: %v", secret, err)
				}
			}
		})
	}
}

func TestAServerThatIsDown(t *testing.T) {
	client := serve(t, nil, func(o *Options) { o.URL = "http://127.0.0.1:1/secret-path" })
	_, err := history(client, context.Background())
	if err == nil || !strings.Contains(err.Error(), "http://127.0.0.1:1 cannot be reached: connect: connection refused") {
		t.Errorf("got %v", err)
	}
}

func TestTooMuchIsRefused(t *testing.T) {
	var many strings.Builder
	for i := range 300 {
		fmt.Fprintf(&many, `,{"metric":{"i":"%d"},"values":[[1,"1"]]}`, i)
	}
	body := `{"status":"success","data":{"resultType":"matrix","result":[` + many.String()[1:] + `]}}`
	answer := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, body)
	}
	if _, err := history(serve(t, answer, nil), context.Background()); err == nil || !strings.Contains(err.Error(), "has more series than the 100 that are allowed") {
		t.Errorf("too many series: %v", err)
	}
	if _, err := history(serve(t, answer, func(o *Options) { o.MaxBytes = 1000 }), context.Background()); err == nil || !strings.Contains(err.Error(), "is larger than") {
		t.Errorf("too many bytes: %v", err)
	}
}

func TestWhatIsTooMuchAtOnceIsSplit(t *testing.T) {
	for store, refusal := range map[string]struct {
		status int
		body   string
	}{
		"Prometheus": {http.StatusUnprocessableEntity, `{"status":"error","errorType":"execution","error":"query processing would load too many samples into memory in query execution"}`},
		"Mimir":      {http.StatusBadRequest, `{"status":"error","errorType":"bad_data","error":"the total query time range exceeds the limit (query length: 10m0s, limit: 5m0s) (err-mimir-max-total-query-length)"}`},
	} {
		t.Run(store, func(t *testing.T) {
			var requests atomic.Int32
			client := serve(t, func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				from, _ := strconv.ParseFloat(r.FormValue("start"), 64)
				to, _ := strconv.ParseFloat(r.FormValue("end"), 64)
				w.Header().Set("Content-Type", "application/json")
				if to-from > 300 {
					w.WriteHeader(refusal.status)
					fmt.Fprint(w, refusal.body)
					return
				}
				fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"model":"a"},"values":[[%f,"1"],[%f,"2"]]}]}}`, from, to)
			}, nil)
			a, err := history(client, context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if requests.Load() != 3 || len(a.Series) != 1 || len(a.Series[0].Points) != 4 {
				t.Errorf("%d requests, %+v", requests.Load(), a.Series)
			}
		})
	}
}

func TestTheMethodIsTheUsers(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		client := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != method || r.FormValue("query") == "" {
				t.Errorf("%s with query %q, want %s", r.Method, r.FormValue("query"), method)
			}
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"status":"success","data":{"resultType":"matrix","result":[]}}`)
		}, func(o *Options) { o.Method = method })
		if _, err := history(client, context.Background()); err != nil {
			t.Error(err)
		}
	}
}

func TestAServerThatTakesNoPOSTIsAskedWithGET(t *testing.T) {
	for _, code := range []int{http.StatusMethodNotAllowed, http.StatusNotImplemented} {
		var methods []string
		client := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if methods = append(methods, r.Method); r.Method == http.MethodPost {
				w.WriteHeader(code)
				return
			}
			fmt.Fprint(w, `{"status":"success","data":{"resultType":"matrix","result":[]},"warnings":["late","late"]}`)
		}, nil)
		a, err := history(client, context.Background())
		if err != nil || len(methods) != 2 || methods[1] != http.MethodGet {
			t.Errorf("%d: methods %s, %v", code, methods, err)
		}
		if len(a.Warnings) != 1 || a.Warnings[0] != "late" {
			t.Errorf("warnings %q", a.Warnings)
		}
	}
	// One that refuses a GET as well is not asked again.
	asked := 0
	client := serve(t, func(w http.ResponseWriter, _ *http.Request) { asked++; w.WriteHeader(http.StatusMethodNotAllowed) }, func(o *Options) { o.Method = http.MethodGet })
	if _, err := history(client, context.Background()); err == nil || asked != 1 {
		t.Errorf("asked %d times, %v", asked, err)
	}
}

func TestAPointIsDroppedOnlyWhenItSaysNothingNew(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		p, q Point
		want bool
	}{
		{Point{V: 1}, Point{V: 1}, true}, {Point{V: 1}, Point{V: 2}, false}, {Point{V: nan}, Point{V: nan}, true}, {Point{V: nan}, Point{V: 1}, false}, {Point{V: 1}, Point{V: nan}, false},
		{Point{Gone: true}, Point{Gone: true, V: 1}, true}, {Point{Gone: true}, Point{}, false}, {Point{}, Point{Gone: true}, false},
	} {
		if got := same(c.p, c.q); got != c.want {
			t.Errorf("%+v, %+v: %v", c.p, c.q, got)
		}
	}
}

func TestTimesThatNoServerHasAreRefused(t *testing.T) {
	for text, ok := range map[string]bool{"1e15": true, "-1e15": true, "1.1e15": false, "-1.1e15": false, "NaN": false, "x": false, "1.5": true} {
		if _, err := moment([]byte(text)); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestLabelsCountInMemory(t *testing.T) {
	small, large := labelBytes(nil), labelBytes(model.Metric{"name": "value", "b": "c"})
	if small != 96 || large != 96+2*64+int64(len("namevaluebc")) {
		t.Errorf("%d and %d bytes", small, large)
	}
}

func TestCancellationReachesTheServer(t *testing.T) {
	arrived, left := make(chan struct{}), make(chan struct{})
	client := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(arrived)
		<-r.Context().Done()
		close(left)
	}, nil)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-arrived
		cancel()
	}()
	if _, err := history(client, ctx); err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("got %v", err)
	}
	<-left
}

func TestPiecesAreMerged(t *testing.T) {
	all := merge([]Series{
		{Labels: nil, Points: []Point{{T: 3, V: 2}, {T: 1, V: 1}}},
		{Labels: nil, Points: []Point{{T: 1, V: 1}, {T: 2, V: 1}}},
	})
	if len(all) != 1 || fmt.Sprint(settle(all)[0].Points) != "[{1 1 false} {3 2 false}]" {
		t.Errorf("got %+v", all)
	}
}

func FuzzAnswers(f *testing.F) {
	for _, s := range []string{
		`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"model":"a"},"values":[[1,"1"],[2,"NaN"],[3,"+Inf"]]}]}}`,
		`{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"plancast_gone":"1"},"values":[[5,"1"],[1,"2"]]}]}}`,
		`{"status":"success","data":{"resultType":"matrix","result":[null]}}`,
		`{"status":"success","warnings":["w"],"data":{"resultType":"vector","result":[{"metric":{},"value":[1,"1"]}]}}`,
		`{"status":"error"}`, `[]`, ``, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":null,"histograms":[[1,{"count":"1","sum":"1"}]]}]}}`,
	} {
		f.Add([]byte(s))
	}
	var body atomic.Value
	body.Store([]byte{})
	client := serve(f, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body.Load().([]byte))
	}, nil)
	f.Fuzz(func(t *testing.T, b []byte) {
		body.Store(b)
		a, err := history(client, context.Background())
		var known *Error
		if err != nil && !errors.As(err, &known) && !errors.Is(err, terms.ErrInvalid) {
			t.Errorf("an error that says nothing: %v", err)
		}
		for _, s := range a.Series {
			for i, p := range s.Points[min(1, len(s.Points)):] {
				if p.T <= s.Points[i].T {
					t.Errorf("points out of order: %v", s.Points)
				}
			}
		}
	})
}

func TestAnAnswerIsContinuedByANewerOne(t *testing.T) {
	at := time.UnixMilli(100)
	of := func(points ...Point) Answer {
		return Answer{Series: []Series{{Labels: model.Metric{"model": "a"}, Points: points}}, Requests: 1}
	}
	for name, c := range map[string]struct {
		before, newer Answer
		want          []Point
	}{
		"the same value holds":                 {of(Point{T: 10, V: 1}), of(Point{T: 100, V: 1}, Point{T: 150, V: 2}), []Point{{T: 10, V: 1}, {T: 150, V: 2}}},
		"a value that came at the border":      {of(Point{T: 10, V: 1}, Point{T: 100, V: 2}), of(Point{T: 100, V: 2}), []Point{{T: 10, V: 1}, {T: 100, V: 2}}},
		"one that only the first still sees":   {of(Point{T: 10, V: 1}, Point{T: 100, V: 2}), of(Point{T: 150, V: 3}), []Point{{T: 10, V: 1}, {T: 100, V: 2}, {T: 101, Gone: true}, {T: 150, V: 3}}},
		"a series that ended":                  {of(Point{T: 10, V: 1}), Answer{Requests: 1}, []Point{{T: 10, V: 1}, {T: 101, Gone: true}}},
		"a series that had ended, and is back": {of(Point{T: 10, V: 1}, Point{T: 50, Gone: true}), of(Point{T: 150, V: 1}), []Point{{T: 10, V: 1}, {T: 50, Gone: true}, {T: 150, V: 1}}},
		"a series that is new":                 {Answer{Requests: 1}, of(Point{T: 150, V: 1}), []Point{{T: 150, V: 1}}},
	} {
		got := c.before.Extend(c.newer, at)
		if len(got.Series) != 1 || !slices.Equal(got.Series[0].Points, c.want) || got.Requests != 2 {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
