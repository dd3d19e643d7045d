package pause_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plancast/plancast/exporter/pause"
)

func TestAPauseTakesItsTimeUnlessItsContextEnds(t *testing.T) {
	for name, c := range map[string]struct {
		ends, pause, took time.Duration
		err               error
	}{
		"to its end": {ends: time.Hour, pause: time.Minute, took: time.Minute},
		"cut short":  {ends: time.Second, pause: time.Minute, took: time.Second, err: context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), c.ends)
				defer cancel()
				begun := time.Now()
				if err := pause.For(ctx, c.pause); !errors.Is(err, c.err) || time.Since(begun) != c.took {
					t.Errorf("%v after %v, want %v after %v", err, time.Since(begun), c.err, c.took)
				}
			})
		})
	}
}
