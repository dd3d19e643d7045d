// Package pause waits for a time that a context can cut short.
package pause

import (
	"context"
	"time"
)

// For returns after d, or with the error of ctx as soon as that ends.
func For(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
