package worker

import (
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"

	"github.com/plancast/plancast/exporter/engine"
)

// Confinement is what a child may use besides its own temporary folder, the system's
// libraries and what its backend names: the files of its job, all of which have to be
// there. It gets no network, no other process and no new privileges.
type Confinement struct {
	Read  []string `json:"read,omitempty"`  // files and folders
	Write []string `json:"write,omitempty"` // folders
}

// maxOpen is how many descriptors a child may have open.
const maxOpen = 4096

// harden does what needs no knowledge of the job: no core dump, few descriptors and no
// file beyond what can be loaded again.
func harden(fileBytes int64) error {
	signal.Ignore(syscall.SIGXFSZ) // writing says so instead
	limits := map[int]uint64{unix.RLIMIT_CORE: 0, unix.RLIMIT_NOFILE: maxOpen}
	if fileBytes > 0 {
		limits[unix.RLIMIT_FSIZE] = uint64(fileBytes)
	}
	for resource, most := range limits {
		var now unix.Rlimit
		if err := unix.Getrlimit(resource, &now); err != nil {
			return fmt.Errorf("limit the worker: %w", err)
		}
		most = min(most, now.Max)
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: most, Max: most}); err != nil {
			return fmt.Errorf("limit the worker: %w", err)
		}
	}
	return nil
}

// Hide keeps other processes of the same user from reading this one's memory and
// environment.
func Hide() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("hide the process from others: %w", err)
	}
	return nil
}

// apply confines this process for good. places are what the backend needs; gaps say
// what this system does not keep the process from.
func (c Confinement) apply(places engine.Places) (gaps []string, err error) {
	switch abi, err := ll.LandlockGetABIVersion(); {
	case err != nil || abi < 1:
		gaps = append(gaps, "it can read and write what its user can: the kernel has no Landlock (Linux 5.13, \"landlock\" in its list of security modules)")
	default:
		if err := c.restrict(places); err != nil {
			return nil, fmt.Errorf("confine the worker to its files: %w", err)
		}
	}
	if err := forbid(len(places.Devices) > 0); err != nil {
		gaps = append(gaps, fmt.Sprintf("it can reach the network and other processes: the kernel does not accept a system call filter: %v", err))
	}
	return gaps, nil
}

// systemFiles are patterns of what the loader, the C library and drivers read.
var systemFiles = []string{
	"/usr", "/lib", "/lib32", "/lib64", "/opt", "/nix/store", "/gnu/store", "/run/opengl-driver", "/run/nvidia",
	"/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/ld.so.preload", "/etc/alternatives", "/etc/localtime", "/etc/nvidia",
	"/proc/[a-jl-z]*", "/sys", // nothing of other processes; what begins with k is the kernel's own memory, keys and log
}

// self pins this process's own folder in /proc. The kernel makes a folder again that it
// has forgotten, and to the new one no rule applies.
var self *os.File

// systemDevices are opened for writing as well.
var systemDevices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}

func (c Confinement) restrict(places engine.Places) error {
	const (
		readFile landlock.AccessFSSet = ll.AccessFSReadFile
		write    landlock.AccessFSSet = ll.AccessFSWriteFile | ll.AccessFSTruncate
		change   landlock.AccessFSSet = ll.AccessFSMakeReg | ll.AccessFSMakeDir | ll.AccessFSRemoveFile | ll.AccessFSRemoveDir
	)
	for _, path := range slices.Concat(c.Read, c.Write) {
		if _, err := os.Stat(path); err != nil {
			return err // no rule would apply to it once it is made
		}
	}
	var rules []landlock.Rule
	allow := func(file, folder landlock.AccessFSSet, paths ...string) {
		for _, path := range paths {
			info, err := os.Stat(path)
			if err != nil {
				continue // the system has none
			}
			access := file
			if info.IsDir() {
				access |= folder | ll.AccessFSReadDir
			}
			rules = append(rules, landlock.PathAccess(access, path))
		}
	}
	var err error
	if self, err = os.Open("/proc/self"); err != nil {
		return err
	}
	own := readFile
	if len(places.Devices) > 0 {
		own |= write // CUDA's driver names its threads in /proc/self/task/*/comm, and gives up where it cannot
	}
	allow(own, 0, self.Name())
	for _, pattern := range systemFiles {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		allow(readFile, 0, found...)
	}
	allow(readFile, 0, filepath.SplitList(os.Getenv("LD_LIBRARY_PATH"))...)
	allow(readFile, 0, places.Libraries...)
	allow(readFile, 0, c.Read...)
	allow(readFile|write, change, os.TempDir(), os.Getenv(cudaCache))
	allow(readFile|write, change, c.Write...)
	allow(readFile|write|ll.AccessFSIoctlDev, 0, systemDevices...)
	for _, pattern := range places.Devices {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		allow(readFile|write|ll.AccessFSIoctlDev|ll.AccessFSResolveUnix, change, found...)
	}
	config := landlock.V11
	// Older kernels take threads of one process for others, and the Go runtime sends
	// its own threads signals. forbid keeps signals in the process.
	config.Scoped &^= ll.ScopeSignal
	return config.BestEffort().Restrict(rules...)
}
