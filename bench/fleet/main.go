// Command fleet measures a fleet daemon over a real Prometheus: how long a reading
// takes and how much memory the daemon holds, at first and once it reads only what is
// new.
//
//	go run ./bench/fleet -plancast bin/plancast -hosts 100 -models 100 -iterations 50
//
// The store's past is written as plancast history export writes it: a sample on both
// sides of each change. It is invented. The benchmark needs Prometheus and promtool.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/plancast/plancast/stack/local"
)

const (
	targetRead   = 10 * time.Second
	targetMemory = 500 << 20
	days         = 120 // of history
)

// size is how much the store holds.
type size struct{ hosts, models, iterations, files int }

func main() {
	program := flag.String("plancast", "bin/plancast", "the program")
	var s size
	flag.IntVar(&s.hosts, "hosts", 100, "hosts, each with an exporter")
	flag.IntVar(&s.models, "models", 100, "models of each host")
	flag.IntVar(&s.iterations, "iterations", 50, "iterations of each model")
	flag.IntVar(&s.files, "files", 10, "files that the past is imported in: fewer take more memory")
	readings := flag.Int("readings", 4, "readings after the first")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := measure(ctx, *program, s, *readings)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(2)
	}
}

func measure(ctx context.Context, program string, s size, readings int) (err error) {
	dir, err := os.MkdirTemp("", "plancast-fleet-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	began, now := time.Now(), time.Now().UTC().Truncate(time.Second)
	if err := fill(ctx, dir, s, now); err != nil {
		return err
	}
	fmt.Printf("%d models on %d hosts, %d iterations each, in the store after %s\n", s.hosts*s.models, s.hosts, s.iterations, time.Since(began).Round(time.Second))
	var group local.Group
	defer group.Stop()
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte("global: {scrape_interval: 15s}\n"), 0o600); err != nil {
		return err
	}
	store, err := group.Prometheus(ctx, config, filepath.Join(dir, "data"))
	if err != nil {
		return err
	}
	const interval = 10 * time.Second
	text := fmt.Sprintf("source: {prometheus: {url: %q, interval: %s, timeout: 2min}}\nmilestones: [{name: launch, criteria: [p99 < 50ms], share: 80%%, horizon: 5}]\n", store, interval)
	config = filepath.Join(dir, "fleet.yml")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	daemon, err := group.Start(ctx, local.Program{Name: "plancast", Ready: "/-/ready", Log: filepath.Join(dir, "fleet.log"), Command: func(address string) []string {
		return []string{program, "serve", "--config.file", config, "--web.listen-address", address}
	}})
	if err != nil {
		return err
	}
	first, err := look(daemon.URL)
	if err != nil {
		return err
	}
	fmt.Printf("first reading  %6.2f s, %.0f models, %4.0f MiB resident\n", first["plancast_fleet_read_duration_seconds"], first["plancast_fleet_models"], first["process_resident_memory_bytes"]/(1<<20))
	worst := first
	for n, last := 0, first; n < readings; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-group.Ended():
			return err
		case <-time.After(time.Second):
		}
		got, err := look(daemon.URL)
		if err != nil {
			return err
		}
		if got["plancast_fleet_read_timestamp_seconds"] == last["plancast_fleet_read_timestamp_seconds"] {
			continue
		}
		n, last = n+1, got
		fmt.Printf("reading %d      %6.2f s, %4.0f MiB resident\n", n+1, got["plancast_fleet_read_duration_seconds"], got["process_resident_memory_bytes"]/(1<<20))
		if n == 1 {
			worst = got
		}
		for name, v := range got {
			worst[name] = math.Max(worst[name], v)
		}
	}
	if took, memory := worst["plancast_fleet_read_duration_seconds"], worst["process_resident_memory_bytes"]; took > targetRead.Seconds() || memory > targetMemory {
		return fmt.Errorf("a refresh took up to %.1f s and the daemon held up to %.0f MiB: the targets are %s and %d MiB", took, memory/(1<<20), targetRead, targetMemory>>20)
	}
	return nil
}

var figure = regexp.MustCompile(`(?m)^(plancast_fleet_\w+|process_resident_memory_bytes) (\S+)$`)

// look reads the daemon's metrics about itself.
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
	if out["plancast_fleet_last_read_success"] != 1 {
		return nil, fmt.Errorf("the last reading failed: %s", url)
	}
	return out, nil
}

// fill imports the past of all hosts, several hosts to a file.
func fill(ctx context.Context, dir string, s size, now time.Time) error {
	file := filepath.Join(dir, "past.om")
	for n := range s.files {
		f, err := os.Create(file)
		if err != nil {
			return err
		}
		w := bufio.NewWriterSize(f, 1<<20)
		s.write(w, n*s.hosts/s.files, (n+1)*s.hosts/s.files, now)
		if err := errors.Join(w.Flush(), f.Close()); err != nil {
			return err
		}
		if err := local.Fill(ctx, file, filepath.Join(dir, "data")); err != nil {
			return err
		}
	}
	return os.Remove(file)
}

// families are those that a fleet daemon asks for, with the value of an iteration.
var families = []struct {
	name, labels string
	value        func(iteration int, p99 float64, at time.Time) float64
}{
	{"plancast_engine_accuracy_deviation_ratio", "", func(int, float64, time.Time) float64 { return 0.003 }},
	{"plancast_engine_latency_seconds", `,quantile="0.5"`, func(_ int, p99 float64, _ time.Time) float64 { return p99 * 0.8 }},
	{"plancast_engine_latency_seconds", `,quantile="0.99"`, func(_ int, p99 float64, _ time.Time) float64 { return p99 }},
	{"plancast_engine_memory_bytes", `,kind="peak"`, func(int, float64, time.Time) float64 { return 3e8 }},
	{"plancast_engine_throughput_inferences_per_second", "", func(_ int, p99 float64, _ time.Time) float64 { return math.Round(60 / p99) }},
	{"plancast_environment_info", `,fingerprint="abcdefabcdef",backend_version="10.6.0"`, func(int, float64, time.Time) float64 { return 1 }},
	{"plancast_candidate_info", `,fingerprint="abcdefabcdef"`, func(int, float64, time.Time) float64 { return 1 }},
	{"plancast_iteration", "", func(n int, _ float64, _ time.Time) float64 { return float64(n) }},
	{"plancast_iteration_timestamp_seconds", "", func(_ int, _ float64, at time.Time) float64 { return float64(at.Unix()) }},
}

// write writes the past of hosts from to to.
func (s size) write(w *bufio.Writer, from, to int, now time.Time) {
	pace := days * 24 * time.Hour / time.Duration(s.iterations)
	for i, f := range families {
		if i == 0 || families[i-1].name != f.name {
			fmt.Fprintf(w, "# TYPE %s gauge\n", f.name)
		}
		for host := from; host < to; host++ {
			for m := range s.models {
				id := host*s.models + m
				labels := fmt.Sprintf(`%s{job="plancast",instance="host-%d:9833",model="model-%d",precision="fp16",backend="tensorrt",device="NVIDIA H100"%s} `, f.name, host, m, f.labels)
				for n := 1; n <= s.iterations; n++ {
					// Each model has its own moments.
					at := now.Add(-time.Duration(s.iterations-n+1)*pace + time.Duration(id)*time.Second%pace)
					p99 := 0.1*math.Exp(-0.03*float64(n)) + 1e-6*float64(id)
					value := strconv.FormatFloat(f.value(n, p99, at), 'g', -1, 64)
					until := at.Add(pace - time.Minute)
					if n == s.iterations || until.After(now) {
						until = now
					}
					fmt.Fprintf(w, "%s%s %d\n%s%s %d\n", labels, value, at.Unix(), labels, value, until.Unix())
				}
			}
		}
	}
	w.WriteString("# EOF\n")
}
