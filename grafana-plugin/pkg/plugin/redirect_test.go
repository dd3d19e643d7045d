package plugin

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"

	"github.com/plancast/plancast/bench/torture/dose"
)

// Every kind of credential that Grafana hands to the plugin goes to the
// configured host and to no other, wherever that one redirects to.
func TestCredentialsNeverFollowARedirect(t *testing.T) {
	for _, code := range []int{301, 302, 303, 307, 308} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				t.Errorf("the other host was asked, with %v", r.Header)
			}))
			defer other.Close()
			elsewhere := strings.Replace(other.URL, "127.0.0.1", "localhost", 1)
			var mu sync.Mutex
			received := map[string]bool{}
			first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				for _, h := range []string{"Authorization", "X-Id-Token", "Cookie", "X-Token"} {
					received[h+": "+r.Header.Get(h)] = true
				}
				mu.Unlock()
				http.Redirect(w, r, elsewhere+r.URL.Path+"?secret=hunter2", code)
			}))
			defer first.Close()
			question := query{"type": "probability", "criteria": []any{criterion("m", "<", "1", "")}}
			settings := map[string]any{"oauthPassThru": true, "keepCookies": []string{"session"}, "httpHeaderName1": "X-Token"}
			forwarded := serve(t, first.URL, settings, map[string]string{"httpHeaderValue1": "SECRETHEADER"})
			basic := serve(t, first.URL, map[string]any{}, map[string]string{"basicAuthPassword": "PASSWORD"})
			basic.settings.BasicAuthEnabled, basic.settings.BasicAuthUser = true, "alice"
			for _, s := range []*source{forwarded, basic} {
				req := &backend.QueryDataRequest{PluginContext: s.context(), Headers: map[string]string{}}
				if s == forwarded {
					req.Headers = map[string]string{"Authorization": "Bearer OAUTHTOKEN", "X-ID-Token": "IDTOKEN", "Cookie": "session=COOKIE"}
				}
				req.Queries = append(req.Queries, question.data("A"))
				r, err := s.plugin.Client.QueryData(context.Background(), req)
				if err != nil {
					t.Fatal(err)
				}
				err = r.Responses["A"].Error
				if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("redirects (%d) to %s,", code, elsewhere)) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("the error is %v", err)
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for _, want := range []string{"Authorization: Bearer OAUTHTOKEN", "X-Id-Token: IDTOKEN", "Cookie: session=COOKIE", "X-Token: SECRETHEADER", "Authorization: Basic YWxpY2U6UEFTU1dPUkQ="} {
				if !received[want] {
					t.Errorf("the configured host did not get %q: %v", want, received)
				}
			}
		})
	}
	dose.Done(t, "redirects", 10, "none was followed; OAuth and ID tokens, cookies, secret headers and passwords reached the configured host alone")
}

// Connections are closed with the instance that opened them, and so are those
// that a question under way opens later.
func TestDisposeClosesConnections(t *testing.T) {
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	var gone sync.Cond
	gone.L = &mu
	arrived, release := make(chan struct{}, 10), make(chan struct{})
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-release
		_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"matrix","result":[]}}`)
	}))
	srv.Config.ConnState = func(c net.Conn, s http.ConnState) {
		mu.Lock()
		defer mu.Unlock()
		switch s {
		case http.StateNew:
			open[c] = true
		case http.StateClosed, http.StateHijacked:
			delete(open, c)
			gone.Broadcast()
		}
	}
	srv.Start()
	defer srv.Close()
	d, err := newAt(context.Background(), backend.DataSourceInstanceSettings{ID: 1, UID: "u", Name: "n", Type: ID, URL: srv.URL, JSONData: []byte(`{"maxRequests":1}`), Updated: now}, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	ask := func() {
		r, err := d.QueryData(context.Background(), &backend.QueryDataRequest{Queries: []backend.DataQuery{query{"criteria": []any{criterion("m", "<", "1", "")}}.data("A")}})
		if err != nil || r.Responses["A"].Error != nil {
			t.Errorf("%v %v", err, r.Responses["A"].Error)
		}
	}
	done := make(chan struct{})
	go func() { ask(); close(done) }()
	<-arrived
	d.Dispose() // while an answer is awaited
	close(release)
	<-done
	mu.Lock()
	defer mu.Unlock()
	for len(open) > 0 { // without the fix nothing closes them, and the test runs into its time limit
		gone.Wait()
	}
}
