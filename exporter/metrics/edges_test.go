package metrics

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	promvalue "github.com/prometheus/prometheus/model/value"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
)

// taken keeps what an export writes of some series, as "value@second".
type taken struct {
	of  string
	got map[string][]string
}

func (t *taken) Family(Family) error { return nil }

func (t *taken) Sample(series string, v float64, at int64) error {
	if !strings.HasPrefix(series, t.of) {
		return nil
	}
	text := fmt.Sprintf("%g@%g", v, float64(at)/1000)
	if math.Float64bits(v) == promvalue.StaleNaN {
		text = fmt.Sprintf("end@%g", float64(at)/1000)
	}
	t.got[series] = append(t.got[series], text)
	return nil
}

func TestAStoreGetsASampleOnBothSidesOfEachChangeAndTheEndOfEachSeries(t *testing.T) {
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }
	var records []history.Record
	add := func(seconds int64, iteration int, fingerprint string, p99 float64) {
		records = append(records, history.Record{
			ID: int64(len(records) + 1), Model: "net", Version: fmt.Sprint(len(records) + 1), Digest: "d", Precision: engine.FP32, Backend: "tensorrt", Device: "L4",
			Fingerprint: fingerprint, Iteration: iteration, Started: at(seconds - 1), Finished: at(seconds),
			Measurement: &bench.Measurement{Latency: bench.Latency{Queries: 700, Sum: 1, Quantiles: []bench.Quantile{{Q: 0.99, Value: p99}}}},
		})
	}
	add(1000, 1, "a", 5)
	add(2000, 2, "a", 4)
	add(3000, 1, "b", 3)
	write := func(of string) map[string][]string {
		to := &taken{of: of, got: map[string][]string{}}
		if err := WriteSamples(to, seq(records), ExportOptions{Edges: true, Until: at(9000), TempDir: t.TempDir()}); err != nil {
			t.Fatal(err)
		}
		return to.got
	}
	p99 := write(`plancast_engine_latency_seconds{model="net",precision="fp32",backend="tensorrt",device="L4",quantile`)
	want := []string{"5@1000", "5@1999.999", "4@2000", "4@2999.999", "3@3000", "3@9000"}
	if len(p99) != 1 {
		t.Fatal(p99)
	}
	for _, got := range p99 {
		if !slices.Equal(got, want) {
			t.Errorf("P99: %q, want %q", got, want)
		}
	}
	info := write("plancast_candidate_info")
	if len(info) != 3 {
		t.Fatal(info)
	}
	for series, got := range info {
		want := []string{"1@1000", "1@1999.999", "end@2000"}
		switch {
		case strings.Contains(series, `version="2"`):
			want = []string{"1@2000", "1@2999.999", "end@3000"}
		case strings.Contains(series, `version="3"`):
			want = []string{"1@3000", "1@9000"} // the exporter goes on with it
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", series, got, want)
		}
	}
}
