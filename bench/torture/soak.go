package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
	"github.com/plancast/plancast/exporter/pause"
	"github.com/plancast/plancast/stack/local"
	"github.com/plancast/plancast/units"
)

// A hundred times what a busy installation does: a scrape in 15 s, a look at the page
// and at the report for programs in a minute, a pass in a minute, a candidate in five.
const (
	scrapeEvery    = 15 * time.Second / 100
	lookEvery      = time.Minute / 100
	passEvery      = time.Minute / 100
	candidateEvery = 5 * time.Minute / 100

	soakModels   = 5
	soakVersions = 20 // of a model stay in the repository
	sampleEvery  = time.Second
)

const soakConfig = `
repository: {url: models, quiet: 0s, backlog: 1000}
state: state
schedule: "@every 1m"
backend: onnxruntime
precisions: [fp32]
benchmark: {warm_up: 0s, min_window: 0s, min_queries: 7, max_windows: 1, sweep_window: 10ms, concurrency: [1], patience: 0s, rebuild: 0s, pair: false}
targets: [{name: launch, criteria: [p99 < 1s]}]
milestones: [{name: soon, criteria: [p99 < 1s], horizon: 5}]
`

// holding is what the daemon holds at a moment.
type holding struct {
	resident, disk       int64 // bytes; disk is the state without the history
	descriptors, threads int64
}

// soaking is a daemon under load.
type soaking struct {
	dir, url               string
	pid                    int
	scrapes, looks, passes atomic.Int64
	pushed                 int
	samples                []holding
}

// soak runs the daemon under load for so long and returns what it held then. It fails
// when a question goes unanswered, a candidate has no record, or memory, descriptors
// or disk grow from the second quarter of the time to the last.
func soak(ctx context.Context, program string, length time.Duration) (r row, err error) {
	dir, err := os.MkdirTemp("", "torture-soak-")
	if err != nil {
		return row{}, err
	}
	defer os.RemoveAll(dir)
	s := &soaking{dir: dir}
	if err := os.Mkdir(filepath.Join(dir, "models"), 0o755); err != nil {
		return row{}, err
	}
	if err := os.WriteFile(filepath.Join(dir, "plancast.yml"), []byte(soakConfig), 0o644); err != nil {
		return row{}, err
	}
	if err := s.push(); err != nil {
		return row{}, err
	}
	var group local.Group
	defer group.Stop()
	daemon, err := group.Start(ctx, local.Program{
		Ready: "/-/ready", Log: filepath.Join(dir, "log"),
		Command: func(address string) []string {
			return []string{program, "serve", "--config.file", filepath.Join(dir, "plancast.yml"), "--web.listen-address", address, "--web.enable-lifecycle", "--log.level", "error"}
		},
	})
	if err != nil {
		return row{}, err
	}
	s.url, s.pid = daemon.URL, daemon.PID()
	if err := s.load(ctx, length); err != nil {
		return row{}, fmt.Errorf("%w\n%s", err, daemon.Log())
	}
	if err := s.settle(ctx); err != nil {
		return row{}, fmt.Errorf("%w\n%s", err, daemon.Log())
	}
	return s.judge(length)
}

func (s *soaking) ask(ctx context.Context, method, path string) error {
	request, err := http.NewRequestWithContext(ctx, method, s.url+path, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s", method, path, answer.Status)
	}
	return nil
}

// push adds a version of the next model, whole at once, and takes an old one away.
func (s *soaking) push() error {
	model, version := fmt.Sprint("net", s.pushed%soakModels), s.pushed/soakModels+1
	x := onnxtest.Classifier(8, 16, 4)
	x.Graph.Name = fmt.Sprint(model, "-", version)
	folder := filepath.Join(s.dir, "models", model)
	hidden := filepath.Join(folder, ".new")
	if err := os.MkdirAll(hidden, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(hidden, "model.onnx"), x.Bytes(), 0o644); err != nil {
		return err
	}
	if err := os.Rename(hidden, filepath.Join(folder, strconv.Itoa(version))); err != nil {
		return err
	}
	s.pushed++
	return os.RemoveAll(filepath.Join(folder, strconv.Itoa(version-soakVersions)))
}

// load asks, pushes and samples until the time is over.
func (s *soaking) load(ctx context.Context, length time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, length)
	defer cancel()
	load, ctx := errgroup.WithContext(ctx)
	every := func(d time.Duration, do func() error) {
		load.Go(func() error {
			for ticks := time.NewTicker(d); ; {
				select {
				case <-ctx.Done():
					ticks.Stop()
					return nil
				case <-ticks.C:
				}
				if err := do(); err != nil && ctx.Err() == nil {
					return err
				}
			}
		})
	}
	asking := func(d time.Duration, n *atomic.Int64, method string, paths ...string) {
		every(d, func() error {
			for _, path := range paths {
				if err := s.ask(ctx, method, path); err != nil {
					return err
				}
				n.Add(1)
			}
			return nil
		})
	}
	asking(scrapeEvery, &s.scrapes, http.MethodGet, "/metrics")
	asking(lookEvery, &s.looks, http.MethodGet, "/", "/api/v1/report")
	asking(passEvery, &s.passes, http.MethodPost, "/api/v1/run")
	every(candidateEvery, s.push)
	every(sampleEvery, func() error {
		now, err := s.holds()
		s.samples = append(s.samples, now)
		return err
	})
	return load.Wait()
}

// settle waits until every candidate has a record.
func (s *soaking) settle(ctx context.Context) error {
	for n := 0; ; n++ {
		if err := s.ask(ctx, http.MethodPost, "/api/v1/run"); err != nil {
			return err
		}
		missing, err := s.missing(ctx)
		if err != nil || len(missing) == 0 {
			return err
		}
		if n > 600 {
			return fmt.Errorf("%d of %d candidates have no record, such as %s", len(missing), s.pushed, missing[0])
		}
		if err := pause.For(ctx, time.Second); err != nil {
			return err
		}
	}
}

func (s *soaking) missing(ctx context.Context) ([]string, error) {
	store, err := history.OpenReadOnly(filepath.Join(s.dir, "state", "history.db"))
	if err != nil {
		return nil, err
	}
	defer store.Close()
	recorded := map[string]bool{}
	for r, err := range store.Records(ctx, history.Filter{}) {
		if err != nil {
			return nil, err
		}
		if !r.OK() {
			return nil, fmt.Errorf("%s version %s failed: %s", r.Model, r.Version, r.Failure.Message)
		}
		recorded[r.Model+"/"+r.Version] = true
	}
	var missing []string
	for i := range s.pushed {
		if name := fmt.Sprintf("net%d/%d", i%soakModels, i/soakModels+1); !recorded[name] {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

// holds says what the daemon holds now.
func (s *soaking) holds() (h holding, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	if err != nil {
		return h, err
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64) // others are no numbers
		switch name {
		case "VmRSS":
			h.resident = n << 10
		case "Threads":
			h.threads = n
		}
	}
	descriptors, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.pid))
	if err != nil {
		return h, err
	}
	h.descriptors = int64(len(descriptors))
	return h, filepath.Walk(filepath.Join(s.dir, "state"), func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() && !strings.HasPrefix(info.Name(), "history.db") {
			h.disk += info.Size()
		}
		return nil // files of jobs come and go
	})
}

// slack is how much of each the daemon may hold more in the last quarter than in the
// second: what the collector leaves, the entries of the new records, connections.
var slack = holding{resident: 12 << 20, disk: 4 << 20, descriptors: 12, threads: 6}

// judge compares the last quarter with the second.
func (s *soaking) judge(length time.Duration) (row, error) {
	n := len(s.samples)
	if n < 8 {
		return row{}, fmt.Errorf("%s give %d samples: soak longer", length, n)
	}
	early, late := s.samples[n/4:n/2], s.samples[n*3/4:]
	var errs []error
	var words []string
	for _, c := range []struct {
		name  string
		of    func(holding) int64
		write func(int64) string
	}{
		{"memory", func(h holding) int64 { return h.resident }, func(v int64) string { return units.Format(float64(v), units.Bytes) }},
		{"descriptors", func(h holding) int64 { return h.descriptors }, func(v int64) string { return strconv.FormatInt(v, 10) }},
		{"threads", func(h holding) int64 { return h.threads }, func(v int64) string { return strconv.FormatInt(v, 10) }},
		{"disk besides the history", func(h holding) int64 { return h.disk }, func(v int64) string { return units.Format(float64(v), units.Bytes) }},
	} {
		before, after := median(early, c.of), median(late, c.of)
		words = append(words, fmt.Sprintf("%s %s, at the end %s", c.name, c.write(before), c.write(after)))
		if after > before+c.of(slack) {
			errs = append(errs, fmt.Errorf("%s grew from %s to %s", c.name, c.write(before), c.write(after)))
		}
	}
	if most := slices.MaxFunc(s.samples, func(a, b holding) int { return int(a.resident - b.resident) }).resident; most > 100<<20 {
		errs = append(errs, fmt.Errorf("it held %s, more than 100 MiB", units.Format(float64(most), units.Bytes)))
	}
	return row{
		what: fmt.Sprintf("a soak under %s, %s of the page and the report, %s for a pass and %s", units.Count(int(s.scrapes.Load()), "scrape"),
			units.Count(int(s.looks.Load()), "reading"), units.Count(int(s.passes.Load()), "request"), units.Count(s.pushed, "candidate")),
		times: length.String(), target: "1h0m0s",
		outcome: fmt.Sprintf("every question answered, every candidate recorded; %s", strings.Join(words, "; ")),
	}, errors.Join(errs...)
}

func median(of []holding, value func(holding) int64) int64 {
	values := make([]int64, len(of))
	for i, h := range of {
		values[i] = value(h)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
