// Package cache keeps answers for a while, within a bound of bytes, and lets
// those who ask the same at the same time share one answer.
package cache

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Cache holds values of type V, which must not be changed by who gets them. It
// may be used concurrently.
type Cache[V any] struct {
	limit int64
	size  func(V) int64
	now   func() time.Time

	mu      sync.Mutex
	lru     *simplelru.LRU[string, entry[V]]
	bytes   int64
	flights map[string]*flight[V]
}

type entry[V any] struct {
	value V
	size  int64
	until time.Time
}

// flight is a load under way. Unlike singleflight of x/sync it ends when the
// last one who waits for it has left, and not when the first has.
type flight[V any] struct {
	done    chan struct{}
	value   V
	err     error
	waiting int
	cancel  context.CancelFunc
}

// New makes a cache of at most limit bytes, as size counts them. now is the
// clock.
func New[V any](limit int64, size func(V) int64, now func() time.Time) *Cache[V] {
	c := &Cache[V]{limit: limit, size: size, now: now, flights: map[string]*flight[V]{}}
	// The bound is in bytes; the number of entries is left open.
	c.lru, _ = simplelru.NewLRU(math.MaxInt32, func(_ string, e entry[V]) { c.bytes -= e.size })
	return c
}

// Get returns the value of key, from the cache or from load, which runs once
// for all who wait for the same key and sees the values, but not the end, of
// the first one's context. A value is kept for ttl, an error never. Who stops
// waiting gets the error of ctx.
func (c *Cache[V]) Get(ctx context.Context, key string, ttl time.Duration, load func(context.Context) (V, error)) (V, error) {
	var zero V
	if err := ctx.Err(); err != nil {
		return zero, err
	}
	c.mu.Lock()
	if e, ok := c.lru.Get(key); ok && c.now().Before(e.until) {
		c.mu.Unlock()
		return e.value, nil
	}
	f := c.flights[key]
	if f == nil {
		f = &flight[V]{done: make(chan struct{})}
		var own context.Context
		own, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
		c.flights[key] = f
		go c.fly(own, key, ttl, f, load)
	}
	f.waiting++
	c.mu.Unlock()

	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		c.mu.Lock()
		defer c.mu.Unlock()
		f.waiting--
		if f.waiting == 0 {
			f.cancel()
			if c.flights[key] == f {
				delete(c.flights, key)
			}
		}
		return zero, ctx.Err()
	}
}

func (c *Cache[V]) fly(ctx context.Context, key string, ttl time.Duration, f *flight[V], load func(context.Context) (V, error)) {
	defer f.cancel()
	f.value, f.err = load(ctx)
	c.mu.Lock()
	if c.flights[key] == f {
		delete(c.flights, key)
	}
	if f.err == nil && ttl > 0 {
		c.keep(key, f.value, ttl)
	}
	c.mu.Unlock()
	close(f.done)
}

// keep stores a value and drops the least recently used until all fit. A value
// that could not fit alone is not kept.
func (c *Cache[V]) keep(key string, v V, ttl time.Duration) {
	e := entry[V]{value: v, size: c.size(v) + int64(len(key)) + 128, until: c.now().Add(ttl)}
	if e.size > c.limit {
		return
	}
	c.lru.Remove(key)
	c.bytes += e.size
	c.lru.Add(key, e)
	for c.bytes > c.limit {
		c.lru.RemoveOldest()
	}
}

// Bytes is how much is held now.
func (c *Cache[V]) Bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// Len is how many values are held now.
func (c *Cache[V]) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lru.Len()
}
