package main

import (
	"flag"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// load keeps cores busy until its standard input ends: the neighbor of a trial.
//
//	noise load -busy 200ms -period 1s     # a burst of 200 ms each second
//	noise load                            # all the time
func load(args []string) int {
	f := flag.NewFlagSet("load", flag.ContinueOnError)
	busy := f.Duration("busy", time.Second, "work in each period")
	period := f.Duration("period", time.Second, "length of a period")
	if err := f.Parse(args); err != nil {
		return 2
	}
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1))
		os.Exit(0) // the trial is over, or its program is gone
	}()
	runtime.LockOSThread()
	for {
		begun := time.Now()
		for x := uint64(1); time.Since(begun) < *busy; {
			for range 10_000 { // arithmetic that nothing can leave out
				x = x*6364136223846793005 + 1442695040888963407
			}
			runtime.KeepAlive(x)
		}
		time.Sleep(*period - *busy)
	}
}

// neighbor is a running load.
type neighbor struct {
	cmd *exec.Cmd
	end func() error
}

// neighbors starts n loads, each a process of its own, and returns how to end them.
func neighbors(n int, busy, period time.Duration) (end func(), err error) {
	var all []neighbor
	end = func() {
		for _, x := range all {
			_ = x.end()
			_ = x.cmd.Wait()
		}
	}
	for range n {
		self, err := os.Executable()
		if err != nil {
			end()
			return nil, err
		}
		cmd := exec.Command(self, "load", "-busy", busy.String(), "-period", period.String())
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		stdin, err := cmd.StdinPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			end()
			return nil, err
		}
		all = append(all, neighbor{cmd, stdin.Close})
	}
	return end, nil
}

// machineText names the machine of a run.
func machineText() string {
	text, _ := os.ReadFile("/proc/loadavg")
	return strconv.Itoa(runtime.NumCPU()) + " cores, load " + string(text[:min(len(text), 4)])
}
