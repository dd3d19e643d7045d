package prom

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/plancast/plancast/terms"
)

// Hints say in the words of the program what to change; "" leaves one out.
type Hints struct {
	URL         string // "check the URL"
	Credentials string // "check Authentication in the data source's settings"
	TLS         string // "add its CA certificate under TLS settings"
	Timeout     string // "raise the timeout in the data source's settings"
	Size        string // "raise the limit in the data source's settings"
	Series      string // " by the data source's settings", after "allowed"
	Requests    string // "lower the number of requests in the data source's settings"
	Method      string // "set the HTTP method to POST"
}

func (h Hints) orDefault() Hints {
	for _, x := range []struct {
		to   *string
		text string
	}{
		{&h.URL, "check the URL"}, {&h.Credentials, "check its credentials"}, {&h.TLS, "trust its CA certificate on this machine"},
		{&h.Timeout, "try again"}, {&h.Size, "ask for less"}, {&h.Requests, "send fewer requests at a time"}, {&h.Method, "use POST"},
	} {
		if *x.to == "" {
			*x.to = x.text
		}
	}
	return h
}

// Error is an answer that did not come, in words that say what to do. It never
// holds an address's path or query, a header or a credential.
type Error struct {
	Status int  // HTTP's word for what went wrong
	Ours   bool // a limit of this program and no failure of the API
	Text   string
	Cause  error // for errors.Is; its text is not shown
	tooBig bool  // a smaller piece may succeed
}

// Error is the text for people.
func (e *Error) Error() string { return e.Text }

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Cause }

// httpStatus is an answer of the server that is not one of the API.
type httpStatus struct{ code int }

func (e *httpStatus) Error() string { return fmt.Sprintf("HTTP status %d", e.code) }

// redirect is an answer that points elsewhere.
type redirect struct {
	code int
	to   string // scheme and host; "" when the answer does not say
}

func (e *redirect) Error() string { return fmt.Sprintf("HTTP status %d", e.code) }

var errNative = refuse("it returns native histograms: reduce them to numbers, such as histogram_quantile(0.99, ...)")

var tooBig = regexp.MustCompile(`(?i)too many samples|maximum number of samples|exceed|response (is )?too (big|large)|limit of \d+ (samples|series|chunks)`)

// explain turns any error of a request to the API into an Error; what is too
// much while it is read, named explains.
func (c *Client) explain(err error) error {
	host, hint := c.host, c.o.Hints
	if err == nil {
		return nil
	}
	var known *Error
	if errors.As(err, &known) || errors.Is(err, terms.ErrInvalid) || errors.Is(err, errSeries) || errors.Is(err, errMemory) {
		return err
	}
	downstream := func(status int, format string, args ...any) *Error {
		return &Error{Status: status, Text: fmt.Sprintf(format, args...), Cause: err}
	}
	var (
		status *httpStatus
		api    *apiError
		moved  *redirect
		dns    *net.DNSError
		cert   *tls.CertificateVerificationError
		op     *net.OpError
		link   *url.Error
	)
	switch {
	case errors.Is(err, context.Canceled):
		return downstream(499, "the query was canceled")
	case errors.Is(err, errBytes):
		e := downstream(http.StatusBadRequest, "the answer of %s is larger than %d MiB: narrow the expression, shorten the history, or %s", host, c.o.MaxBytes>>20, hint.Size)
		e.Ours, e.tooBig = true, true
		return e
	case errors.As(err, &moved):
		if moved.to == "" {
			return downstream(http.StatusBadGateway, "%s redirects (%d) to an address that cannot be read: %s", host, moved.code, hint.URL)
		}
		if moved.to == host {
			return downstream(http.StatusBadGateway, "%s redirects (%d) to another path of its own, and plancast follows no redirects: %s, and its path", host, moved.code, hint.URL)
		}
		return downstream(http.StatusBadGateway, "%s redirects (%d) to %s, and plancast follows no redirects because they would pass on credentials: %s, or enter that address if you trust it", host, moved.code, moved.to, hint.URL)
	case errors.As(err, &status):
		switch status.code {
		case http.StatusUnauthorized:
			return downstream(http.StatusUnauthorized, "%s refuses the credentials (401): %s", host, hint.Credentials)
		case http.StatusForbidden:
			return downstream(http.StatusForbidden, "%s denies access (403): these credentials may not query it", host)
		case http.StatusNotFound:
			return downstream(http.StatusNotFound, "%s has no Prometheus API at this address (404): %s, and its path", host, hint.URL)
		case http.StatusTooManyRequests:
			return downstream(http.StatusTooManyRequests, "%s has too many requests (429): try again later, or %s", host, hint.Requests)
		case http.StatusServiceUnavailable:
			return downstream(http.StatusServiceUnavailable, "%s is down, or has too many requests (503): try again later, or %s", host, hint.Requests)
		case http.StatusRequestURITooLong:
			return downstream(http.StatusBadRequest, "the query is too long for a GET request (414): %s", hint.Method)
		default:
			return downstream(http.StatusBadGateway, "%s answered with HTTP status %d %s", host, status.code, http.StatusText(status.code))
		}
	case errors.As(err, &api):
		text := strings.TrimSpace(api.text)
		switch api.kind {
		case "bad_data", "400": // VictoriaMetrics names the status
			if tooBig.MatchString(text) { // a limit of Mimir's
				e := downstream(http.StatusBadRequest, "%s refuses the query: %s", host, text)
				e.tooBig = true
				return e
			}
			return downstream(http.StatusBadRequest, "%s cannot read the query: %s", host, text)
		case "execution", "422":
			e := downstream(http.StatusBadRequest, "%s cannot evaluate the query: %s", host, text)
			e.tooBig = tooBig.MatchString(text)
			return e
		case "timeout", "canceled":
			e := downstream(http.StatusGatewayTimeout, "%s gave up on the query: %s", host, text)
			e.tooBig = true
			return e
		default:
			e := downstream(http.StatusBadGateway, "%s failed: %s", host, text)
			e.tooBig = tooBig.MatchString(text)
			return e
		}
	case errors.Is(err, errSyntax):
		return downstream(http.StatusBadGateway, "%s does not answer like a Prometheus API: %s", host, hint.URL)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return downstream(http.StatusBadGateway, "%s broke off its answer: try again, and check its log", host)
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return downstream(http.StatusGatewayTimeout, "%s did not answer in time: %s, or shorten the history", host, hint.Timeout)
	case errors.As(err, &dns):
		return downstream(http.StatusBadGateway, "%s cannot be found: %s and the name server", host, hint.URL)
	case errors.As(err, &cert):
		return downstream(http.StatusBadGateway, "%s presents a certificate that is not trusted (%v): %s", host, cert.Err, hint.TLS)
	case errors.As(err, &op):
		return downstream(http.StatusBadGateway, "%s cannot be reached: %v", host, op.Err)
	case errors.As(err, &link):
		return downstream(http.StatusBadGateway, "%s cannot be reached: %v", host, link.Err)
	}
	return downstream(http.StatusBadGateway, "%s does not answer like a Prometheus API: %s", host, hint.URL)
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// refuse is an error about the query, which the user can fix.
func refuse(format string, args ...any) error {
	return &terms.Invalid{Field: "expression", Reason: fmt.Sprintf(format, args...)}
}
