package forecasting

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/forecast"
)

// answering is a Prometheus that gives the same answer to every question but
// those for plancast's own series, which it does not have.
func answering(t *testing.T, status int, body string) *httptest.Server {
	t.Helper()
	return answeringEach(t, status, func(string) string { return body })
}

// answeringEach is one whose answer depends on the question.
func answeringEach(t *testing.T, status int, body func(query string) string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		q := r.FormValue("query")
		if status == http.StatusOK && strings.Contains(q, "plancast_") && !strings.Contains(q, "last_over_time(x") {
			fmt.Fprint(w, matrix())
			return
		} else if strings.Contains(q, "count_over_time") {
			fmt.Fprint(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[0,"6"]}]}}`)
			return
		}
		w.WriteHeader(status)
		fmt.Fprint(w, body(q))
	}))
	t.Cleanup(s.Close)
	return s
}

func matrix(series ...string) string {
	return `{"status":"success","data":{"resultType":"matrix","result":[` + strings.Join(series, ",") + `]}}`
}

const steps = `{"metric":{"model":"m"},"values":[[0,"5"],[60,"5"],[120,"NaN"],[180,"4"],[240,"4"],[300,"3"]]}`

// question is the one that all tests ask.
func question(url string) PromQuery {
	return PromQuery{
		URL: url, Expr: "x", Now: time.Unix(3600, 0), LookBack: time.Hour, Client: &http.Client{},
		Criterion: forecast.Criterion{Metric: "x", Comparison: forecast.Below, Target: 1},
	}
}

func TestAValueThatRepeatsIsOneIteration(t *testing.T) {
	s := answering(t, 200, matrix(steps))
	q := question(s.URL)
	got, _, notes, err := ReadPrometheus(t.Context(), q)
	if err != nil || got.Model != "m" || len(got.Observations) != 3 || got.Observations[1].Value != 4 || got.Observations[1].Time.Unix() != 180 {
		t.Errorf("%+v, %q, %v", got, notes, err)
	}
	q.EverySample = true
	if got, _, _, err := ReadPrometheus(t.Context(), q); err != nil || len(got.Observations) != 6 {
		t.Errorf("every sample: %+v, %v", got, err)
	}
}

// The series asked about is no sibling of its own.
func TestSiblingsAreTheOtherSeries(t *testing.T) {
	n := strings.Replace(steps, `"m"`, `"n"`, 1)
	s := answeringEach(t, 200, func(query string) string {
		if strings.Contains(query, "model=") {
			return matrix(steps)
		}
		return matrix(steps, n)
	})
	q := question(s.URL)
	q.Expr, q.Siblings = `x{model="m"}`, []string{"x"}
	got, siblings, _, err := ReadPrometheus(t.Context(), q)
	if err != nil || got.Model != "m" || len(siblings) != 1 || siblings[0].Model != "n" || len(siblings[0].Observations) != 3 {
		t.Errorf("%+v, siblings %+v, %v", got, siblings, err)
	}
	q.Siblings = []string{"x", "sum("}
	if _, _, _, err := ReadPrometheus(t.Context(), q); err == nil || !strings.Contains(err.Error(), "read history of sum(: ") {
		t.Errorf("a sibling that is no expression: %v", err)
	}
}

func TestPrometheusIsReadOrTheErrorSaysWhy(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		body   string
		change func(*PromQuery)
		want   string
	}{
		{"no series", 200, matrix(), nil, "it has no series in the last 1h: look further back with --last, or correct the expression"},
		{"two series", 200, matrix(steps, strings.Replace(steps, `"m"`, `"n"`, 1)), nil, `it has 2 series: select one by its labels, such as {model="m"}`},
		{"a bad expression", 400, `{"status":"error","errorType":"bad_data","error":"parse error"}`, nil, "parse error"},
		{"an expression that is none", 200, matrix(), func(q *PromQuery) { q.Expr = "sum(" }, "expression: "},
		{"too much", 422, `{"status":"error","errorType":"execution","error":"too many samples"}`, nil, "too many samples"},
		{"a broken server", 500, "", nil, "HTTP status 500"},
		{"a server that refuses", 403, "", nil, "denies access (403)"},
		{"a server that wants a password", 401, "", nil, "correct the file of --http.config.file"},
		{"a scalar", 200, `{"status":"success","data":{"resultType":"scalar","result":[0,"1"]}}`, nil, "does not answer like a Prometheus API: correct --prometheus.url"},
		{"no JSON", 200, `<html>`, nil, "does not answer like a Prometheus API: correct --prometheus.url"},
		{"too fine", 200, matrix(), func(q *PromQuery) { q.LookBack, q.Step = 365*24*time.Hour, time.Second }, "use at least 2m"},
		{"a look back without end", 200, matrix(), func(q *PromQuery) { q.LookBack = 100 * 365 * 24 * time.Hour }, "use --last between 1m and 20y"},
		{"a password in the address", 200, "", func(q *PromQuery) { q.URL = "http://user:secret@localhost" }, "must hold no user or password"},
		{"no address", 200, "", func(q *PromQuery) { q.URL = "localhost:9090" }, "not one such as http://localhost:9090"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := answering(t, c.status, c.body)
			q := question(s.URL)
			if c.change != nil {
				c.change(&q)
			}
			_, _, _, err := ReadPrometheus(t.Context(), q)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("error %v; want %q", err, c.want)
			}
		})
	}
}

func TestPrometheusThatCannotBeReached(t *testing.T) {
	s := answering(t, 200, matrix(steps))
	s.Close()
	_, _, _, err := ReadPrometheus(t.Context(), question(s.URL))
	if want := "read history of x: " + s.URL + " cannot be reached"; err == nil || !strings.HasPrefix(err.Error(), want) || strings.Count(err.Error(), s.URL) != 1 {
		t.Errorf("error %v; want %q, and the server named once", err, want)
	}
}

// A server that accepts and stays silent costs no more than the time allowed.
func TestAPrometheusThatHangs(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer s.Close()
	defer close(release)
	q := question(s.URL)
	q.Client.Timeout = time.Millisecond
	if _, _, _, err := ReadPrometheus(t.Context(), q); err == nil || !strings.Contains(err.Error(), "did not answer in time: raise --prometheus.timeout") {
		t.Errorf("error %v", err)
	}
}

// A redirect is not followed: the other host could be anybody's.
func TestAPrometheusThatRedirects(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the other host was asked") }))
	defer other.Close()
	s := httptest.NewServer(http.RedirectHandler(other.URL+"/secret", http.StatusTemporaryRedirect))
	defer s.Close()
	_, _, _, err := ReadPrometheus(t.Context(), question(s.URL))
	if err == nil || !strings.Contains(err.Error(), "redirects (307) to "+other.URL+",") || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
}
