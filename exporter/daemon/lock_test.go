package daemon_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plancast/plancast/exporter/daemon"
	"github.com/plancast/plancast/exporter/daemon/daemontest"
	"github.com/plancast/plancast/exporter/engine/fake"
	"github.com/plancast/plancast/exporter/history"
)

func TestTheBusyErrorNamesTheOtherProcess(t *testing.T) {
	s := daemontest.New(t, "")
	s.Open()
	_, err := daemon.New(s.Options())
	if !errors.Is(err, daemon.ErrBusy) || !strings.Contains(err.Error(), fmt.Sprintf("(process %d)", os.Getpid())) {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "state", "lock"), []byte("rubbish"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := daemon.New(s.Options()); !errors.Is(err, daemon.ErrBusy) || !strings.Contains(err.Error(), "not known") {
		t.Errorf("with a lock that somebody wrote to: %v", err)
	}
}

// What happens to the state of a daemon that does nothing at the moment stops it
// within the time that it looks at the clock.
func TestAStateThatIsReplacedStopsTheDaemon(t *testing.T) {
	for name, replace := range map[string]func(state string) error{
		"the lock is deleted": func(state string) error { return os.Remove(filepath.Join(state, "lock")) },
		"the lock is another": func(state string) error {
			return errors.Join(os.Remove(filepath.Join(state, "lock")), os.WriteFile(filepath.Join(state, "lock"), nil, 0o644))
		},
		"the state is renamed": func(state string) error { return os.Rename(state, state+".old") },
		"the state is another": func(state string) error { return errors.Join(os.Rename(state, state+".old"), os.Mkdir(state, 0o755)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := daemontest.New(t, "")
				d := s.Open(func(o *daemon.Options) { o.Unmeasured = true })
				ended := make(chan error, 1)
				go func() { ended <- d.Schedule(t.Context()) }()
				time.Sleep(10 * time.Minute)
				select {
				case err := <-ended:
					t.Fatalf("it ended before: %v", err)
				default:
				}
				if err := replace(filepath.Join(s.Dir, "state")); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Minute)
				select {
				case err := <-ended:
					if !errors.Is(err, daemon.ErrLost) {
						t.Errorf("it ended with %v", err)
					}
				default:
					t.Error("it goes on")
				}
			})
		})
	}
}

func TestAHistoryThatIsReplacedStopsTheDaemonBeforeAnythingIsReported(t *testing.T) {
	s := daemontest.New(t, "")
	d := s.Open()
	file := filepath.Join(s.Dir, "state", "history.db")
	if err := os.Rename(file, file+".old"); err != nil {
		t.Fatal(err)
	}
	s.Push("net", "1", fake.Script{})
	if err := d.Schedule(t.Context()); !errors.Is(err, history.ErrReplaced) {
		t.Errorf("it ended with %v", err)
	}
	if _, body := get(t, d.Handler(), "GET", "/metrics"); strings.Contains(body, "plancast_iteration{") {
		t.Error("a result is shown that is kept nowhere")
	}
}
