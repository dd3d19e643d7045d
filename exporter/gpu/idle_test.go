package gpu

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

func TestALookAtAnIdleGPU(t *testing.T) {
	const limit, one = 0.05, idleSettle + idleLeast
	for name, c := range map[string]struct {
		host        func() *host
		activity    float64       // of the SMs, in percent
		lingers     time.Duration // how long it is read; 0 is forever
		utilization uint32        // NVML's, in percent
		until       time.Duration // it is 0 from then on; 0 is never
		ret         nvml.Return   // of NVML's utilization
		took        time.Duration
		sm, busy    float64 // below 0: absent
	}{
		"nobody is at work":                 {twoH200, 0, 0, 0, 0, nvml.SUCCESS, one, 0, 0},
		"its own work is just over":         {twoH200, 0, 0, 90, 450 * time.Millisecond, nvml.SUCCESS, 450 * time.Millisecond, 0, 0},
		"its own work lingers in a counter": {twoH200, 18, 350 * time.Millisecond, 0, 0, nvml.SUCCESS, one + idleLeast, 0, 0},
		"a neighbor that fills the SMs":     {twoH200, 43, 0, 100, 0, nvml.SUCCESS, one + idleLeast, 0.43, -1},
		"a neighbor on few SMs":             {twoH200, 1, 0, 100, 0, nvml.SUCCESS, idleMost, 0.01, 1},
		"without counters: a neighbor":      {newA100, 0, 0, 70, 0, nvml.SUCCESS, idleMost, -1, 0.7},
		"without counters: nobody":          {newA100, 0, 0, 0, 0, nvml.SUCCESS, one, -1, 0},
		"a device that reports none of it":  {newA100, 0, 0, 0, 0, nvml.ERROR_NOT_SUPPORTED, one, -1, -1},
		"a GPU that has fallen off the bus": {newA100, 0, 0, 0, 0, nvml.ERROR_GPU_IS_LOST, one, -1, -1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := c.host()
				begun := time.Now()
				h.boards[0].GetUtilizationRatesFunc = func() (nvml.Utilization, nvml.Return) {
					if c.until > 0 && time.Since(begun) >= c.until {
						return nvml.Utilization{}, c.ret
					}
					return nvml.Utilization{Gpu: c.utilization}, c.ret
				}
				h.GpmMetricsGetFunc = func(q *nvml.GpmMetricsGetType) nvml.Return {
					for i := range q.NumMetrics {
						if q.Metrics[i].Value = c.activity; c.lingers > 0 && time.Since(begun) > c.lingers {
							q.Metrics[i].Value = 0
						}
					}
					return nvml.SUCCESS
				}
				w := newTestWatcher(t, h, ID{UUID: "GPU-a"})
				got := w.Idle(t.Context(), limit)
				if d := got.Took - c.took; d < 0 || d > idleStep {
					t.Errorf("it took %v, want %v", got.Took, c.took)
				}
				for what, f := range map[string]struct {
					got  *float64
					want float64
				}{"SM activity": {got.SMActivity, c.sm}, "utilization": {got.Utilization, c.busy}} {
					if (f.got == nil) != (f.want < 0) {
						t.Errorf("%s is %v, want %v", what, f.got, f.want)
					} else if f.got != nil {
						is(t, what, f.got, f.want)
					}
				}
			})
		})
	}
}

func twoH200() *host { return newHost(2) }

// An instance of MIG has counters of its own; the utilization is the whole GPU's.
func TestALookAtAnIdleInstance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(1)
		h.boards[0].split(0, 2)
		w := newTestWatcher(t, h, ID{UUID: "MIG-GPU-a2"})
		got := w.Idle(t.Context(), 0.5)
		is(t, "SM activity", got.SMActivity, 0.2)
		if got.Utilization != nil || got.Took >= idleSettle+idleLeast+idleStep {
			t.Errorf("%+v", got)
		}
	})
}
