package plugin
import ("testing";"github.com/grafana/grafana-plugin-sdk-go/backend";"github.com/plancast/plancast/grafana-plugin/pkg/promtest")
func TestZZ(t *testing.T){
	url := promtest.Start(t, history().OpenMetrics())
	s := serve(t, url, nil, nil)
	for _, q := range []query{
		{"type":"probability","criteria":[]any{criterion(p99,"<","40ms","seconds")},"interval":true},
		{"type":"probability","joint":true,"share":50,"criteria":[]any{criterion(`plancast_engine_latency_seconds{quantile="0.99",precision="int8"}`,"<","40ms","seconds"),criterion(`plancast_engine_accuracy_deviation_ratio{precision="int8"}`,"<","0.4%","ratio")}},
		{"type":"trend","criteria":[]any{criterion(p99,"<","40ms","seconds")}},
		{"type":"forecast","criteria":[]any{criterion(p99,"<","40ms","seconds")}},
		{"type":"when","criteria":[]any{criterion(p99,"<","40ms","seconds")}},
		{"type":"when","show":"distribution","criteria":[]any{criterion(p99,"<","40ms","seconds")}},
		{"type":"report"},
		{"type":"drivers","criteria":[]any{criterion(p99,"<","40ms","seconds")}},
		{"type":"record","criteria":[]any{criterion(p99,"<","40ms","seconds")}},
		{"type":"record","show":"calibration","criteria":[]any{criterion(p99,"<","40ms","seconds")}},
		{"type":"annotations","criteria":[]any{criterion(p99,"<","40ms","seconds")}},
		{"type":"annotations"},
		{"type":"probability","source":"milestone","milestone":"launch"},
	} {
		r := s.ask(map[string]query{"A":q})["A"]
		t.Log("=====", q, r.Error, r.Status, r.ErrorSource)
		for _, f := range r.Frames { t.Log(show(f)) }
	}
	h, err := s.plugin.Client.CheckHealth(t.Context(), &backend.CheckHealthRequest{PluginContext: s.context()})
	t.Log(h, err)
}
