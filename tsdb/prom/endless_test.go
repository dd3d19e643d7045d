package prom

import "testing"

func TestALatencyWithoutEndHasAValue(t *testing.T) {
	for expr, want := range map[string]string{
		`plancast_workload_latency_seconds{workload="chat",quantile="0.99"}`:                                                `(plancast_workload_latency_seconds{quantile="0.99",workload="chat"}) * 1 or label_replace((plancast_workload_saturated{workload="chat"} == 1) / 0, "quantile", "0.99", "", "")`,
		`plancast_workload_latency_seconds{workload="chat",quantile="0.5",model=~"a.*"}`:                                    `(plancast_workload_latency_seconds{model=~"a.*",quantile="0.5",workload="chat"}) * 1 or label_replace((plancast_workload_saturated{model=~"a.*",workload="chat"} == 1) / 0, "quantile", "0.5", "", "")`,
		`plancast_workload_latency_seconds_sum{workload="chat"} / plancast_workload_latency_seconds_count{workload="chat"}`: `(plancast_workload_latency_seconds_sum{workload="chat"} / plancast_workload_latency_seconds_count{workload="chat"}) or (plancast_workload_saturated{workload="chat"} == 1) / 0`,
		`plancast_workload_rate_requests_per_second{workload="chat"}`:                                                       `plancast_workload_rate_requests_per_second{workload="chat"}`,
		`plancast_engine_latency_seconds{quantile="0.99"}`:                                                                  `plancast_engine_latency_seconds{quantile="0.99"}`,
		`plancast_workload_latency_seconds{workload="chat",quantile="0.99"} offset 1d`:                                      `plancast_workload_latency_seconds{quantile="0.99",workload="chat"} offset 1d`,
		`max by (model) (plancast_workload_latency_seconds{workload="chat",quantile="0.99"})`:                               `max by (model) (plancast_workload_latency_seconds{quantile="0.99",workload="chat"})`,
		`plancast_workload_latency_seconds{workload="chat"}`:                                                                `plancast_workload_latency_seconds{workload="chat"}`,
	} {
		e, err := Parse(expr)
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Endless().String(); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", expr, got, want)
		}
	}
}
