package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/plancast/plancast/stack/local"
)

// gate counts what goes to a store and comes back.
type gate struct {
	*httptest.Server
	requests, sent, answered, refused atomic.Int64
	longest, largest                  atomic.Int64 // query, and answer, in bytes
}

func newGate(store string) (*gate, error) {
	to, err := url.Parse(store)
	if err != nil {
		return nil, err
	}
	g := &gate{}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.ModifyResponse = func(r *http.Response) error {
		if r.StatusCode/100 != 2 {
			g.refused.Add(1)
		}
		r.Body = &counted{ReadCloser: r.Body, ended: func(n int64) {
			g.answered.Add(n)
			g.largest.Store(max(n, g.largest.Load()))
		}}
		return nil
	}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		g.requests.Add(1)
		g.sent.Add(int64(len(body)))
		if form, err := url.ParseQuery(string(body)); err == nil {
			g.longest.Store(max(int64(len(form.Get("query"))), g.longest.Load()))
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.Header.Del("Accept-Encoding") // bytes as the daemon reads them
		proxy.ServeHTTP(w, r)
	}))
	return g, nil
}

type counted struct {
	io.ReadCloser
	n     int64
	ended func(int64)
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *counted) Close() error {
	c.ended(c.n)
	return c.ReadCloser.Close()
}

// row is what had been used at the end of a reading, or by it.
type row struct {
	requests, sent, answered int64
	daemon, store            float64 // seconds of processor time
}

func (r row) less(before row) row {
	return row{r.requests - before.requests, r.sent - before.sent, r.answered - before.answered, r.daemon - before.daemon, r.store - before.store}
}

// observer watches a fleet daemon at work.
type observer struct {
	daemon, store *local.Process
	gate          *gate
	ended         <-chan error

	read           float64 // the moment of the last reading
	total, last    row
	slowest, first float64
}

// reading waits for the next reading and prints what it took.
func (o *observer) reading(ctx context.Context, name string) error {
	return o.until(ctx, name, func(row) bool { return true })
}

// until waits for the next reading of which something holds.
func (o *observer) until(ctx context.Context, name string, holds func(row) bool) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-o.ended:
			return err
		case <-time.After(200 * time.Millisecond):
		}
		got, err := look(o.daemon.URL)
		if err != nil {
			return err
		}
		at, ok := got["plancast_fleet_read_timestamp_seconds"]
		if !ok || at == o.read {
			if got["plancast_fleet_last_read_success"] == 0 && strings.Contains(o.daemon.Log(), "Cannot read the store") {
				return errors.New(o.daemon.Log())
			}
			continue
		}
		now := row{o.gate.requests.Load(), o.gate.sent.Load(), o.gate.answered.Load(), processorTime(o.daemon), processorTime(o.store)}
		used, took := now.less(o.total), got["plancast_fleet_read_duration_seconds"]
		if o.read == 0 {
			o.first = took
		} else {
			o.slowest = max(o.slowest, took)
		}
		o.read, o.total = at, now
		if !holds(used) {
			continue
		}
		o.last = used
		fmt.Printf("| %s | %.2f s | %d | %s | %s | %.2f s | %.2f s | %d MiB | %d MiB |\n", name, took, used.requests, bytesText(used.sent), bytesText(used.answered),
			used.daemon, used.store, peak(o.daemon)>>20, peak(o.store)>>20)
		return nil
	}
}

// judge holds the readings to their targets.
func (o *observer) judge() error {
	if n := o.gate.refused.Load(); n > 0 {
		fmt.Printf("The store refused %d requests.\n", n)
	}
	if held := peak(o.daemon); o.slowest > targetRead.Seconds() || held > targetMemory {
		return fmt.Errorf("a reading after the first took up to %.1f s and the daemon held up to %d MiB: the targets are %s and %d MiB", o.slowest, held>>20, targetRead, targetMemory>>20)
	}
	return nil
}

func bytesText(n int64) string {
	if n < 10_000 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.3g MB", float64(n)/1e6)
}

var figure = regexp.MustCompile(`(?m)^(plancast_fleet_\w+) (\S+)$`)

// look reads the daemon's metrics about its readings.
func look(url string) (map[string]float64, error) {
	r, err := http.Get(url + "/metrics")
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	out := map[string]float64{}
	for _, m := range figure.FindAllSubmatch(text, -1) {
		if out[string(m[1])], err = strconv.ParseFloat(string(m[2]), 64); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// processorTime is what a process has used, in seconds; 0 once it is gone.
func processorTime(p *local.Process) float64 {
	const hertz = 100 // of USER_HZ, on every Linux
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / hertz
}

var highWater = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peak is the most memory that a process had resident, in bytes.
func peak(p *local.Process) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return 0
	}
	m := highWater.FindSubmatch(text)
	if m == nil {
		return 0
	}
	n, _ := strconv.ParseInt(string(m[1]), 10, 64)
	return n << 10
}
