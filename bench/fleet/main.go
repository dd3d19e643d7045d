// Command fleet measures a fleet daemon over a real Prometheus and a real
// VictoriaMetrics: what a reading takes and how much memory the daemon holds, at first,
// while nothing is new, and after some results came.
//
//	go run ./bench/fleet -plancast bin/plancast -hosts 100 -models 100 -iterations 50
//
// The store's past is written as plancast history export writes it: a sample on both
// sides of each change; or, with -scraped, as often as that. It is invented. From its start on the store scrapes as many
// exporters as there are hosts. The rows that it prints are those of docs/benchmarks.md.
// It needs the programs of Prometheus and VictoriaMetrics.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/plancast/plancast/stack/local"
)

const (
	targetRead   = 10 * time.Second // of a reading after the first
	targetMemory = 500 << 20
	interval     = 15 * time.Second // of readings and of scrapes
)

func main() {
	program := flag.String("plancast", "bin/plancast", "the program")
	stores := flag.String("stores", "prometheus,victoriametrics", "the stores to read, in turns")
	var s size
	flag.IntVar(&s.hosts, "hosts", 100, "hosts, each with an exporter")
	flag.IntVar(&s.models, "models", 100, "models of each host")
	flag.IntVar(&s.iterations, "iterations", 50, "iterations of each model")
	flag.IntVar(&s.files, "files", 10, "files that the past is imported in: fewer take more memory")
	flag.DurationVar(&s.every, "scraped", 0, "how often the past was scraped; 0 writes it as history export does")
	readings := flag.Int("readings", 4, "readings while nothing is new")
	changes := flag.Int("changes", 10, "models that get a result then")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	var errs []error
	for _, name := range strings.Split(*stores, ",") {
		err := measure(ctx, *program, name, s, *readings, *changes)
		if err != nil {
			err = fmt.Errorf("%s: %w", name, err)
		}
		errs = append(errs, err)
	}
	stop()
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(2)
	}
}

// measure fills a store, and lets a fleet daemon read it.
func measure(ctx context.Context, program, name string, s size, readings, changes int) error {
	start, ok := map[string]func(context.Context, *local.Group, string, *world) (store, error){
		"prometheus": startPrometheus, "victoriametrics": startVictoriaMetrics,
	}[name]
	if !ok {
		return errors.New("there is no such store: use prometheus or victoriametrics")
	}
	dir, err := os.MkdirTemp("", "plancast-fleet-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var group local.Group
	defer group.Stop()
	w := newWorld(s, time.Now().UTC().Truncate(time.Second))
	defer w.Close()
	began := time.Now()
	store, err := start(ctx, &group, dir, w)
	if err != nil {
		return err
	}
	fmt.Printf("\n%s: %d models on %d hosts, %d iterations each, in the store after %s\n\n", store.version, s.hosts*s.models, s.hosts, s.iterations, time.Since(began).Round(time.Second))
	gate, err := newGate(store.URL)
	if err != nil {
		return err
	}
	defer gate.Close()
	text := fmt.Sprintf("source: {prometheus: {url: %q, interval: %s, timeout: 2min}}\nmilestones: [{name: launch, criteria: [p99 < 22ms], share: 80%%, horizon: 5}]\n", gate.URL, interval)
	config := filepath.Join(dir, "fleet.yml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	daemon, err := group.Start(ctx, local.Program{Name: "plancast", Ready: "/-/healthy", Log: filepath.Join(dir, "fleet.log"), Command: func(address string) []string {
		return []string{program, "serve", "--config.file", config, "--web.listen-address", address}
	}})
	if err != nil {
		return err
	}
	o := &observer{daemon: daemon, store: store.Process, gate: gate, ended: group.Ended()}
	fmt.Println("| reading | elapsed | requests | sent | answered | daemon: processor time | store: processor time | daemon: memory, at most | store: memory, at most |")
	fmt.Println("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
	if err := o.reading(ctx, "the first"); err != nil {
		return err
	}
	for n := range readings {
		if err := o.reading(ctx, fmt.Sprintf("nothing is new (%d)", n+1)); err != nil {
			return err
		}
	}
	w.advance(changes)
	if err := o.until(ctx, fmt.Sprintf("%d new results", changes), func(r row) bool { return r.requests > o.last.requests }); err != nil {
		return err
	}
	fmt.Printf("\nThe longest query has %d bytes, the largest answer %d.\n", gate.longest.Load(), gate.largest.Load())
	return o.judge()
}
