package notify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"

	"github.com/plancast/plancast/exporter/config"
)

// sendTimeout is how long a receiver has to take a message.
const sendTimeout = 30 * time.Second

// Error says why a receiver did not take a message. It holds no part of the
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
// library shoutrrr, in a process of its own for each message: the library takes
// neither a context nor, for most services, an HTTP client, and what a receiver
// answers must not grow the daemon. It is safe for concurrent use.
type Services struct {
	// Command starts a process that runs Main.
	Command []string
	// Timeout for one message; 0 is 30 s.
	Timeout time.Duration
}

// Send gives m to r. Its error is an *Error, whatever happens. Nothing of an
// attempt is left when it returns.
func (s *Services) Send(ctx context.Context, r config.Receiver, m Message) error {
	raw, err := address(r)
	if err != nil {
		return &Error{Receiver: r.Name, Reason: err.Error()}
	}
	name, err := serviceOf(raw)
	if err != nil {
		return &Error{Receiver: r.Name, Reason: err.Error()}
	}
	timeout := cmp.Or(s.Timeout, sendTimeout)
	attempt, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	why, err := s.run(attempt, delivery{raw, m})
	switch {
	case ctx.Err() != nil:
		return &Error{r.Name, name, "interrupted"}
	case attempt.Err() != nil:
		return &Error{r.Name, name, fmt.Sprintf("no answer within %s", timeout)}
	case err != nil:
		return &Error{r.Name, name, "the process that sends it failed: " + reason(err.Error(), raw)}
	case why != "":
		return &Error{r.Name, name, why}
	}
	return nil
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

// serviceOf is the name of the service that a URL names. It is safe to show.
func serviceOf(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", errNoService
	}
	name, _, _ := strings.Cut(u.Scheme, "+")
	if name == "http" || name == "https" {
		return "", errWebAddress
	}
	if !slices.Contains(services, name) {
		return "", errNoService // and not the scheme, which could be part of a token
	}
	return name, nil
}

var errNoService = errors.New(`its URL names no service: it must begin with one, such as "slack://", "smtp://" or "generic+https://" for a webhook (docs/notifications.md)`)

var errWebAddress = errors.New(`its URL is a plain web address: for a webhook write generic+ before it, as in "generic+https://" (docs/notifications.md)`)

// locate finds the service of a URL. name is safe to show.
func locate(raw string) (service types.Service, name string, err error) {
	if name, err = serviceOf(raw); err != nil {
		return nil, "", err
	}
	err = guarded(func() error {
		service, err = new(router.ServiceRouter).Locate(raw)
		return err
	})
	if err != nil {
		return nil, name, fmt.Errorf("its URL is not valid for service %s: %s (docs/notifications.md)", name, reason(err.Error(), raw))
	}
	return service, name, nil
}

// dress gives a message the form that suits the service.
func dress(service, raw string, m Message) (text string, params *types.Params) {
	body := m.withLinks(service)
	text = m.Title + "\n" + body
	params = &types.Params{}
	switch service {
	case "smtp":
		(*params)["title"] = m.Title // the subject
		text = body
	case "generic":
		u, _ := url.Parse(raw)
		for k, v := range u.Query() {
			if strings.EqualFold(k, "template") && len(v) > 0 && v[0] != "" {
				// As JSON: the parts by themselves, for programs.
				*params = types.Params{
					"title": m.Title, "id": m.ID, "event": m.event(), "model": m.Model, "version": m.Version, "owner": m.Owner, "url": m.Link, "change": m.Change,
				}
				text = body
			}
		}
	}
	return text, params
}
