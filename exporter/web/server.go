package web

import (
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/netutil"
)

// What a client may cost. Nothing that plancast serves needs a body, and its
// longest answer is written within seconds.
const (
	maxConnections = 128
	maxHeader      = 16 << 10 // with the request line
	maxURI         = 4 << 10
	maxBody        = 4 << 10
	headerTimeout  = 10 * time.Second
	readTimeout    = 30 * time.Second
	writeTimeout   = 2 * time.Minute
	idleTimeout    = 30 * time.Second // longer than a page takes to load what it needs; then others have the connection
)

// Server serves a handler within limits on time and size.
func Server(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, MaxHeaderBytes: maxHeader,
		ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
	}
}

// Limit bounds how many connections a listener has open at once: each is a file
// descriptor, and those are needed for measuring as well. Others wait.
func Limit(l net.Listener) net.Listener { return netutil.LimitListener(l, maxConnections) }

// guarded gives every answer the headers that keep a browser from misusing it, and
// refuses requests that are too long.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'") // the page has its own
		h.Set("X-Frame-Options", "DENY")                                                                                    // for browsers without frame-ancestors
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if len(r.RequestURI) > maxURI {
			refuse(w, http.StatusRequestURITooLong, "the address is longer than %d bytes", maxURI)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		next.ServeHTTP(w, r)
	})
}

// named says whether a request names plancast by an address that it has: an IP
// address, localhost, the machine's name, a name that it listens on, or one of
// Options.Hosts. A page whose name was made to point here has another.
func (h handler) named(r *http.Request) bool {
	host := strings.ToLower(hostname(r.Host))
	if _, err := netip.ParseAddr(host); err == nil || host == "localhost" {
		return true
	}
	if own, err := os.Hostname(); err == nil && host == strings.ToLower(own) {
		return true
	}
	return slices.ContainsFunc(h.Hosts, func(known string) bool { return strings.EqualFold(hostname(known), host) })
}

// hostname is a host without port and brackets.
func hostname(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		return host
	}
	return strings.Trim(hostport, "[]")
}
