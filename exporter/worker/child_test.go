package worker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/fake"
)

// The test binary is its own child: this variable says how it shall behave.
const behavior = "PLANCAST_TEST_CHILD"

func TestMain(m *testing.M) {
	if how := os.Getenv(behavior); how != "" {
		misbehave(how)
		return
	}
	// The race detector would hold up the end of every child for a second.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	os.Exit(m.Run())
}

// misbehave plays a worker. Only faults that a real engine cannot be made to
// show on demand are played here.
func misbehave(how string) {
	out := os.NewFile(3, "events")
	say := func(e Event) {
		if err := json.NewEncoder(out).Encode(e); err != nil {
			os.Exit(3)
		}
	}
	forever := make(chan struct{})
	stay := func() { // as Serve does: gone with the parent
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}
	switch how {
	case "serve a backend that looks around":
		os.Exit(Serve(os.Stdin, out, func(string, bench.BackendConfig) (engine.Backend, error) { return curious{fake.New()}, nil }, Watch{}))
	case "be killed, then measure":
		if os.Remove(os.Getenv(killMark)) == nil {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			<-forever
		}
		say(Event{Measurement: &bench.Measurement{Throughput: 7}})
	case "serve", "serve a backend that can be used again", "serve a backend that crashes when it is used again":
		os.Exit(Serve(os.Stdin, out, func(string, bench.BackendConfig) (engine.Backend, error) {
			b := process{fake.New()}
			switch how {
			case "serve":
				return b, nil
			case "serve a backend that can be used again":
				return again{b}, nil
			}
			return &worn{again: again{b}}, nil
		}, Watch{}))
	case "measure":
		for i := range 3 {
			say(Event{Progress: &engine.Progress{Stage: "latency", Done: float64(i), Total: 3}})
		}
		fmt.Println("native chatter on stdout")
		say(Event{Measurement: &bench.Measurement{Throughput: 7}})
	case "measure, then crash":
		say(Event{Measurement: &bench.Measurement{Throughput: 7}})
		_ = syscall.Kill(os.Getpid(), syscall.SIGSEGV)
		<-forever
	case "fail":
		fmt.Fprintln(os.Stderr, "what the library said")
		say(Event{Failure: &engine.Error{Kind: engine.KindUnsupportedOperator, Op: "parse", Operator: "Foo"}})
	case "crash":
		say(Event{Progress: &engine.Progress{Stage: "build"}})
		for i := range 5 {
			fmt.Fprintln(os.Stderr, "line", i)
		}
		_ = syscall.Kill(os.Getpid(), syscall.SIGABRT)
		<-forever
	case "be killed":
		for i := range 100 {
			fmt.Fprintln(os.Stderr, "line", i)
		}
		fmt.Fprint(os.Stderr, "last log line")
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		<-forever
	case "exit":
		os.Exit(7)
	case "hang":
		say(Event{Progress: &engine.Progress{Stage: "build"}})
		stay()
	case "close and hang":
		out.Close()
		stay()
	case "garbage":
		fmt.Fprintln(out, "Segmentation fault (just kidding)")
		stay()
	case "endless line":
		for {
			if _, err := out.Write(bytes.Repeat([]byte("x"), 1<<20)); err != nil {
				os.Exit(3)
			}
		}
	case "eat memory":
		say(Event{Progress: &engine.Progress{Stage: "build"}})
		var hoard [][]byte
		for range 1 << 10 {
			hoard = append(hoard, bytes.Repeat([]byte{1}, 1<<20))
		}
		stay()
		fmt.Fprintln(os.Stderr, len(hoard))
	case "leave a grandchild":
		g := exec.Command("sleep", "1000")
		if err := g.Start(); err != nil {
			panic(err)
		}
		fmt.Fprintln(os.Stderr, "grandchild", g.Process.Pid)
		say(Event{Failure: &engine.Error{Kind: engine.KindBuildFailed, Op: "build"}})
	}
}
