package host

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// affinity lists the cores that this process may use.
func affinity() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("find the cores that this process may use: %w", err)
	}
	var cores []int
	for i := range len(set) * 64 {
		if set.IsSet(i) {
			cores = append(cores, i)
		}
	}
	return cores, nil
}

// OnCores calls start, which starts a process, on a thread that may use these
// cores alone, so that the process inherits that and counts them as its own. No
// cores are all that this process may use.
func OnCores(cores []int, start func() error) (err error) {
	if len(cores) == 0 {
		return start()
	}
	var before, wanted unix.CPUSet
	for _, core := range cores {
		wanted.Set(core)
	}
	runtime.LockOSThread()
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("find the cores that this process may use: %w", err)
	}
	if err := unix.SchedSetaffinity(0, &wanted); err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("use only cores %v: %w: name cores that this machine has and this process may use in benchmark.cores", cores, err)
	}
	defer func() {
		if failed := unix.SchedSetaffinity(0, &before); failed != nil {
			// The thread stays locked and ends with its goroutine.
			err = errors.Join(err, fmt.Errorf("use all cores again: %w", failed))
			return
		}
		runtime.UnlockOSThread()
	}()
	return start()
}
