// Command plancast measures candidate models as inference engines, remembers
// every result, and says when a model will be ready to ship.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/common/promslog"
	promslogflag "github.com/prometheus/common/promslog/flag"
	promversion "github.com/prometheus/common/version"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/daemon"
	"github.com/plancast/plancast/exporter/host"
	"github.com/plancast/plancast/exporter/metrics"
	"github.com/plancast/plancast/exporter/notify"
	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/exporter/worker"
)

// Exit statuses of every command.
const (
	exitOK     = 0
	exitMissed = 1 // plancast run: a target is missed
	exitError  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// These commands are internal and stand apart: they share no flags.
	if len(os.Args) == 2 && os.Args[1] == workerCommand {
		os.Exit(worker.Main(openBackend, worker.Watch{Device: watchDevice, Host: &host.Host{}}))
	}
	if len(os.Args) == 2 && os.Args[1] == senderCommand {
		os.Exit(notify.Main(os.Stdin, os.Stdout))
	}
	boundHeap(heapGrowth)
	// Workers run as the same user, and the environment may hold secrets.
	if err := worker.Hide(); err != nil {
		fmt.Fprintf(os.Stderr, "plancast: %v\n", err)
	}
	os.Exit(run(ctx, os.Args[1:], program{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, now: time.Now, worker: own(workerCommand), sender: own(senderCommand), backends: backendNames()}))
}

// How much the heap may grow beyond what is alive before it is collected, in percent. A
// fleet daemon holds more and allocates less.
const (
	heapGrowth      = 40
	heapGrowthFleet = 25
)

// boundHeap keeps a process small that holds a long history or reads a large model's
// head: by default, the heap would grow to twice as much. A limit in bytes would make the
// collector run all the time once more is alive than was thought.
// GOGC and GOMEMLIMIT in the environment have precedence.
func boundHeap(growth int) {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(growth)
	}
}

// The internal commands.
const (
	workerCommand = "worker"   // runs a job
	senderCommand = "notifier" // sends a notification
)

// own starts this very program with an internal command, even when its file was
// replaced meanwhile.
func own(command string) []string { return []string{"/proc/self/exe", command} }

// program is what a command works with, so that a test can stand in for the
// terminal, the clock and the operating system.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer // through outside.Terminal
	now            func() time.Time
	worker         []string // starts a worker
	sender         []string // starts a process that sends a notification
	backends       []string // that the worker has, the preferred first
	log            *slog.Logger
}

// command is one subcommand: it adds itself to the application and runs.
type command interface {
	run(ctx context.Context, p program) (status int, err error)
}

// terminated is how kingpin asks to end, for --help and --version.
type terminated int

// run parses the arguments, runs the command that they name and returns the
// exit status.
func run(ctx context.Context, args []string, p program) (status int) {
	written := &output{w: p.stdout}
	p.stdout, p.stderr = outside.Terminal(written), outside.Terminal(p.stderr)
	// By hand, for kingpin's own flag would leave no --version to the commands.
	if slices.Equal(args, []string{"--version"}) {
		fmt.Fprintln(p.stdout, promversion.Print("plancast"))
		return exitOK
	}
	logConfig := &promslog.Config{Writer: p.stderr}
	app, commands := application(logConfig)
	app.UsageWriter(p.stdout).ErrorWriter(p.stderr)
	// kingpin counts on ending the process in the middle of Parse.
	app.Terminate(func(status int) { panic(terminated(status)) })
	defer func() {
		if x := recover(); x != nil {
			t, ok := x.(terminated)
			if !ok {
				panic(x)
			}
			status = int(t)
		}
	}()
	if err := setDefaults(app.Model().FlagGroupModel, leaves(app.Model().Commands)); err != nil {
		fmt.Fprintf(p.stderr, "plancast: %v\n", err)
		return exitError
	}
	name, err := app.Parse(joinDashes(args))
	if err != nil {
		fmt.Fprintln(p.stderr, mistake(app, joinDashes(args), err))
		return exitError
	}
	p.log = promslog.New(logConfig)
	c, ok := commands[name]
	if !ok {
		fmt.Fprintf(p.stderr, "plancast: %s is started by plancast itself\n", name)
		return exitError
	}
	status, err = c.run(ctx, p)
	if err != nil {
		if ctx.Err() != nil && errors.Is(err, context.Canceled) {
			err = errors.New("interrupted: everything recorded so far is kept")
		}
		fmt.Fprintf(p.stderr, "plancast %s: %v\n", name, err)
		return exitError
	}
	if err := written.failed(); err != nil {
		fmt.Fprintf(p.stderr, "plancast %s: what it printed is not complete: %v\n", name, err)
		return exitError
	}
	return status
}

// output remembers the first error of writing to w, which printing ignores: a report
// that a full disk cut off is no success.
type output struct {
	w   io.Writer
	mu  sync.Mutex
	err error
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = cmp.Or(o.err, err)
	return n, err
}

func (o *output) failed() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// application is the command line: every command by its name.
func application(logConfig *promslog.Config) (*kingpin.Application, map[string]command) {
	app := kingpin.New("plancast", "Measures candidate models as inference engines and forecasts when they will be ready to ship. plancast --version prints its version.")
	app.HelpFlag.Short('h')
	promslogflag.AddFlags(app, logConfig)
	commands := map[string]command{}
	for _, register := range []func(*kingpin.Application) (string, command){
		registerServe, registerRun, registerCheck, registerNotifyTest, registerHistoryList, registerHistoryShow, registerHistoryExport, registerHistoryPush,
		registerHistoryExclude, registerHistoryRestore, registerHistoryAudit, registerHistoryVerify, registerHistorySalvage, registerHistoryBackup, registerHistoryPrune, registerHistoryImport,
		registerCompare, registerForecast, registerBacktest,
	} {
		name, c := register(app)
		commands[name] = c
	}
	app.Command(workerCommand, "Runs one job for plancast itself.").Hidden()
	app.Command(senderCommand, "Sends one notification for plancast itself.").Hidden()
	return app, commands
}

// setDefaults gives flags their defaults before arguments are parsed: kingpin gives
// none where it sees a flag named --version, which it takes for its own.
func setDefaults(global *kingpin.FlagGroupModel, commands []*kingpin.CmdModel) error {
	flags := slices.Clone(global.Flags)
	for _, c := range commands {
		flags = append(flags, c.Flags...)
	}
	for _, f := range flags {
		if r, ok := f.Value.(interface{ IsCumulative() bool }); ok && r.IsCumulative() {
			continue // a default would be added to what is given
		}
		for _, text := range f.Default {
			if err := f.Value.Set(text); err != nil {
				return fmt.Errorf("--%s: %w", f.Name, err)
			}
		}
	}
	return nil
}

// leaves are the commands that can be run.
func leaves(list []*kingpin.CmdModel) []*kingpin.CmdModel {
	var out []*kingpin.CmdModel
	for _, c := range list {
		switch {
		case c.Hidden || c.Name == "help":
		case len(c.Commands) > 0:
			out = append(out, leaves(c.Commands)...)
		default:
			out = append(out, c)
		}
	}
	return out
}

// joinDashes writes "--csv -" as "--csv=-": kingpin takes a lone dash for an
// empty text.
func joinDashes(args []string) (out []string) {
	for i, a := range args {
		if a == "-" && i > 0 && strings.HasPrefix(args[i-1], "--") && !strings.Contains(args[i-1], "=") {
			out[len(out)-1] += "=-"
			continue
		}
		out = append(out, a)
	}
	return out
}

// version is the program's own, set when it is built (see the Makefile).
func version() string {
	if promversion.Version != "" {
		return promversion.Version
	}
	return "(devel)"
}

// daemon are the options of a daemon in this program.
func (p program) daemon(cfg config.Config) daemon.Options {
	return daemon.Options{
		Config: cfg, Worker: p.worker, Sender: p.sender, Backends: p.backends, Now: p.now, Log: p.log,
		Build: metrics.Build{Version: version(), Revision: promversion.Revision, GoVersion: promversion.GoVersion},
	}
}
