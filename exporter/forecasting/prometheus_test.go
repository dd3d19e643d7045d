package forecasting

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// answering is a Prometheus that gives the same answer to every question.
func answering(t *testing.T, status int, body string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	return s
}

func matrix(series ...string) string {
	return `{"status":"success","data":{"resultType":"matrix","result":[` + strings.Join(series, ",") + `]}}`
}

const steps = `{"metric":{"model":"m"},"values":[[0,"5"],[60,"5"],[120,"NaN"],[180,"4"],[240,"4"],[300,"3"]]}`

func TestAValueThatRepeatsIsOneIteration(t *testing.T) {
	s := answering(t, 200, matrix(steps))
	q := PromQuery{URL: s.URL, Expr: "x", Start: time.Unix(0, 0), End: time.Unix(300, 0)}
	got, labels, err := ReadPrometheus(t.Context(), q)
	if err != nil || labels != `{model="m"}` || len(got) != 3 || got[1].Value != 4 || got[1].Time.Unix() != 180 {
		t.Errorf("%+v, %s, %v", got, labels, err)
	}
	q.EverySample = true
	if got, _, err := ReadPrometheus(t.Context(), q); err != nil || len(got) != 5 {
		t.Errorf("every sample: %+v, %v", got, err)
	}
}

func TestPrometheusIsReadOrTheReasonTold(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		body   string
		query  PromQuery
		want   string
	}{
		{"no series", 200, matrix(), PromQuery{}, "it gives no series"},
		{"two series", 200, matrix(steps, steps), PromQuery{}, "it gives 2 series: select one"},
		{"a bad expression", 400, `{"status":"error","errorType":"bad_data","error":"parse error"}`, PromQuery{}, "parse error: correct --query"},
		{"too much", 422, `{"status":"error","errorType":"execution","error":"too many samples"}`, PromQuery{}, "too many samples: ask for less"},
		{"a broken server", 500, "", PromQuery{}, "once the server is well"},
		{"a server that refuses", 403, "", PromQuery{}, "is that the address of a Prometheus-compatible API"},
		{"a scalar", 200, `{"status":"success","data":{"resultType":"scalar","result":[0,"1"]}}`, PromQuery{}, "not series over time"},
		{"no JSON", 200, `<html>`, PromQuery{}, "is that the address of a Prometheus-compatible API"},
		{"too fine", 200, matrix(), PromQuery{Step: time.Second, End: time.Unix(1e6, 0)}, "use one of at least 1m31s"},
		{"a password in the address", 200, "", PromQuery{URL: "http://user:secret@localhost"}, "must hold no user or password"},
		{"no address", 200, "", PromQuery{URL: "localhost:9090"}, "not one such as http://localhost:9090"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := answering(t, c.status, c.body)
			q := c.query
			if q.URL == "" {
				q.URL = s.URL
			}
			if q.End.IsZero() {
				q.End = time.Unix(600, 0)
			}
			q.Start, q.Expr = time.Unix(0, 0), "x"
			_, _, err := ReadPrometheus(t.Context(), q)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("error %v; want %q", err, c.want)
			}
		})
	}
}

func TestPrometheusThatCannotBeReached(t *testing.T) {
	s := answering(t, 200, matrix(steps))
	s.Close()
	_, _, err := ReadPrometheus(t.Context(), PromQuery{URL: s.URL, Expr: "up", Start: time.Unix(0, 0), End: time.Unix(60, 0)})
	for _, part := range []string{"read history of up from " + s.URL, "connection refused", "is Prometheus running there", "--prometheus.url"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v does not say %q", err, part)
		}
	}
}
