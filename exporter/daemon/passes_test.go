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

func TestRequestsAreCollectedUntilAPassTakesThem(t *testing.T) {
	q := newRequests()
	selected := func() (out string) {
		only, _ := q.take()
		for _, model := range []string{"a", "b", "c"} {
			if only == nil || only(model) {
				out += model
			}
		}
		return out
	}
	for _, c := range []struct {
		added []string // "" is every model
		want  string
	}{
		{[]string{"a"}, "a"},
		{[]string{"a", "c"}, "ac"},
		{nil, ""}, // nothing is left of what was taken
		{[]string{"b", ""}, "abc"},
		{[]string{"b"}, "b"},
	} {
		for _, model := range c.added {
			q.add(model)
		}
		if got := selected(); got != c.want {
			t.Errorf("after requests for %q: %q are selected; want %q", c.added, got, c.want)
		}
	}
}
