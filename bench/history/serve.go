package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/plancast/plancast/stack/local"
)

// served is a plancast serve with the history.
type served struct {
	cmd     *exec.Cmd
	address string
	state   string
}

// serve measures plancast serve, with an empty repository and with one that holds
// the newest version of each model: until it is ready, once it is idle, what it is
// asked for, and what a change of the history takes.
func (b *bench) serve(dir string) error {
	repository := filepath.Join(dir, "models")
	if err := os.MkdirAll(repository, 0o755); err != nil {
		return err
	}
	if err := b.start(dir, repository, "an empty repository", func(*served) error { return nil }); err != nil {
		return err
	}
	if err := b.repository(repository); err != nil {
		return err
	}
	return b.start(dir, repository, fmt.Sprintf("%d models in the repository", models), b.ask)
}

// start runs a daemon for as long as use takes.
func (b *bench) start(dir, repository, what string, use func(*served) error) (err error) {
	s := &served{state: filepath.Join(dir, "state")}
	if err := os.RemoveAll(s.state); err != nil {
		return err
	}
	if err := copyTo(filepath.Join(s.state, "history.db"), b.file); err != nil {
		return err
	}
	config := filepath.Join(dir, "plancast.yml")
	if err := os.WriteFile(config, []byte(`
repository: {url: `+repository+`, quiet: 0s}
state: `+s.state+`
milestones:
  - {name: launch, criteria: [p99 < 50ms, accuracy_deviation < 0.5%], share: 80%, horizon: 5}
`), 0o644); err != nil {
		return err
	}
	if s.address, err = local.Address(); err != nil {
		return err
	}
	s.cmd = exec.Command(b.program, "serve", "--no-measure", "--config.file", config, "--web.listen-address", s.address, "--log.level", "warn")
	s.cmd.Stderr = os.Stderr
	start := time.Now()
	if err := s.cmd.Start(); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, s.cmd.Process.Signal(os.Interrupt), s.cmd.Wait())
	}()
	for deadline := start.Add(10 * time.Minute); s.get("/-/ready") != nil; <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return errors.New("plancast serve is not ready after ten minutes")
		}
	}
	took := time.Since(start)
	if err := s.print("plancast serve, "+what+", until it is ready", "2 s, 250 MB", took, 0); err != nil {
		return err
	}
	if err := s.idle(); err != nil {
		return err
	}
	if err := s.print("then, until it is idle", "250 MB", time.Since(start), 0); err != nil {
		return err
	}
	return use(s)
}

// ask asks a daemon for what it serves, twice each, and corrects the history, after
// which everything is new.
func (b *bench) ask(s *served) error {
	for _, x := range []struct{ path, aim string }{
		{"/", "200 ms"}, {"/?model=model-123", "300 ms"},
		{"/api/v1/report", "200 ms"}, {"/api/v1/report?model=model-123", "300 ms"},
		{"/metrics", "50 ms"},
	} {
		for _, again := range []string{"", ", again"} {
			if err := s.timed("GET "+x.path+again, x.aim, x.path); err != nil {
				return err
			}
		}
	}
	before, err := s.processor()
	if err != nil {
		return err
	}
	start := time.Now()
	exclude := exec.Command(b.program, "history", "exclude", strconv.Itoa(b.days*models*3), "--because", "bench", "--history.file", filepath.Join(s.state, "history.db"))
	if out, err := exclude.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	<-time.After(5 * time.Second) // it looks for corrections every two
	if err := s.print("a record is excluded, and five seconds go by", "100 ms of processor time on two cores", time.Since(start), before); err != nil {
		return err
	}
	return s.timed("GET /metrics, for the first time since", "50 ms", "/metrics")
}

func (s *served) timed(what, aim, path string) error {
	before, err := s.processor()
	if err != nil {
		return err
	}
	start := time.Now()
	if err := s.get(path); err != nil {
		return err
	}
	return s.print(what, aim, time.Since(start), before)
}

func (s *served) get(path string) error {
	r, err := http.Get("http://" + s.address + path)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return err
	}
	if r.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", path, r.Status)
	}
	return nil
}

// idle returns once the daemon has used hardly any processor time for five seconds:
// more than it takes to look for corrections.
func (s *served) idle() error {
	last := time.Duration(-1)
	for {
		used, err := s.processor()
		if err != nil {
			return err
		}
		if last >= 0 && used-last <= 50*time.Millisecond {
			return nil
		}
		last = used
		<-time.After(5 * time.Second)
	}
}

// processor is the processor time that the daemon has used, to a hundredth of a second.
func (s *served) processor() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(text), ") ") // the name may hold anything
	fields := strings.Fields(after)
	user, err := strconv.Atoi(fields[11])
	if err != nil {
		return 0, err
	}
	system, err := strconv.Atoi(fields[12])
	return time.Duration(user+system) * (time.Second / 100), err
}

// print prints what was measured; before is the processor time used until then.
func (s *served) print(what, aim string, took, before time.Duration) error {
	used, err := s.processor()
	if err != nil {
		return err
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return err
	}
	memory := func(name string) float64 {
		_, after, _ := strings.Cut(string(text), name+":")
		kilobytes, _ := strconv.ParseFloat(strings.Fields(after)[0], 64)
		return kilobytes * 1024 / 1e6
	}
	fmt.Printf("%s: %.2f s, %.2f s of processor time, %.0f MB, %.0f MB at most (aim: %s)\n",
		what, took.Seconds(), (used - before).Seconds(), memory("VmRSS"), memory("VmHWM"), aim)
	return nil
}

// copyTo copies a file to one that is not there yet.
func copyTo(to, from string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
