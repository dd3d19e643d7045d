package notify

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/report"
	"github.com/plancast/plancast/exporter/report/reporttest"
	"github.com/plancast/plancast/exporter/standing"
)

var update = flag.Bool("update", false, "regenerate the golden files; read the diff before you commit it")

// The test binary is also the process that sends.
const sendingProcess = "notifier"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == sendingProcess {
		os.Exit(Main(os.Stdin, os.Stdout))
	}
	// The race detector would hold up the end of every child for a second.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	goleak.VerifyTestMain(m)
}

// sending is Services whose process is this test binary.
func sending(timeout time.Duration) *Services {
	return &Services{Command: []string{os.Args[0], sendingProcess}, Timeout: timeout}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

// configuration reads one as Load would, with models owned by their name's
// first word.
func configuration(t *testing.T, text string) config.Config {
	t.Helper()
	c, err := config.Parse(strings.NewReader("models: [{match: \"vision-*\", owner: vision}, {match: \"speech-*\", owner: speech}]\n"+text), "plancast.yml")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// describe uses the report's words, as the daemon does.
func describe(m *standing.Model, s *standing.State) Words { return report.Describe(m, s) }

const everybody = `
notifications:
  receivers: [{name: chat, url_env: CHAT_URL}]
`

// fixture is a Notifier with a history of its own and receivers that only note
// what they are given.
type fixture struct {
	t     *testing.T
	path  string
	store *history.Store
	n     *Notifier
	build *reporttest.Builder
	in    standing.Evidence
	edit  func(*standing.State) // of what is observed; nil leaves it
	cfg   config.Config
	set   time.Duration // what the clock was set by

	mu   sync.Mutex
	down map[string]bool // receivers that take nothing
	got  []string        // "receiver: title"
	full []Message
	at   []time.Time
	log  strings.Builder
}

var errDown = errors.New("down")

// newFixture makes a fixture within the caller's synctest bubble.
func newFixture(t *testing.T, text string) *fixture {
	t.Helper()
	d := &fixture{t: t, path: filepath.Join(t.TempDir(), "history.db"), down: map[string]bool{}, build: reporttest.NewBuilder(time.Now())}
	d.cfg = configuration(t, text)
	d.open()
	t.Cleanup(func() { d.store.Close() })
	return d
}

func (d *fixture) open() {
	d.t.Helper()
	var err error
	if d.store, err = history.Open(d.path); err != nil {
		d.t.Fatal(err)
	}
	d.n, err = New(d.t.Context(), Options{
		Store: d.store, Config: d.cfg, Describe: describe, Send: d.send, Now: d.now, Random: func() float64 { return 1 },
		Log: slog.New(slog.NewTextHandler(&d.log, nil)),
	})
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *fixture) now() time.Time { return time.Now().Add(d.set).Round(0) }

// restart is a crash: nothing is said to the old Notifier.
func (d *fixture) restart() {
	d.t.Helper()
	d.store.Close()
	d.open()
}

func (d *fixture) send(_ context.Context, r config.Receiver, m Message) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.at = append(d.at, time.Now())
	if d.down[r.Name] {
		return &Error{Receiver: r.Name, Reason: errDown.Error()}
	}
	d.got = append(d.got, r.Name+": "+m.Title)
	d.full = append(d.full, m)
	return nil
}

func (d *fixture) breaks(receiver string, down bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down[receiver] = down
}

// want takes what was received so far and compares.
func (d *fixture) want(want ...string) {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	if strings.Join(d.got, "\n") != strings.Join(want, "\n") {
		d.t.Errorf("received\n  %s\nwant\n  %s", strings.Join(d.got, "\n  "), strings.Join(want, "\n  "))
	}
	d.got = nil
}

// model puts a version of a model into the repository.
func (d *fixture) version(model, version string, precisions ...engine.Precision) {
	for i := range d.in.Models {
		if d.in.Models[i].Name == model {
			d.in.Models[i].Versions = append(d.in.Models[i].Versions, standing.Version{Version: version, Digest: reporttest.Digest(model, version), State: standing.Accepted})
			return
		}
	}
	if len(precisions) == 0 {
		precisions = []engine.Precision{engine.FP32}
	}
	d.in.Models = append(d.in.Models, standing.Held{Name: model, Owner: d.cfg.ModelFor(model).Owner, Precisions: precisions})
	d.version(model, version)
}

// record makes the next record; the versions of these tests are iterations.
func (d *fixture) record(model, version string, p engine.Precision, edit func(*history.Record)) {
	i := 0
	for _, c := range version {
		i = i*10 + int(c-'0')
	}
	d.build.Add(model, version, i, p, reporttest.Environment("1.32.0"), edit)
}

func (d *fixture) observe() {
	d.t.Helper()
	d.in.Records, d.in.Now = d.build.Records, time.Now()
	s := reporttest.State(d.in)
	if d.edit != nil {
		d.edit(s)
	}
	if err := d.n.Observe(d.t.Context(), s, d.build.Records); err != nil {
		d.t.Fatal(err)
	}
}

// measured records a candidate with one precision and observes it.
func (d *fixture) measured(model, version string, p99 float64) {
	d.t.Helper()
	d.version(model, version)
	d.record(model, version, engine.FP32, reporttest.Measured(p99))
	d.observe()
}

func (d *fixture) failed(model, version string, kind engine.Kind) {
	d.t.Helper()
	d.version(model, version)
	d.record(model, version, engine.FP32, reporttest.Failed(engine.Error{Kind: kind, Op: "build fp32 engine", Message: "no"}))
	d.observe()
}

func (d *fixture) flush() {
	d.t.Helper()
	if _, err := d.n.Flush(d.t.Context()); err != nil {
		d.t.Fatal(err)
	}
}

// running starts the sender; the function returned stops it and waits.
func (d *fixture) running() (stop func()) {
	ctx, cancel := context.WithCancel(d.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.n.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}
