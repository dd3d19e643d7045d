package worker

import (
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// forbid has the kernel refuse system calls that no runtime needs, to this process
// and permanently: sockets, new processes and programs, other processes' memory and
// signals, and the doors that defects of the kernel are usually reached by. With
// unixSockets, sockets of the machine itself stay, which CUDA opens.
//
// Threads may be started: they are counted by no limit that leaves other processes of
// the user alone.
func forbid(unixSockets bool) error {
	program, err := filter(unixSockets)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	f := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	// All threads get it. Without SPEC_ALLOW, kernels before 5.16 slow down a filtered
	// process's speculation, and with it what is measured.
	const flags = unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
	other, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&f)))
	switch {
	case errno != 0:
		return errno
	case other != 0:
		return fmt.Errorf("thread %d has a filter of its own", other)
	}
	return nil
}

// refused are calls that fail with EPERM whatever is asked; an architecture may lack
// some.
var refused = []string{
	"execve", "execveat", "fork", "vfork",
	"ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "pidfd_open", "pidfd_getfd", "pidfd_send_signal", "kcmp",
	"rt_sigqueueinfo", "rt_tgsigqueueinfo", "tkill",
	"bpf", "userfaultfd", "perf_event_open", "keyctl", "add_key", "request_key",
	"mount", "umount2", "pivot_root", "chroot", "unshare", "setns", "open_tree", "move_mount", "fsopen", "open_by_handle_at",
	"kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "reboot", "swapon", "swapoff", "acct",
	"settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "sethostname", "setdomainname",
}

// filter is forbid's program for the kernel.
func filter(unixSockets bool) ([]unix.SockFilter, error) {
	machine, err := arch.GetInfo("")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, name := range refused {
		if _, ok := machine.SyscallNames[name]; ok {
			names = append(names, name)
		}
	}
	with := func(name string, c seccomp.Condition) seccomp.NameWithConditions {
		return seccomp.NameWithConditions{Name: name, Conditions: seccomp.ArgumentConditions{c}}
	}
	self := uint64(os.Getpid())
	conditional := []seccomp.NameWithConditions{
		with("clone", seccomp.Condition{Operation: seccomp.BitsNotSet, Value: unix.CLONE_THREAD}),
		with("kill", seccomp.Condition{Operation: seccomp.NotEqual, Value: self}),
		with("tgkill", seccomp.Condition{Operation: seccomp.NotEqual, Value: self}),
	}
	if unixSockets {
		conditional = append(conditional, with("socket", seccomp.Condition{Operation: seccomp.NotEqual, Value: unix.AF_UNIX}))
	} else {
		names = append(names, "socket")
	}
	policy := seccomp.Policy{
		DefaultAction: seccomp.ActionAllow,
		Syscalls: []seccomp.SyscallGroup{
			{Names: names, NamesWithCondtions: conditional, Action: fail(unix.EPERM)},
			// Its flags are in memory, where a filter cannot look: the C library does
			// with clone then, and opens files without rings.
			{Names: []string{"clone3", "io_uring_setup"}, Action: fail(unix.ENOSYS)},
		},
	}
	program, err := policy.Assemble()
	if err != nil {
		return nil, err
	}
	// What the policy does not know, it allows: calls of another architecture, which
	// have other numbers, among them.
	program = append([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 4, Size: 4}, // seccomp_data.arch
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(machine.ID), SkipTrue: 1},
		bpf.RetConstant{Val: unix.SECCOMP_RET_KILL_PROCESS},
	}, program...)
	raw, err := bpf.Assemble(program)
	if err != nil {
		return nil, err
	}
	out := make([]unix.SockFilter, len(raw))
	for i, in := range raw {
		out[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	return out, nil
}

func fail(errno unix.Errno) seccomp.Action { return seccomp.ActionErrno | seccomp.Action(errno) }
