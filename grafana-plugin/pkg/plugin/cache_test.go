package plugin

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
)

// fake counts requests and says whose they were.
func fake(t *testing.T) (url string, requests *atomic.Int32) {
	requests = new(atomic.Int32)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		who := r.Header.Get("Authorization")
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": map[string]any{"resultType": "matrix", "result": []any{
			map[string]any{"metric": map[string]string{"model": "for " + who}, "values": [][]any{{now.Add(-2 * time.Hour).Unix(), "5"}, {now.Add(-time.Hour).Unix(), "4"}}},
		}}})
	}))
	t.Cleanup(s.Close)
	return s.URL, requests
}

func TestUsersAreNotAnsweredFromEachOthersCache(t *testing.T) {
	url, requests := fake(t)
	s := serve(t, url, map[string]any{"oauthPassThru": true}, nil)
	ask := func(token string) string {
		q := query{"type": "probability", "by": "change", "criteria": []any{criterion("a", "<", "3", "")}}
		r, err := s.plugin.Client.QueryData(context.Background(), &backend.QueryDataRequest{
			PluginContext: s.context(), Headers: map[string]string{"Authorization": token}, Queries: []backend.DataQuery{q.data("A")},
		})
		if err != nil || r.Responses["A"].Error != nil {
			t.Fatal(err, r.Responses["A"].Error)
		}
		return r.Responses["A"].Frames[0].Fields[0].Labels["model"]
	}
	for _, c := range []struct {
		token    string
		requests int32
	}{{"Bearer alice", 1}, {"Bearer bob", 2}, {"Bearer alice", 2}, {"Bearer bob", 2}} {
		if got := ask(c.token); got != "for "+c.token || requests.Load() != c.requests {
			t.Errorf("%s was answered %q after %d requests, want %d", c.token, got, requests.Load(), c.requests)
		}
	}
}

// Whatever a question differs in decides what is asked: none is answered from what
// was remembered for another that reads alike.
func TestQuestionsAreNotAnsweredFromEachOthersCache(t *testing.T) {
	url, requests := fake(t)
	s := serve(t, url, nil, nil)
	base := func() query {
		return query{"type": "probability", "by": "change", "criteria": []any{criterion(p99, "<", "3s", "seconds")}}
	}
	for i, change := range []func(query){
		func(query) {},
		func(q query) { // the same condition in words: "p99 < 3 s"
			q["criteria"] = []any{criterion(`plancast_engine_latency_seconds{quantile="0.99", model="resnet50"}`, "<", "3s", "seconds")}
		},
		func(q query) { q["criteria"] = []any{criterion("b", "<", "3s", "seconds")} },
		func(q query) {
			q["adhocFilters"] = []any{map[string]string{"key": "model", "operator": "=", "value": "x"}}
		},
	} {
		q := base()
		change(q)
		s.one(q)
		s.one(q)
		if requests.Load() != int32(i+1) {
			t.Errorf("question %d: %d requests so far, want %d", i, requests.Load(), i+1)
		}
	}
}

func TestAChangeOfSettingsStartsAnew(t *testing.T) {
	url, requests := fake(t)
	s := serve(t, url, nil, nil)
	q := query{"type": "probability", "by": "change", "criteria": []any{criterion("a", "<", "3", "")}}
	s.one(q)
	s.one(q)
	if requests.Load() != 1 {
		t.Errorf("%d requests for the same question, want 1", requests.Load())
	}
	s.settings.JSONData = []byte(`{"httpMethod":"GET"}`)
	s.settings.Updated = now.Add(time.Second)
	s.one(q)
	if requests.Load() != 2 {
		t.Errorf("%d requests after the settings changed, want 2", requests.Load())
	}
}
