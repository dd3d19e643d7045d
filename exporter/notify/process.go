package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
)

// delivery is what a sending process is given, as JSON on stdin: nobody else can
// read the URL there.
type delivery struct {
	URL     string  `json:"url"`
	Message Message `json:"message"`
}

// outcome is its answer, as JSON on stdout.
type outcome struct {
	Reason string `json:"reason"` // why it was not taken; "" when it was
}

// maxAnswer is how much of a receiver's answer is read, and maxOutcome how much of
// the process's.
const (
	maxAnswer  = 16 << 10
	maxOutcome = 16 << 10
)

// inherited are the variables that a sending process has: how to reach the network
// and whom to trust there.
var inherited = []string{"PATH", "HOME", "TMPDIR", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "GODEBUG", "GORACE",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"}

// run sends in a process of its own, which ends with ctx.
func (s *Services) run(ctx context.Context, d delivery) (reason string, err error) {
	text, err := json.Marshal(d)
	if err != nil {
		return "", err
	}
	if len(s.Command) == 0 {
		return "", errors.New("no program is configured for it")
	}
	cmd := exec.CommandContext(ctx, s.Command[0], s.Command[1:]...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return !slices.Contains(inherited, name)
	})
	cmd.Stdin = bytes.NewReader(text)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	answer, readErr := io.ReadAll(io.LimitReader(out, maxOutcome))
	if err := cmd.Wait(); err != nil {
		return "", err
	}
	if readErr != nil {
		return "", readErr
	}
	var o outcome
	if err := json.Unmarshal(answer, &o); err != nil {
		return "", fmt.Errorf("its answer cannot be read: %w", err)
	}
	return o.Reason, nil
}

// Main is the sending process: it gives one message to a receiver and says why it
// was not taken, if so. It returns the exit status.
func Main(stdin io.Reader, stdout io.Writer) int {
	var d delivery
	if err := json.NewDecoder(stdin).Decode(&d); err != nil {
		fmt.Fprintln(os.Stderr, "this command is started by plancast itself: use plancast notify test")
		return 2
	}
	// Nothing else uses HTTP in this process.
	http.DefaultTransport = brief{http.DefaultTransport}
	http.DefaultClient.Timeout = sendTimeout
	if err := json.NewEncoder(stdout).Encode(outcome{d.send()}); err != nil {
		return 2
	}
	return 0
}

func (d delivery) send() (why string) {
	service, name, err := locate(d.URL)
	if err != nil {
		return err.Error()
	}
	text, params := dress(name, d.URL, d.Message)
	if err := guarded(func() error { return service.Send(text, params) }); err != nil {
		return reason(err.Error(), d.URL)
	}
	return ""
}

// brief reads the beginning of an answer, as it comes: an answer that is packed
// stays packed.
type brief struct{ next http.RoundTripper }

func (b brief) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Accept-Encoding") == "" {
		r = r.Clone(r.Context())
		r.Header.Set("Accept-Encoding", "identity")
	}
	answer, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	answer.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(answer.Body, maxAnswer), answer.Body}
	return answer, nil
}
