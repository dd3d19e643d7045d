package daemon_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/daemon/daemontest"
	"github.com/plancast/plancast/exporter/engine/fake"
)

func targets(cfg config.Config) []string {
	var out []string
	for _, t := range cfg.Targets {
		out = append(out, t.Name)
	}
	return out
}

const targetNamed = `
targets:
  - {name: NAME, criteria: ["p99 < 5ms"]}
`

// The first reload has read the older file when the newer one is written and a
// second reload requested.
func TestTheLastReloadEndsWithTheNewestFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := daemontest.New(t, strings.Replace(targetNamed, "NAME", "older", 1))
		d := s.Open()
		var second sync.WaitGroup
		first := true
		d.SetLoad(func(file string) (config.Config, error) {
			cfg, err := config.Load(file)
			if first {
				first = false
				s.Configure(strings.Replace(targetNamed, "NAME", "newer", 1))
				second.Go(func() {
					if err := d.Reload(t.Context()); err != nil {
						t.Error(err)
					}
				})
				synctest.Wait() // the second has done what it can do by now
			}
			return cfg, err
		})
		if err := d.Reload(t.Context()); err != nil {
			t.Error(err)
		}
		second.Wait()
		if got := targets(d.InForce()); !slices.Equal(got, []string{"newer"}) {
			t.Errorf("the targets in force are %q, of a file that was replaced", got)
		}
	})
}

func TestAReloadThatFailsChangesNothing(t *testing.T) {
	const url = "repository: {url: models,"
	for _, c := range []struct {
		name  string
		spoil func(s *daemontest.Site)
		want  string
	}{
		{"a file that is no configuration", func(s *daemontest.Site) { s.Configure("nonsense: 1\n") }, "unknown key"},
		{"another state folder", func(s *daemontest.Site) { s.Edit("state: state", "state: elsewhere") }, "state cannot change"},
		{"a repository that cannot be opened", func(s *daemontest.Site) { s.Edit(url, "repository: {url: nowhere,") }, "there is no such folder"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := daemontest.New(t, launchTarget)
			s.Push("net", "1", fake.Script{Latency: daemontest.Milliseconds(4)})
			d := s.Open()
			if err := d.Pass(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			before := d.InForce()
			c.spoil(s)
			s.Edit("backlog: 100", "backlog: 7")
			if err := d.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("reload: %v; want %q", err, c.want)
			}
			if got := d.InForce(); got.Repository != before.Repository || got.State != before.State {
				t.Errorf("in force is %+v", got.Repository)
			}
			if _, body := get(t, d.Handler(), "GET", "/metrics"); !strings.Contains(body, "plancast_config_last_reload_successful 0\n") {
				t.Error("the failed reload is no metric")
			}
			if err := d.Pass(t.Context(), nil); err != nil {
				t.Errorf("the next pass: %v", err)
			}
			if got := s.Records(); !slices.Equal(got, []string{"net/1 1 measured"}) {
				t.Errorf("records %q", got)
			}
		})
	}
}

func TestAReloadTakesAnotherRepositoryFromTheNextPassOn(t *testing.T) {
	s := daemontest.New(t, launchTarget)
	s.Push("net", "1", fake.Script{})
	d := s.Open()
	if err := d.Pass(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(s.Dir, "models"), filepath.Join(s.Dir, "moved")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(s.Dir, "moved", "net"), filepath.Join(s.Dir, "moved", "web")); err != nil {
		t.Fatal(err)
	}
	s.Edit("repository: {url: models,", "repository: {url: moved,")
	if err := errors.Join(d.Reload(t.Context()), d.Pass(t.Context(), nil)); err != nil {
		t.Fatal(err)
	}
	if got := s.Records(); !slices.Equal(got, []string{"net/1 1 measured", "web/1 1 measured"}) {
		t.Errorf("records %q", got)
	}
}

func TestAReloadThatNobodyWaitsForEndsItsRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := daemontest.New(t, "").Open()
		release := make(chan struct{})
		d.SetLoad(func(file string) (config.Config, error) {
			<-release
			return config.Load(file)
		})
		ctx, cancel := context.WithCancel(t.Context())
		var waiting sync.WaitGroup
		for range 2 { // one is under way, one waits for its turn
			waiting.Go(func() {
				if err := d.Reload(ctx); !errors.Is(err, context.Canceled) {
					t.Errorf("reload: %v", err)
				}
			})
		}
		synctest.Wait()
		cancel()
		waiting.Wait()
		close(release)
	})
}

// A reader waits for nobody: neither for a pass, nor for a refresh, nor for
// whoever changes the evidence.
func TestReadersNeverWait(t *testing.T) {
	s := daemontest.New(t, launchTarget)
	s.Push("net", "1", fake.Script{Latency: daemontest.Milliseconds(4)})
	d := s.Open()
	if err := d.Pass(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	h := d.Handler()
	release := d.Occupy()
	defer release()
	for _, path := range []string{"/", "/?model=net", "/metrics", "/api/v1/report", "/-/ready", "/-/healthy"} {
		answered := make(chan int, 1)
		go func() {
			code, _ := get(t, h, "GET", path)
			answered <- code
		}()
		select {
		case code := <-answered:
			if code != http.StatusOK {
				t.Errorf("%s: %d", path, code)
			}
		case <-time.After(5 * time.Minute): // a limit for the failure alone
			t.Errorf("%s waits for a lock", path)
		}
	}
}
