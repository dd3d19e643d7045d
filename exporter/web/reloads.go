package web

import (
	"context"
	"errors"
	"fmt"
)

// Reloads are requests to read the configuration again, on their way to the one
// goroutine that does it. Reloads run one after the other and each reads the file
// when its turn comes, so the last one ends with the newest file.
type Reloads struct {
	waiting chan chan<- error
	over    chan struct{}
}

// NewReloads makes one without a request. Close it.
func NewReloads() *Reloads {
	return &Reloads{waiting: make(chan chan<- error), over: make(chan struct{})}
}

// Next hands out the requests. Whoever takes one reloads, then sends the outcome,
// which never blocks.
func (r *Reloads) Next() <-chan chan<- error { return r.waiting }

// Request waits for a reload that begins after the call. When ctx ends first, the
// reload may happen all the same.
func (r *Reloads) Request(ctx context.Context) error {
	answer := make(chan error, 1)
	select {
	case r.waiting <- answer:
	case <-r.over:
		return errors.New("reload: plancast is stopping")
	case <-ctx.Done():
		return fmt.Errorf("reload: %w", ctx.Err())
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return fmt.Errorf("reload: %w", ctx.Err())
	}
}

// Close refuses further requests: nobody takes them any more.
func (r *Reloads) Close() { close(r.over) }
