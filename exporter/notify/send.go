package notify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"

	"github.com/plancast/plancast/exporter/config"
)

// sendTimeout is how long a receiver has to take a message.
const sendTimeout = 30 * time.Second

// Error says why a receiver did not take a message. It holds nothing of the
// receiver's URL and wraps nothing that does.
type Error struct {
	Receiver string
	Service  string // "slack"; "" when the URL names none
	Reason   string
}

// Error reads "send to chat (slack): the server answered 500 Internal Server Error".
func (e *Error) Error() string {
	s := "send to " + e.Receiver
	if e.Service != "" {
		s += " (" + e.Service + ")"
	}
	return s + ": " + e.Reason
}

// Services sends through the service that a receiver's URL names, by the
// library shoutrrr. The zero value is ready; it is safe for concurrent use.
type Services struct {
	// Timeout for one message; 0 is 30 s.
	Timeout time.Duration

	mu   sync.Mutex
	busy map[string]bool // receivers with a call that has not come back
}

// Send gives m to r. Its error is an *Error, whatever happens.
//
// The library takes no context: a call that does not come back in time is left
// behind, and until it ends the receiver gets no other, so there is at most one
// for each receiver.
func (s *Services) Send(ctx context.Context, r config.Receiver, m Message) error {
	raw, err := address(r)
	if err != nil {
		return &Error{Receiver: r.Name, Reason: err.Error()}
	}
	service, name, err := locate(raw)
	if err != nil {
		return &Error{r.Name, name, err.Error()}
	}
	if !s.begin(r.Name) {
		return &Error{r.Name, name, "it has not answered the attempt before this one yet"}
	}
	text, params := dress(name, raw, m)
	done := make(chan error, 1)
	go func() {
		defer s.end(r.Name)
		done <- guarded(func() error { return service.Send(text, params) })
	}()
	timeout := s.Timeout
	if timeout == 0 {
		timeout = sendTimeout
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case err = <-done:
		if err == nil {
			return nil
		}
		return &Error{r.Name, name, reason(err.Error(), raw)}
	case <-timer.C:
		return &Error{r.Name, name, fmt.Sprintf("no answer within %s", timeout)}
	case <-ctx.Done():
		return &Error{r.Name, name, "interrupted"}
	}
}

func (s *Services) begin(receiver string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[receiver] {
		return false
	}
	if s.busy == nil {
		s.busy = map[string]bool{}
	}
	s.busy[receiver] = true
	return true
}

func (s *Services) end(receiver string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.busy, receiver)
}

// guarded makes an error of a panic: its text could show the URL.
func guarded(f func() error) (err error) {
	defer func() {
		if x := recover(); x != nil {
			err = fmt.Errorf("the library panicked: %v", x)
		}
	}()
	return f()
}

// Check reports whether the receiver's URL can be read and names a service,
// without sending anything.
func Check(r config.Receiver) (service string, err error) {
	raw, err := address(r)
	if err != nil {
		return "", err
	}
	_, service, err = locate(raw)
	return service, err
}

// address reads the receiver's URL from where it is kept. No error holds any
// of it.
func address(r config.Receiver) (string, error) {
	var raw, where string
	switch {
	case r.URLEnv != "":
		where = "environment variable " + r.URLEnv
		raw = os.Getenv(r.URLEnv)
		if raw == "" {
			return "", fmt.Errorf("%s is not set: put the receiver's URL there before plancast starts", where)
		}
	case r.URLFile != "":
		where = "file " + r.URLFile
		text, err := os.ReadFile(r.URLFile)
		var pathErr *fs.PathError
		if errors.As(err, &pathErr) {
			return "", fmt.Errorf("%s cannot be read: %w", where, pathErr.Err)
		} else if err != nil {
			return "", fmt.Errorf("%s cannot be read", where)
		}
		raw = string(text)
	default:
		return r.URL, nil
	}
	raw = strings.TrimSpace(raw)
	switch {
	case raw == "":
		return "", fmt.Errorf("%s is empty: put the receiver's URL there", where)
	case strings.ContainsAny(raw, "\r\n"):
		return "", fmt.Errorf("%s holds more than one line: keep the receiver's URL alone", where)
	}
	return raw, nil
}

// services are those of the library. Its logger is none: it would take every
// message and report nothing.
var services = slices.DeleteFunc(new(router.ServiceRouter).ListServices(), func(s string) bool { return s == "logger" })

var errNoService = errors.New(`its URL names no service: it begins with that, such as "slack://", "smtp://" or "generic+https://" for a webhook (docs/notifications.md)`)

// locate finds the service of a URL. name is safe to show.
func locate(raw string) (service types.Service, name string, err error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, "", errNoService
	}
	name, _, _ = strings.Cut(u.Scheme, "+")
	if !slices.Contains(services, name) {
		return nil, "", errNoService // and not the scheme, which could be part of a token
	}
	err = guarded(func() error {
		service, err = new(router.ServiceRouter).Locate(raw)
		return err
	})
	if err != nil {
		return nil, name, fmt.Errorf("its URL is not one of service %s: %s (docs/notifications.md)", name, reason(err.Error(), raw))
	}
	return service, name, nil
}

// dress gives a message the form that suits the service.
func dress(service, raw string, m Message) (text string, params *types.Params) {
	text = m.Title + "\n" + m.Text
	params = &types.Params{}
	switch service {
	case "smtp":
		(*params)["title"] = m.Title // the subject
		text = m.Text
	case "generic":
		u, _ := url.Parse(raw)
		for k, v := range u.Query() {
			if strings.EqualFold(k, "template") && len(v) > 0 && v[0] != "" {
				// As JSON: the parts by themselves, for programs.
				*params = types.Params{
					"title": m.Title, "id": m.ID, "event": m.event(), "model": m.Model, "version": m.Version, "owner": m.Owner, "url": m.Link,
				}
				text = m.Text
			}
		}
	}
	return text, params
}
