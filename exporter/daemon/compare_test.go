package daemon_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/compare"
	"github.com/plancast/plancast/exporter/daemon/daemontest"
	"github.com/plancast/plancast/exporter/engine/fake"
)

func TestThePageComparesTwoResults(t *testing.T) {
	s := daemontest.New(t, "")
	s.Push("net", "1", fake.Script{Latency: daemontest.Milliseconds(10)})
	s.Push("net", "2", fake.Script{Latency: daemontest.Milliseconds(4)})
	d := s.Open()
	if err := d.Pass(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	h := d.Handler()
	for _, c := range []struct {
		target string
		code   int
		want   []string
	}{
		{"/compare", 200, []string{`<option>net</option>`, `action="compare" method="get"`}},
		{"/compare?model=net", 200, []string{`<option value="base" selected>`, `<option value="newest" selected>`, `<option value="2">version 2 fp32`}},
		{"/compare?model=net&a=1&b=2", 200, []string{`<option value="1" selected>`, "net fp32, version 2 (ID 2) against version 1 (ID 1)", `class="badge met">improved`, "down 60 %", "api/v1/compare?a=1&amp;b=2&amp;model=net"}},
		{"/compare?model=net&a=1&b=7", 404, []string{"no such record"}},
		{"/compare?model=%3Cscript%3E", 404, []string{"&lt;script&gt;"}},
		{"/api/v1/compare?a=1", 400, []string{"name two results"}},
		{"/api/v1/compare?a=1&b=9", 404, []string{"no such record"}},
	} {
		code, body := get(t, h, "GET", c.target)
		if code != c.code || strings.Contains(body, "<script") {
			t.Errorf("%s: %d; want %d", c.target, code, c.code)
		}
		for _, want := range c.want {
			if !strings.Contains(body, want) {
				t.Errorf("%s lacks %q\n%s", c.target, want, body)
			}
		}
	}
	var list []compare.Result
	if _, body := get(t, h, "GET", "/api/v1/compare?model=net&a=base&b=newest"); json.Unmarshal([]byte(body), &list) != nil || len(list) != 1 || list[0].Verdict != compare.Improved {
		t.Errorf("%+v", list)
	}
}
