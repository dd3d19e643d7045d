package prom

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/backend/httpclient"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/plancast/plancast/grafana-plugin/pkg/models"
)

// Error is an answer that did not come, in words that say what to do. It never
// holds an address's path or query, a header or a credential.
type Error struct {
	Status backend.Status
	Source backend.ErrorSource
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

var tooBig = regexp.MustCompile(`(?i)too many samples|maximum number of samples|exceed|response (is )?too (big|large)|limit of \d+ (samples|series|chunks)`)

// explain turns any error of a request to the API at host into an Error.
func explain(err error, host string, maxBytes int64) error {
	if err == nil {
		return nil
	}
	var known *Error
	if errors.As(err, &known) || errors.Is(err, models.ErrInvalid) {
		return err
	}
	downstream := func(status backend.Status, format string, args ...any) *Error {
		return &Error{Status: status, Source: backend.ErrorSourceDownstream, Text: fmt.Sprintf(format, args...), Cause: err}
	}
	var (
		status *httpStatus
		api    *v1.Error
		dns    *net.DNSError
		cert   *tls.CertificateVerificationError
		op     *net.OpError
		link   *url.Error
	)
	switch {
	case errors.Is(err, context.Canceled):
		return downstream(499, "the query was cancelled")
	case errors.Is(err, httpclient.ErrResponseBodyTooLarge):
		e := downstream(backend.StatusBadRequest, "the answer of %s is larger than %d MiB: narrow the expression, shorten the history, or raise the limit in the data source's settings", host, maxBytes>>20)
		e.Source, e.tooBig = backend.ErrorSourcePlugin, true
		return e
	case errors.As(err, &status):
		switch status.code {
		case http.StatusUnauthorized:
			return downstream(backend.StatusUnauthorized, "%s refuses the credentials (401): check Authentication in the data source's settings", host)
		case http.StatusForbidden:
			return downstream(backend.StatusForbidden, "%s denies access (403): these credentials may not query it", host)
		case http.StatusNotFound:
			return downstream(backend.StatusNotFound, "%s has no Prometheus API at this address (404): check the path of the URL", host)
		case http.StatusTooManyRequests:
			return downstream(backend.StatusTooManyRequests, "%s has too many requests (429): try again later or lower the number of requests in the data source's settings", host)
		case http.StatusRequestURITooLong:
			return downstream(backend.StatusBadRequest, "the query is too long for a GET request (414): set the HTTP method to POST")
		default:
			return downstream(backend.StatusBadGateway, "%s answered with HTTP status %d %s", host, status.code, http.StatusText(status.code))
		}
	case errors.As(err, &api):
		text := strings.TrimSpace(api.Msg)
		switch api.Type {
		case v1.ErrBadData:
			return downstream(backend.StatusBadRequest, "%s cannot read the query: %s", host, text)
		case v1.ErrExec:
			e := downstream(backend.StatusBadRequest, "%s cannot evaluate the query: %s", host, text)
			e.tooBig = tooBig.MatchString(text)
			return e
		case v1.ErrTimeout, v1.ErrCanceled:
			e := downstream(backend.StatusTimeout, "%s gave up on the query: %s", host, text)
			e.tooBig = true
			return e
		case v1.ErrBadResponse:
			return downstream(backend.StatusBadGateway, "%s does not answer like a Prometheus API: check the URL", host)
		default:
			e := downstream(backend.StatusBadGateway, "%s failed: %s", host, text)
			e.tooBig = tooBig.MatchString(text)
			return e
		}
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return downstream(backend.StatusTimeout, "%s did not answer in time: raise the timeout in the data source's settings, or shorten the history", host)
	case errors.As(err, &dns):
		return downstream(backend.StatusBadGateway, "%s cannot be found: check the URL and the name server", host)
	case errors.As(err, &cert):
		return downstream(backend.StatusBadGateway, "%s shows a certificate that is not trusted (%v): add its CA certificate under TLS settings", host, cert.Err)
	case errors.As(err, &op):
		return downstream(backend.StatusBadGateway, "%s cannot be reached: %v", host, op.Err)
	case errors.As(err, &link):
		return downstream(backend.StatusBadGateway, "%s cannot be reached: %v", host, link.Err)
	}
	return downstream(backend.StatusBadGateway, "%s does not answer like a Prometheus API: check the URL", host)
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// refuse is an error about the query, the user's to mend.
func refuse(format string, args ...any) error {
	return &models.Invalid{Field: "expression", Reason: fmt.Sprintf(format, args...)}
}
