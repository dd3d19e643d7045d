package terms

import (
	"strings"
	"testing"

	"github.com/plancast/plancast/units"
)

func TestAQuantityOfAWorkload(t *testing.T) {
	q, err := QuantityByName("p99@chat")
	want := Quantity{"p99@chat", "P99 latency of chat", `plancast_workload_latency_seconds{workload="chat",quantile="0.99"}`, units.Seconds, true}
	if err != nil || q != want {
		t.Errorf("%+v, %v; want %+v", q, err, want)
	}
	if q, err = QuantityByName("goodput@a.b-c"); err != nil || q.LowerIsBetter || q.Expr != `plancast_workload_goodput_requests_per_second{workload="a.b-c"}` {
		t.Errorf("%+v, %v", q, err)
	}
	for name, says := range map[string]string{
		"throughput@chat": `unknown quantity of a workload "throughput": use one of mean, p50, p90, p95, p99, rate, goodput, max_rate`,
		"@chat":           `unknown quantity of a workload ""`,
		"goodput":         `unknown quantity "goodput"`,
	} {
		if _, err := QuantityByName(name); err == nil || !strings.HasPrefix(err.Error(), says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
