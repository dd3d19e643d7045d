package onnxruntime

import (
	"context"
	"errors"
	"testing"
	"time"
)

// A window begins when the threads of the engine timed before it sleep.
func TestAWindowWaitsForTheThreadsOfOtherEngines(t *testing.T) {
	broken := errors.New("no accounting")
	ended, end := context.WithCancel(t.Context())
	end()
	for name, c := range map[string]struct {
		ctx   context.Context
		use   []float64 // cores in use, in each step; the last one from then on
		err   error     // of reading it
		steps int
		want  error
	}{
		"nothing else runs":                {t.Context(), []float64{0}, nil, 1, nil},
		"a thread spins for 50 ms":         {t.Context(), []float64{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0}, nil, 11, nil},
		"two threads, one after another":   {t.Context(), []float64{2, 2, 1, 0.1}, nil, 4, nil},
		"threads that never sleep":         {t.Context(), []float64{1}, nil, steps, nil},
		"a use that cannot be read":        {t.Context(), []float64{1}, broken, 0, broken},
		"a measurement that is called off": {ended, []float64{1}, nil, 1, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			var total time.Duration
			waited := 0
			used := func() (time.Duration, error) { return total, c.err }
			pause := func(d time.Duration) {
				total += time.Duration(c.use[min(waited, len(c.use)-1)] * float64(d))
				waited++
			}
			if err := idle(c.ctx, used, pause); !errors.Is(err, c.want) || waited != c.steps {
				t.Errorf("%d steps, %v; want %d, %v", waited, err, c.steps, c.want)
			}
		})
	}
}
