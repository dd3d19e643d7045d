package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plancast/plancast/bench/torture/dose"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/engine/fake"
)

// sights is what a curious backend is to look at, and what it found: "" where it
// could, else why not.
type sights struct {
	Read    map[string]string // files
	Write   map[string]string // files, which it makes
	TCP     string            // an address
	Parent  string            // its process's number
	Devices []string          // what it says that it needs
	Found   map[string]string
}

// lookAt is the variable that a curious backend has its sights from.
const lookAt = "PLANCAST_TEST_LOOK_AT"

// curious is a backend that tries what no model should get at, and reports it as the
// name of its device.
type curious struct{ *fake.Backend }

func (curious) sights() sights {
	var s sights
	if err := json.Unmarshal([]byte(os.Getenv(lookAt)), &s); err != nil {
		panic(err)
	}
	return s
}

func (c curious) Places() engine.Places { return engine.Places{Devices: c.sights().Devices} }

func (c curious) Environment(context.Context) (engine.Environment, error) {
	s := c.sights()
	s.Found = map[string]string{}
	said := func(err error) string {
		if err != nil {
			return err.Error()
		}
		return ""
	}
	for name := range s.Read {
		_, err := os.ReadFile(name)
		s.Read[name] = said(err)
	}
	for name := range s.Write {
		s.Write[name] = said(os.WriteFile(name, []byte("x"), 0o600))
	}
	connection, err := net.Dial("tcp", s.TCP)
	if err == nil {
		connection.Close()
	}
	s.Found["a connection"] = said(err)
	s.Found["a datagram socket"] = said(socket(unix.AF_INET, unix.SOCK_DGRAM))
	s.Found["a raw socket"] = said(socket(unix.AF_PACKET, unix.SOCK_RAW))
	s.Found["a local socket"] = said(socket(unix.AF_UNIX, unix.SOCK_STREAM))
	s.Found["a program"] = said(exec.Command("/bin/true").Run())
	parent, _ := strconv.Atoi(s.Parent)
	s.Found["a signal to the parent"] = said(syscall.Kill(parent, 0))
	s.Found["a signal to itself"] = said(syscall.Kill(os.Getpid(), 0))
	_, err = os.ReadFile(filepath.Join("/proc", s.Parent, "environ"))
	s.Found["the parent's environment"] = said(err)
	s.Found["a long file"] = said(os.WriteFile(filepath.Join(os.TempDir(), "long"), make([]byte, 2<<20), 0o600))
	s.Found["the name of a thread"] = said(os.WriteFile(fmt.Sprintf("/proc/self/task/%d/comm", os.Getpid()), []byte("named"), 0o666))
	s.Found["the temporary folder"] = os.TempDir()
	status, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(status)) {
		if name, value, _ := strings.Cut(line, ":"); name == "NoNewPrivs" || name == "Seccomp" {
			s.Found[name] = strings.TrimSpace(value)
		}
	}
	dumpable, _ := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	s.Found["dumpable"] = fmt.Sprint(dumpable)
	var core, files unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_CORE, &core)
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &files)
	s.Found["core, files"] = fmt.Sprint(core.Max, ", ", files.Max)
	text, err := json.Marshal(s)
	return engine.Environment{Device: string(text)}, err
}

func socket(domain, kind int) error {
	fd, err := unix.Socket(domain, kind, 0)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

// look has a real worker look around, and returns what it found.
func look(t *testing.T, s sights, confine *Confinement) (sights, Outcome) {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	spec := playing("serve a backend that looks around")
	spec.Env, spec.Scratch, spec.Memory = append(spec.Env, lookAt+"="+string(text)), t.TempDir(), 1<<30
	o, err := run(t.Context(), spec, Request{Backend: fake.Name, Confine: confine})
	if err != nil || len(o.Environments) != 1 {
		t.Fatalf("%+v, %v, %v", o, o.Failure, err)
	}
	if left, _ := os.ReadDir(spec.Scratch); len(left) > 0 {
		t.Errorf("the worker left %v", left)
	}
	var found sights
	if err := json.Unmarshal([]byte(o.Environments[0].Device), &found); err != nil {
		t.Fatal(err)
	}
	if dir := found.Found["the temporary folder"]; filepath.Dir(dir) != spec.Scratch {
		t.Errorf("its temporary folder is %s, not in %s", dir, spec.Scratch)
	}
	return found, o
}

// scene are files around a worker, and somebody who listens.
func scene(t *testing.T) (s sights, dir func(string) string, confine *Confinement) {
	t.Helper()
	root := t.TempDir()
	dir = func(name string) string { return filepath.Join(root, name) }
	for _, name := range []string{"candidate", "work", "other"} {
		if err := os.Mkdir(dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir(name), "file"), []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s = sights{
		TCP: l.Addr().String(), Parent: strconv.Itoa(os.Getpid()),
		Read:  map[string]string{dir("candidate/file"): "", dir("work/file"): "", dir("other/file"): "", "/etc/passwd": "", "/proc/cpuinfo": ""},
		Write: map[string]string{dir("candidate/new"): "", dir("work/new"): "", dir("other/new"): "", "/dev/null": ""},
	}
	return s, dir, &Confinement{Read: []string{dir("candidate")}, Write: []string{dir("work")}}
}

func TestAConfinedWorkerHasTheFilesOfItsJobAlone(t *testing.T) {
	s, dir, confine := scene(t)
	found, o := look(t, s, confine)
	if slices.ContainsFunc(o.Gaps, func(s string) bool { return strings.Contains(s, "Landlock") }) {
		t.Skip(o.Gaps)
	}
	const no = "permission denied"
	for name, want := range map[string]string{
		dir("candidate/file"): "", dir("work/file"): "", dir("other/file"): no, "/etc/passwd": no, "/proc/cpuinfo": "",
	} {
		if got := found.Read[name]; !strings.HasSuffix(got, want) || (got == "") != (want == "") {
			t.Errorf("read %s: %q; want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{dir("candidate/new"): no, dir("work/new"): "", dir("other/new"): no, "/dev/null": ""} {
		if got := found.Write[name]; !strings.HasSuffix(got, want) || (got == "") != (want == "") {
			t.Errorf("write %s: %q; want %q", name, got, want)
		}
	}
	if got := found.Found["the parent's environment"]; !strings.Contains(got, no) {
		t.Errorf("the parent's environment: %q", got)
	}
	dose.Done(t, "escapes", 5, "no file was read or written besides the job's own, nor the daemon's environment")
}

func TestAWorkerIsNotConfinedToWhatIsNotThere(t *testing.T) {
	c := Confinement{Read: []string{filepath.Join(t.TempDir(), "references")}}
	if err := c.restrict(engine.Places{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err) // a rule for it would be left out, and the folder out of reach once it is made
	}
}

func TestAConfinedWorkerReachesNobody(t *testing.T) {
	const no = "operation not permitted"
	for _, c := range []struct {
		name    string
		devices bool
		local   string
	}{
		{"on a CPU", false, no},
		{"on a GPU, whose driver opens local sockets", true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, dir, confine := scene(t)
			if c.devices {
				s.Devices = []string{dir("other/fil*")}
				s.Write[dir("other/file")] = ""
			}
			found, o := look(t, s, confine)
			if slices.ContainsFunc(o.Gaps, func(s string) bool { return strings.Contains(s, "filter") }) {
				t.Skip(o.Gaps)
			}
			for what, want := range map[string]string{
				"a connection": no, "a datagram socket": no, "a raw socket": no, "a local socket": c.local, "a program": no,
				"a signal to the parent": no, "a signal to itself": "", "NoNewPrivs": "1", "Seccomp": "2",
			} {
				if got := found.Found[what]; !strings.HasSuffix(got, want) || (got == "") != (want == "") {
					t.Errorf("%s: %q; want %q", what, got, want)
				}
			}
			dose.Done(t, "escapes", 6, "%s no connection, program or signal", c.name)
			if c.devices && (found.Write[dir("other/file")] != "" || found.Found["the name of a thread"] != "") {
				t.Errorf("its device: %q, the name of a thread: %q", found.Write[dir("other/file")], found.Found["the name of a thread"])
			}
		})
	}
}

// CUDA's driver gives up where it cannot write into its own /proc/self, whose files
// are root's in a process that is hidden.
func TestAWorkerWithDevicesIsNotHidden(t *testing.T) {
	s, dir, confine := scene(t)
	s.Devices = []string{dir("other/fil*")}
	if found, _ := look(t, s, confine); found.Found["dumpable"] != "1" || found.Found["the name of a thread"] != "" {
		t.Errorf("dumpable %s, the name of a thread: %q", found.Found["dumpable"], found.Found["the name of a thread"])
	}
}

func TestAWorkerHasLimitsConfinedOrNot(t *testing.T) {
	for name, confined := range map[string]bool{"confined": true, "not confined": false} {
		t.Run(name, func(t *testing.T) {
			s, dir, confine := scene(t)
			if !confined {
				confine = nil
			}
			found, o := look(t, s, confine)
			if found.Found["dumpable"] != "0" || found.Found["core, files"] != fmt.Sprint(0, ", ", maxOpen) || len(o.Gaps) > 0 && !confined {
				t.Errorf("%v, gaps %q", found.Found, o.Gaps)
			}
			if got := found.Write[dir("other/new")]; (got == "") == confined && len(o.Gaps) == 0 {
				t.Errorf("write elsewhere: %q", got)
			}
		})
	}
}

func TestALongFileIsAnErrorOfTheWriter(t *testing.T) {
	s, _, _ := scene(t)
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	spec := playing("serve a backend that looks around")
	spec.Env = append(spec.Env, lookAt+"="+string(text))
	c, err := start(spec, Request{})
	if err != nil {
		t.Fatal(err)
	}
	request, err := json.Marshal(Request{Backend: fake.Name, FileBytes: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	c.ask(append(request, '\n'))
	o, _ := c.wait(t.Context(), spec)
	if len(o.Environments) != 1 || !strings.Contains(o.Environments[0].Device, "long: file too large") {
		t.Errorf("%+v, %v", o, o.Failure)
	}
}

func TestAWorkerGetsTheVariablesThatRuntimesNeed(t *testing.T) {
	env := []string{
		"PATH=/bin", "HOME=/root", "LC_ALL=C", "LD_LIBRARY_PATH=/opt", "CUDA_VISIBLE_DEVICES=0", "NVIDIA_VISIBLE_DEVICES=all", "OMP_NUM_THREADS=2", "ORT_X=1",
		"AWS_SECRET_ACCESS_KEY=x", "HTTPS_PROXY=http://user:password@proxy", "GF_SECURITY_ADMIN_PASSWORD=x", "NVIDIA_API_KEY=x", "PLANCAST_SLACK_URL=x",
		"GOOGLE_APPLICATION_CREDENTIALS=x", "SSH_AUTH_SOCK=x", "PATHS=x", "MINE=1",
	}
	got := Environ(env, []string{"MINE"})
	want := append(slices.Clone(env[:8]), "MINE=1")
	if !slices.Equal(got, want) {
		t.Errorf("got %q; want %q", got, want)
	}
	for _, c := range []struct{ env, want []string }{
		{nil, []string{"CUDA_CACHE_PATH=/own/cuda", "GOTRACEBACK=single", "TMPDIR=/own"}},
		{[]string{"CUDA_CACHE_PATH=/fast", "TMPDIR=/tmp"}, []string{"CUDA_CACHE_PATH=/fast", "GOTRACEBACK=single", "TMPDIR=/own", "TMPDIR=/tmp"}},
	} {
		got := in("/own", c.env)
		if slices.Sort(got); !slices.Equal(got, c.want) {
			t.Errorf("%q becomes %q; want %q", c.env, got, c.want)
		}
	}
}

func TestTheVariablesAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range inherited {
		if !strings.Contains(string(text), "`"+name+"`") {
			t.Errorf("SECURITY.md does not name %s", name)
		}
	}
}
