package cache

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOneLoadForAllWhoAskAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(1<<20, func(string) int64 { return 10 }, time.Now)
		var loads atomic.Int32
		load := func(context.Context) (string, error) {
			loads.Add(1)
			time.Sleep(time.Second)
			return "answer", nil
		}
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if v, err := c.Get(context.Background(), "k", time.Minute, load); v != "answer" || err != nil {
					t.Errorf("got %q, %v", v, err)
				}
			})
		}
		wg.Wait()
		if loads.Load() != 1 {
			t.Errorf("%d loads, want 1", loads.Load())
		}
		time.Sleep(61 * time.Second)
		_, _ = c.Get(context.Background(), "k", time.Minute, load)
		if loads.Load() != 2 {
			t.Errorf("%d loads after the answer is stale, want 2", loads.Load())
		}
	})
}

func TestWhoLeavesDoesNotTakeTheAnswerFromOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(1<<20, func(string) int64 { return 10 }, time.Now)
		ended := false
		load := func(ctx context.Context) (string, error) {
			select {
			case <-time.After(time.Minute):
				return "answer", nil
			case <-ctx.Done():
				ended = true
				return "", ctx.Err()
			}
		}
		first, leave := context.WithCancel(context.Background())
		go func() {
			if _, err := c.Get(first, "k", time.Minute, load); !errors.Is(err, context.Canceled) {
				t.Errorf("the one who left got %v", err)
			}
		}()
		synctest.Wait()
		go func() {
			if v, err := c.Get(context.Background(), "k", time.Minute, load); v != "answer" || err != nil {
				t.Errorf("the other got %q, %v", v, err)
			}
		}()
		synctest.Wait()
		leave()
		time.Sleep(2 * time.Minute)
		if ended {
			t.Error("the load was ended although one was waiting")
		}
		alone, leave := context.WithTimeout(context.Background(), time.Second)
		defer leave()
		_, _ = c.Get(alone, "other", time.Minute, load)
		synctest.Wait()
		if !ended {
			t.Error("a load that nobody waits for goes on")
		}
	})
}

func TestErrorsAreNotKept(t *testing.T) {
	c := New(1<<20, func(string) int64 { return 10 }, time.Now)
	fails := true
	load := func(context.Context) (string, error) {
		if fails {
			return "", errors.New("down")
		}
		return "answer", nil
	}
	if _, err := c.Get(context.Background(), "k", time.Hour, load); err == nil {
		t.Fatal("no error")
	}
	fails = false
	if v, err := c.Get(context.Background(), "k", time.Hour, load); v != "answer" {
		t.Errorf("got %q, %v", v, err)
	}
}

func TestTheBoundIsInBytes(t *testing.T) {
	c := New(1000, func(v string) int64 { return int64(len(v)) }, time.Now)
	load := func(n int) func(context.Context) (string, error) {
		return func(context.Context) (string, error) { return string(make([]byte, n)), nil }
	}
	for _, k := range []string{"a", "b", "c", "d", "e"} {
		if _, err := c.Get(context.Background(), k, time.Hour, load(200)); err != nil {
			t.Fatal(err)
		}
		if c.Bytes() > 1000 {
			t.Errorf("%d bytes after %s, more than the bound", c.Bytes(), k)
		}
	}
	if c.Len() == 0 || c.Len() == 5 {
		t.Errorf("%d values are held", c.Len())
	}
	before := c.Len()
	if _, err := c.Get(context.Background(), "huge", time.Hour, load(5000)); err != nil {
		t.Fatal(err)
	}
	if c.Len() != before {
		t.Error("a value larger than the cache drove others out")
	}
}
