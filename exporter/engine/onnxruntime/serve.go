package onnxruntime

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/onnxruntime/ort"
)

// server is an instance that serves requests, of which one runs at a time.
type server struct {
	chains []*chain
	err    error
}

func (v *server) close() {
	for _, c := range v.chains {
		c.close()
	}
}

// Serve serves requests by instances that share the session, as Time's do. The loop is
// native code.
func (s *session) Serve(ctx context.Context, chains []engine.Chain, requests []engine.Request, opts engine.ServeOptions) ([]engine.Answer, error) {
	if s.session == nil {
		return nil, errClosed
	}
	outputs := make([][][]int64, len(chains))
	for i, c := range chains {
		var err error
		if outputs[i], err = s.try(ctx, c); err != nil {
			return nil, err
		}
	}
	servers := make([]*server, max(1, opts.Concurrency))
	for i := range servers {
		servers[i] = &server{}
		defer servers[i].close()
		for k, of := range chains {
			c, err := s.newChain(of, outputs[k])
			servers[i].chains = append(servers[i].chains, c)
			if err != nil {
				return nil, err
			}
		}
	}
	return s.serve(ctx, servers, requests, opts.MaxDuration)
}

// try runs a chain, and learns the shapes of the outputs of one that is a single call:
// nil where steps differ.
func (s *session) try(ctx context.Context, c engine.Chain) ([][]int64, error) {
	if len(c.Steps) == 1 && len(c.Links) == 0 {
		known, err := s.learn(ctx, c.Steps[0])
		return known.shapes, err
	}
	_, err := s.Walk(ctx, c)
	return nil, err
}

// serve runs all servers until the requests are answered.
func (s *session) serve(ctx context.Context, servers []*server, requests []engine.Request, longest time.Duration) ([]engine.Answer, error) {
	if err := s.alone(ctx); err != nil {
		return nil, err
	}
	at, which := make([]int64, len(requests)), make([]int64, len(requests))
	for i, r := range requests {
		at[i], which[i] = int64(r.At), int64(r.Input)
	}
	q, err := ort.NewQueue(at, which, longest)
	if err != nil {
		return nil, failure(engine.KindOutOfMemory, "serve requests", s.plan.Path, err)
	}
	defer q.Free()
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { defer close(stopped); q.Stop() })
	defer func() {
		if !stop() {
			<-stopped // the queue must outlive the call that ends it
		}
	}()
	var ready, done sync.WaitGroup
	gate := make(chan struct{})
	for _, v := range servers {
		ready.Add(1)
		done.Go(func() {
			// A thread of its own: it is warm and at its place when the window begins.
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			bound := make([][]ort.Bound, len(v.chains))
			for i, c := range v.chains {
				bound[i] = c.steps
			}
			ready.Done()
			<-gate
			if err := s.session.Serve(bound, q); err != nil {
				v.err = s.failed(opRun, err)
				q.Stop()
			}
		})
	}
	ready.Wait()
	q.Begin()
	close(gate)
	done.Wait()
	for _, v := range servers {
		if v.err != nil {
			return nil, v.err
		}
	}
	return answers(q), ctx.Err()
}

// answers are those up to the first request that was not served.
func answers(q *ort.Queue) []engine.Answer {
	out := make([]engine.Answer, 0, len(q.Ends))
	for i, end := range q.Ends {
		if end == 0 {
			break
		}
		out = append(out, engine.Answer{Taken: time.Duration(q.Taken[i]), Start: time.Duration(q.Starts[i]), End: time.Duration(end)})
	}
	return out
}
