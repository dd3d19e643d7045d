package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/plancast/plancast/bench/loaded"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/onnxruntime/ort"
	"github.com/plancast/plancast/exporter/engine/serve"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
	"github.com/plancast/plancast/exporter/tensorio"
)

// perceptron runs a classifier of one hidden layer on ONNX Runtime.
func perceptron(in, hidden, classes, threads int) func(context.Context) (loops, error) {
	return func(ctx context.Context) (l loops, err error) {
		dir, err := os.MkdirTemp("", "workload-")
		if err != nil {
			return l, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		path := filepath.Join(dir, "model.onnx")
		if err := os.WriteFile(path, onnxtest.Classifier(in, hidden, classes).Bytes(), 0o600); err != nil {
			return l, err
		}
		e, release, err := loaded.Engine(ctx, path, threads)
		if err != nil {
			return l, err
		}
		undo := loaded.Undo{release}
		l.release = undo.All
		defer undo.After(&err)
		inputs, err := tensorio.Generate(e.Inputs(), [][]int64{{1, int64(in)}}, 1)
		if err != nil {
			return l, err
		}
		l.closed = func(n int) ([]float64, error) {
			w, err := e.Time(ctx, inputs, engine.TimeOptions{Concurrency: 1, Queries: n})
			return w.Latencies, err
		}
		l.serve = func(requests []engine.Request) ([]engine.Answer, error) {
			return e.Serve(ctx, []engine.Chain{engine.Call(inputs)}, requests, engine.ServeOptions{Concurrency: 1})
		}
		x, err := newPeer(path, inputs[0], classes, threads)
		undo = append(undo, func() error { x.free(); return nil })
		l.call = x.call
		return l, err
	}
}

// peer is a session of ONNX Runtime as any program opens one.
type peer struct {
	session *ort.Session
	values  []*ort.Value
	binding *ort.Binding
	window  *ort.Window // over after each call
	times   ort.Times
}

func newPeer(path string, input engine.Tensor, classes, threads int) (p *peer, err error) {
	p = &peer{times: ort.NewTimes(1)}
	if p.session, err = ort.NewSession(path, []string{"x"}, []string{"y"}, ort.Options{Level: ort.All, Threads: threads}); err != nil {
		return p, err
	}
	if p.window, err = ort.NewWindow(1, 0, 0); err != nil {
		return p, err
	}
	if p.binding, err = p.session.NewBinding(); err != nil {
		return p, err
	}
	bind := func(shape []int64, data []byte, to func(int, *ort.Value) error) error {
		const float32s = 1
		v, err := ort.NewTensor(float32s, shape, data)
		if err != nil {
			return err
		}
		p.values = append(p.values, v)
		return to(0, v)
	}
	return p, errors.Join(bind(input.Shape, input.Data, p.binding.Input), bind([]int64{1, int64(classes)}, make([]byte, 4*classes), p.binding.Output))
}

func (p *peer) call() (float64, error) {
	p.times.Starts, p.times.Latencies = p.times.Starts[:0], p.times.Latencies[:0]
	if err := p.binding.Time(p.window, nil, &p.times); err != nil {
		return 0, err
	}
	return time.Duration(p.times.Latencies[0]).Seconds(), nil
}

func (p *peer) free() {
	if p.binding != nil {
		p.binding.Free()
	}
	for _, v := range p.values {
		v.Free()
	}
	if p.window != nil {
		p.window.Free()
	}
	if p.session != nil {
		p.session.Close()
	}
}

// memory reads bytes of memory.
func memory(bytes int) func(context.Context) (loops, error) {
	return func(ctx context.Context) (loops, error) {
		r := &reader{words: make([]uint64, bytes/8)}
		for i := range r.words {
			r.words[i] = uint64(i) // pages that were never written to are all one
		}
		call := func() (float64, error) {
			begun := time.Now()
			err := r.Run(0)
			return time.Since(begun).Seconds(), err
		}
		return loops{
			closed: func(n int) ([]float64, error) { return pausing(make([]engine.Request, n), busy, call) },
			serve: func(requests []engine.Request) ([]engine.Answer, error) {
				return serve.Play(ctx, requests, []serve.Instance{r}, 0)
			},
			call:    call,
			release: func() error { return nil },
		}, nil
	}
}

// reader is an engine that only reads memory.
type reader struct {
	words []uint64
	sum   uint64
}

// Run implements serve.Instance.
func (r *reader) Run(int) error {
	var a, b, c, d uint64
	for w := r.words; len(w) >= 4; w = w[4:] {
		a, b, c, d = a+w[0], b+w[1], c+w[2], d+w[3]
	}
	r.sum += a + b + c + d
	return nil
}
