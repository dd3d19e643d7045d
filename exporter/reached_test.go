package main

import (
	"testing"

	"github.com/alecthomas/kingpin/v2"
)

// As in Prometheus: the path of the external URL is the prefix unless that is given.
func TestWherePlancastIsReached(t *testing.T) {
	for _, c := range []struct {
		name             string
		args             []string
		external, prefix string
		bad              bool
	}{
		{"nothing said", nil, "", "", false},
		{"a host of its own", []string{"--web.external-url=https://plancast.example.org/"}, "https://plancast.example.org", "", false},
		{"below a path", []string{"--web.external-url=https://example.org/tools/plancast/"}, "https://example.org/tools/plancast", "/tools/plancast", false},
		{"behind a proxy that removes the path", []string{"--web.external-url=https://example.org/plancast", "--web.route-prefix=/"}, "https://example.org/plancast", "", false},
		{"a prefix alone", []string{"--web.route-prefix=plancast/"}, "", "/plancast", false},
		{"the first of several addresses", []string{"--web.external-url=https://a.example/x", "--web.external-url=https://b.example/y"}, "https://a.example/x", "/x", false},
		{"no address", []string{"--web.external-url=plancast"}, "", "", true},
		{"an address with a query", []string{"--web.external-url=https://example.org/?a=b"}, "", "", true},
		{"no path", []string{"--web.route-prefix=/a/../b"}, "", "", true},
		{"a pattern", []string{"--web.route-prefix=/{x}"}, "", "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			app := kingpin.New("plancast", "")
			_, cmd := registerServe(app)
			if _, err := app.Parse(append([]string{"serve"}, c.args...)); err != nil {
				t.Fatal(err)
			}
			got, err := cmd.(*serveCommand).place()
			if (err != nil) != c.bad {
				t.Fatal(err)
			}
			if !c.bad && (got.External != c.external || got.Prefix != c.prefix) {
				t.Errorf("reached at %q, below %q; want %q, %q", got.External, got.Prefix, c.external, c.prefix)
			}
		})
	}
}
