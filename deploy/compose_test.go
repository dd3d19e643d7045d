package deploy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

const root = ".."

// settings is the least that docker-compose.yml asks of its user.
func settings(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	password := filepath.Join(dir, "grafana-admin")
	if err := os.WriteFile(password, []byte("not admin\n"), 0o444); err != nil {
		t.Fatal(err)
	}
	return []string{"PLANCAST_MODELS=" + dir, "GRAFANA_ADMIN_PASSWORD_FILE=" + password}
}

// load reads docker-compose.yml as docker compose does, .env included.
func load(env []string, profiles ...string) (*types.Project, error) {
	options, err := cli.NewProjectOptions([]string{filepath.Join(root, "docker-compose.yml")},
		cli.WithWorkingDirectory(root), cli.WithEnv(env), cli.WithEnvFiles(), cli.WithDotEnv, cli.WithDefaultProfiles(profiles...))
	if err != nil {
		return nil, err
	}
	return options.LoadProject(context.Background())
}

func compose(t *testing.T, profiles ...string) *types.Project {
	t.Helper()
	p, err := load(settings(t), profiles...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestComposeStartsExactlyOneExporter(t *testing.T) {
	rest := []string{"alertmanager", "grafana", "prometheus"}
	for _, c := range []struct {
		profiles []string
		exporter string
		fleet    []string
	}{{nil, "exporter", nil}, {[]string{"cpu"}, "exporter", nil}, {[]string{"gpu"}, "exporter-gpu", nil}, {[]string{"cpu", "fleet"}, "exporter", []string{"fleet"}}} {
		got := compose(t, c.profiles...).ServiceNames()
		want := slices.Concat(rest, []string{c.exporter}, c.fleet)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("profiles %v start %v; want %v", c.profiles, got, want)
		}
	}
}

func TestComposeGivesTheGPUProfileTheNVIDIARuntime(t *testing.T) {
	s, err := compose(t, "gpu").GetService("exporter-gpu")
	if err != nil {
		t.Fatal(err)
	}
	if s.Runtime != "nvidia" || s.Build.Target != "tensorrt" {
		t.Errorf("runtime %q, target %q; want nvidia and tensorrt", s.Runtime, s.Build.Target)
	}
	devices := s.Deploy.Resources.Reservations.Devices
	if len(devices) != 1 || devices[0].Driver != "nvidia" || !slices.Contains(devices[0].Capabilities, "gpu") {
		t.Errorf("devices %+v; want NVIDIA's GPUs", devices)
	}
}

// There is no default password: without a file with one, nothing is loaded.
func TestComposeAsksForWhatItNeeds(t *testing.T) {
	for _, missing := range []string{"PLANCAST_MODELS", "GRAFANA_ADMIN_PASSWORD_FILE"} {
		env := slices.DeleteFunc(settings(t), func(s string) bool { return strings.HasPrefix(s, missing+"=") })
		if _, err := load(env); err == nil || !strings.Contains(err.Error(), missing) || !strings.Contains(err.Error(), "name ") {
			t.Errorf("without %s: %v; want an error that says what to name", missing, err)
		}
	}
	for _, s := range compose(t).Services {
		for name, value := range s.Environment {
			if value != nil && regexp.MustCompile(`(?i)(password|secret|token)`).MatchString(name) && !strings.HasSuffix(name, "__FILE") {
				t.Errorf("%s has %s in its environment, where everybody can read it", s.Name, name)
			}
		}
	}
	grafana, err := compose(t).GetService("grafana")
	if err != nil {
		t.Fatal(err)
	}
	file := grafana.Environment["GF_SECURITY_ADMIN_PASSWORD__FILE"]
	if file == nil || len(grafana.Secrets) != 1 || *file != "/run/secrets/"+grafana.Secrets[0].Source {
		t.Errorf("Grafana's administrator has no password from a secret: %v", file)
	}
}

func TestComposeServicesAreWatchedPinnedAndPrivate(t *testing.T) {
	for _, profile := range []string{"cpu", "gpu"} {
		p := compose(t, profile)
		for _, s := range p.Services {
			if s.HealthCheck == nil || len(s.HealthCheck.Test) < 2 {
				t.Errorf("%s has no health check", s.Name)
			}
			if _, tag, _ := strings.Cut(s.Image, ":"); tag == "" || tag == "latest" {
				t.Errorf("%s: image %q is not pinned", s.Name, s.Image)
			}
			for _, port := range s.Ports {
				if port.HostIP != "127.0.0.1" {
					t.Errorf("%s publishes port %s to other machines", s.Name, port.Published)
				}
			}
			if s.Privileged || !slices.Contains(s.CapDrop, "ALL") {
				t.Errorf("%s keeps capabilities", s.Name)
			}
			if s.MemLimit <= 0 || s.PidsLimit <= 0 {
				t.Errorf("%s has no limit of memory (%d) or processes (%d)", s.Name, s.MemLimit, s.PidsLimit)
			}
			named := 0
			for _, v := range s.Volumes {
				if v.Type == types.VolumeTypeVolume {
					if _, ok := p.Volumes[v.Source]; ok {
						named++
					}
				} else if !v.ReadOnly {
					t.Errorf("%s may write to the host's %s", s.Name, v.Source)
				}
			}
			if named != 1 {
				t.Errorf("%s has %d named volumes; want one for its data", s.Name, named)
			}
		}
	}
}

// built are mounted folders that a build makes.
var built = []string{"grafana-plugin/dist"}

func TestComposeMountsFilesThatExist(t *testing.T) {
	base, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range compose(t, "cpu", "gpu").Services {
		for _, v := range s.Volumes {
			if v.Type != types.VolumeTypeBind {
				continue
			}
			name, err := filepath.Rel(base, v.Source)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(v.Source); err != nil && !slices.Contains(built, name) {
				t.Errorf("%s mounts what does not exist: %v", s.Name, err)
			}
		}
	}
}

// Prometheus and Alertmanager find, at the mounted places, all that their
// configuration names, and each other under the names in alerts/targets.
func TestComposeMountsWhatTheConfigurationNames(t *testing.T) {
	p := compose(t)
	mounted := map[string]bool{}
	for _, s := range p.Services {
		for _, v := range s.Volumes {
			mounted[s.Name+v.Target] = true
		}
	}
	for _, c := range []struct {
		service, folder, file string
		names                 *regexp.Regexp
	}{
		{"prometheus", "/etc/prometheus/", "prometheus.yml", regexp.MustCompile(`(?m)^  - (\S+\.rules\.yml)$|files: \[(targets)/`)},
		{"alertmanager", "/etc/alertmanager/", "alertmanager.yml", regexp.MustCompile(`_file: (secrets)/`)},
	} {
		if !mounted[c.service+c.folder+c.file] {
			t.Errorf("%s does not get %s", c.service, c.file)
		}
		text, err := os.ReadFile(filepath.Join(root, "alerts", c.file))
		if err != nil {
			t.Fatal(err)
		}
		found := c.names.FindAllStringSubmatch(string(text), -1)
		if len(found) == 0 {
			t.Errorf("%s names nothing: the test looks for the wrong words", c.file)
		}
		for _, m := range found {
			if name := strings.Join(m[1:], ""); !mounted[c.service+c.folder+name] {
				t.Errorf("%s names %s, which %s does not get", c.file, name, c.service)
			}
		}
	}
	targets, err := filepath.Glob(filepath.Join(root, "alerts/targets/*.yml"))
	if err != nil || len(targets) == 0 {
		t.Fatalf("no targets: %v", err)
	}
	for _, file := range targets {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`targets: \["([^":]+):(\d+)"\]`).FindAllStringSubmatch(string(text), -1) {
			if s, err := p.GetService(m[1]); err != nil {
				t.Errorf("%s: no service is called %s", filepath.Base(file), m[1])
			} else if s.Ports[0].Target != port(m[2]) {
				t.Errorf("%s: %s listens on %d, not %s", filepath.Base(file), m[1], s.Ports[0].Target, m[2])
			}
		}
	}
	gpu, err := compose(t, "gpu").GetService("exporter-gpu")
	if err != nil || !slices.Contains(gpu.Networks["default"].Aliases, "exporter") {
		t.Errorf("Prometheus does not find the exporter of the gpu profile under its name: %v", err)
	}
}

func port(s string) (n uint32) {
	_, _ = fmt.Sscan(s, &n)
	return n
}

// The exporter's health check is a line of bash: it is run as it stands, with
// another port, against a server that is ready, not ready, and not there.
func TestExporterHealthCheck(t *testing.T) {
	s, err := compose(t).GetService("exporter")
	if err != nil {
		t.Fatal(err)
	}
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/-/ready" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "200 is not the status\n")
	}))
	check := func() error {
		_, p, err := net.SplitHostPort(server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		args := slices.Clone(s.HealthCheck.Test[1:])
		for i, a := range args {
			// $$ is compose's way to write a $; the loader leaves it to the engine.
			args[i] = strings.NewReplacer("9833", p, "$$", "$").Replace(a)
		}
		return exec.CommandContext(t.Context(), args[0], args[1:]...).Run()
	}
	if err := check(); err != nil {
		t.Errorf("ready: %v", err)
	}
	status = http.StatusServiceUnavailable
	if check() == nil {
		t.Error("not ready, and the check says healthy")
	}
	server.Close()
	if check() == nil {
		t.Error("nobody there, and the check says healthy")
	}
}
