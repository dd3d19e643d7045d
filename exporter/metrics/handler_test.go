package metrics

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"weak"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/plancast/plancast/exporter/report/reporttest"
	"github.com/plancast/plancast/exporter/standing"
)

func TestCollectorSwapsSnapshots(t *testing.T) {
	c := NewCollector(snapshot(t, standing.Evidence{Models: []standing.Held{{Name: "before"}}}))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 50 {
			c.Set(snapshot(t, standing.Evidence{Models: []standing.Held{{Name: "after"}}}))
		}
	}()
	for range 50 {
		if s := string(scrape(t, c, "text/plain")); strings.Contains(s, "before") && strings.Contains(s, "after") {
			t.Fatal("one scrape saw two snapshots")
		}
	}
	<-done
	if s := string(scrape(t, c, "text/plain")); !strings.Contains(s, "after") {
		t.Error("the new snapshot is not exported")
	}
}

// What the handler serves is what a registry would, in every format, plain and
// compressed.
func TestHandlerServesWhatARegistryWould(t *testing.T) {
	rest := prometheus.NewRegistry()
	up := prometheus.NewGauge(prometheus.GaugeOpts{Name: "zz_other", Help: "Of another collector."})
	up.Set(7)
	rest.MustRegister(up)
	for _, accept := range []string{
		"", "text/plain", "application/openmetrics-text;version=1.0.0",
		"application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited",
	} {
		c := collector(t, reporttest.Input())
		all := prometheus.NewPedanticRegistry()
		all.MustRegister(c, up)
		want := parse(t, promhttp.HandlerFor(all, promhttp.HandlerOpts{EnableOpenMetrics: true}), accept, "")
		for _, encoding := range []string{"", "gzip", "br, gzip;q=0.5", "gzip;q=0"} {
			for range 2 { // made, then from the cache
				got := parse(t, c.Handler(rest, nil), accept, encoding)
				if !slices.Equal(got, want) {
					t.Fatalf("Accept %q, encoding %q: %d lines, want %d", accept, encoding, len(got), len(want))
				}
			}
		}
	}
}

// parse scrapes h and returns the sorted lines, or the sorted series of the
// protobuf format.
func parse(t *testing.T, h http.Handler, accept, encoding string) []string {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", accept)
	r.Header.Set("Accept-Encoding", encoding)
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	var body io.Reader = w.Body
	if w.Header().Get("Content-Encoding") == "gzip" {
		if n := w.Header().Get("Content-Length"); n != "" && n != fmt.Sprint(w.Body.Len()) {
			t.Errorf("Content-Length %s, %d bytes", n, w.Body.Len())
		}
		z, err := gzip.NewReader(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		z.Multistream(false) // one member, for clients that read no more
		body = z
	} else if strings.HasPrefix(encoding, "gzip;q=0") == false && strings.Contains(encoding, "gzip") {
		t.Errorf("%q was not compressed", encoding)
	}
	format := expfmt.ResponseFormat(w.Header())
	if strings.Contains(string(format), "protobuf") {
		var out []string
		d := expfmt.NewDecoder(body, format)
		for {
			var f dto.MetricFamily
			if err := d.Decode(&f); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			for _, m := range f.GetMetric() {
				out = append(out, fmt.Sprintln(f.GetName(), f.GetHelp(), f.GetType(), f.GetUnit(), m))
			}
		}
		slices.Sort(out)
		return out
	}
	b, err := io.ReadAll(body)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(format), "openmetrics") && !strings.HasSuffix(string(b), "\n# EOF\n") {
		t.Error("the OpenMetrics text does not end with # EOF")
	}
	lines := strings.Split(string(b), "\n")
	slices.Sort(lines)
	return lines
}

func TestHandlerReportsWhatIsWrong(t *testing.T) {
	rest := prometheus.NewRegistry()
	rest.MustRegister(prometheus.NewGauge(prometheus.GaugeOpts{Name: "plancast_iteration", Help: "Twice."}))
	var reported error
	w := httptest.NewRecorder()
	collector(t, reporttest.Input()).Handler(rest, func(err error) { reported = err }).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusInternalServerError || reported == nil || !strings.Contains(reported.Error(), "plancast_iteration") {
		t.Errorf("%d, %v", w.Code, reported)
	}
}

// After a record of one model, a scrape shows what a daemon that starts then would
// show, no part of the other models is encoded again, and no scrape waits.
func TestTheNextSnapshotEncodesWhatChanged(t *testing.T) {
	in := reporttest.Many(12, 3)
	var tracker standing.Tracker
	for _, r := range in.Records[:len(in.Records)-1] {
		tracker.Add(r)
	}
	derive := func() *standing.State {
		s, err := tracker.Derive(in)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first, err := NewSnapshot(derive(), testBuild, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := NewCollector(first)
	formats := []string{"text/plain", "application/openmetrics-text;version=1.0.0"}
	for _, accept := range formats {
		parse(t, c.Handler(prometheus.NewRegistry(), nil), accept, "gzip")
	}
	newest := in.Records[len(in.Records)-1]
	tracker.Add(newest)
	state := derive()
	next, err := first.Next(state, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range next.parts {
		changed := p.model == nil || p.model.Name == newest.Model
		if same := p == first.parts[i]; same == changed {
			t.Errorf("part %d is made again: %v, of what changed: %v", i, !same, changed)
		}
	}
	c.Set(next)
	if n := len(next.served()); n != len(formats) {
		t.Errorf("%d formats are ready when the snapshot is served; want %d", n, len(formats))
	}
	whole, err := NewSnapshot(state, testBuild, 0)
	if err != nil {
		t.Fatal(err)
	}
	fresh := NewCollector(whole)
	for _, accept := range append(formats, "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited", "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text") {
		got, want := parse(t, c.Handler(prometheus.NewRegistry(), nil), accept, ""), parse(t, fresh.Handler(prometheus.NewRegistry(), nil), accept, "")
		if !slices.Equal(got, want) {
			t.Errorf("%s: what followed differs from what is made again: %d and %d lines", accept, len(got), len(want))
		}
	}
}

// A daemon makes a snapshot after each record: none may keep those before it.
func TestASnapshotEndsWithTheNext(t *testing.T) {
	var tracker standing.Tracker
	in := reporttest.Many(3, 2)
	derive := func() *standing.State {
		s, err := tracker.Derive(in)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	var snapshots []weak.Pointer[Snapshot]
	var states []weak.Pointer[standing.State]
	current := new(Snapshot)
	c := NewCollector(current)
	for _, r := range in.Records {
		tracker.Add(r)
		state := derive()
		next, err := current.Next(state, 0)
		if err != nil {
			t.Fatal(err)
		}
		c.Set(next)
		scrape(t, c, "text/plain")
		current = next
		snapshots, states = append(snapshots, weak.Make(next)), append(states, weak.Make(state))
	}
	runtime.GC()
	for i := range len(snapshots) - 1 {
		if snapshots[i].Value() != nil || states[i].Value() != nil {
			t.Errorf("snapshot %d of %d is still in memory: %v, its state: %v", i+1, len(snapshots), snapshots[i].Value() != nil, states[i].Value() != nil)
		}
	}
	runtime.KeepAlive(current)
	runtime.KeepAlive(&tracker)
}

func TestCacheOfFormatsIsBounded(t *testing.T) {
	c := collector(t, standing.Evidence{})
	h := c.Handler(prometheus.NewRegistry(), nil)
	for i := range 100 {
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Header.Set("Accept", fmt.Sprintf("text/plain;version=0.0.%d;escaping=x%d, application/openmetrics-text;version=%d", i, i, i))
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
	if n := len(c.current.Load().served()); n == 0 || n > 8 {
		t.Errorf("%d formats are kept", n)
	}
}
