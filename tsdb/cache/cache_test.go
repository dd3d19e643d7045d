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

func TestTheBoundIsExact(t *testing.T) {
	const own = 128 + 1 // of an entry whose key is one byte
	c := New(1000, func(n int) int64 { return int64(n) }, time.Now)
	get := func(key string, size int) {
		t.Helper()
		if _, err := c.Get(t.Context(), key, time.Hour, func(context.Context) (int, error) { return size, nil }); err != nil {
			t.Fatal(err)
		}
	}
	get("a", 1000-own+1)
	if c.Len() != 0 || c.Bytes() != 0 {
		t.Errorf("a value that cannot fit is kept: %d, %d bytes", c.Len(), c.Bytes())
	}
	get("a", 500-own)
	get("b", 500-own)
	if c.Len() != 2 || c.Bytes() != 1000 {
		t.Errorf("two that fill the cache: %d, %d bytes", c.Len(), c.Bytes())
	}
	get("c", 1000-own)
	if c.Len() != 1 || c.Bytes() != 1000 {
		t.Errorf("one that fills it alone: %d, %d bytes", c.Len(), c.Bytes())
	}
}

func TestAnAnswerIsKeptForItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(1<<20, func(int) int64 { return 10 }, time.Now)
		loads := 0
		get := func(ttl time.Duration) int {
			t.Helper()
			v, err := c.Get(t.Context(), "k", ttl, func(context.Context) (int, error) { loads++; return loads, nil })
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		for _, s := range []struct {
			sleep, ttl time.Duration
			want       int
		}{{0, 0, 1}, {0, time.Minute, 2}, {0, time.Minute, 2}, {time.Minute - 1, time.Minute, 2}, {1, time.Minute, 3}, {0, time.Minute, 3}} {
			time.Sleep(s.sleep)
			if got := get(s.ttl); got != s.want {
				t.Errorf("after %s: load %d, want %d", s.sleep, got, s.want)
			}
		}
		if c.Len() != 1 || c.Bytes() != 10+1+128 {
			t.Errorf("%d values of %d bytes are held", c.Len(), c.Bytes())
		}
	})
}

func TestALoadThatNobodyWaitsForKeepsNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(1<<20, func(string) int64 { return 10 }, time.Now)
		slow := func(context.Context) (string, error) { time.Sleep(time.Hour); return "late", nil }
		alone, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		if _, err := c.Get(alone, "k", time.Minute, slow); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the one who left got %v", err)
		}
		start := time.Now()
		v, err := c.Get(t.Context(), "k", 2*time.Hour, func(context.Context) (string, error) { return "fresh", nil })
		if v != "fresh" || err != nil || time.Since(start) != 0 {
			t.Errorf("the next one got %q, %v after %s", v, err, time.Since(start))
		}
		time.Sleep(time.Hour)
		synctest.Wait()
	})
}
