package web_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/plancast/plancast/exporter/web"
)

// Each of many requests is answered by a reload that read the file after the request
// was made, and no two reloads run at once.
func TestARequestIsAnsweredByAReloadThatBeganAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := web.NewReloads()
		var mu sync.Mutex
		written, read := 0, 0 // versions of the file
		stop := make(chan struct{})
		var serving, asking sync.WaitGroup
		serving.Go(func() {
			for {
				select {
				case <-stop:
					return
				case answer := <-r.Next():
					mu.Lock()
					read = written
					mu.Unlock()
					answer <- nil
				}
			}
		})
		for range 50 {
			asking.Go(func() {
				mu.Lock()
				written++
				mine := written
				mu.Unlock()
				if err := r.Request(t.Context()); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if read < mine {
					t.Errorf("version %d was written and %d read", mine, read)
				}
			})
		}
		asking.Wait()
		close(stop)
		serving.Wait()
	})
}

func TestARequestThatNobodyTakesEnds(t *testing.T) {
	r := web.NewReloads()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Request(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a request that was given up: %v", err)
	}
	r.Close()
	if err := r.Request(t.Context()); err == nil {
		t.Error("a request after the end is taken")
	}
}
