package daemon

import (
	"reflect"
	"testing"
	"time"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/worker"
)

func TestTheConfigurationsLimitsReachTheWorker(t *testing.T) {
	w := &limited{command: []string{"plancast", "worker"}, env: []string{"A=1"}, scratch: "/state/work"}
	got := w.spec(config.Worker{Timeout: time.Minute, Memory: 1 << 30, Cores: []int{2, 3}})
	want := worker.Spec{Command: w.command, Env: w.env, Scratch: "/state/work", Timeout: time.Minute, Memory: 1 << 30, Cores: []int{2, 3}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v; want %+v", got, want)
	}
}
