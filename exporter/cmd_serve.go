package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/daemon"
)

// serveCommand is plancast serve: the daemon.
type serveCommand struct {
	config    *string
	web       *web.FlagConfig
	lifecycle *bool
	external  *[]*url.URL
	measure   *bool
}

func registerServe(app *kingpin.Application) (string, command) {
	cmd := app.Command("serve", "Watches the model repository, measures new candidates and serves the report and the metrics.")
	return cmd.FullCommand(), &serveCommand{
		config:    configFlag(cmd),
		web:       kingpinflag.AddFlags(cmd, ":9833"),
		lifecycle: cmd.Flag("web.enable-lifecycle", "Enable reload and measuring via HTTP requests (POST /-/reload, POST /api/v1/run).").Bool(),
		external:  cmd.Flag("web.external-url", "URL that plancast is reached by, such as https://plancast.example.org. With --web.enable-lifecycle, requests that name another host are refused. Repeatable.").URLList(),
		measure: cmd.Flag("measure", "Measure new candidates. With --no-measure the report, the metrics and the forecasts come from the history as it is, "+
			"and no backend is needed: for a copy of another machine's history.").Default("true").Bool(),
	}
}

func (c *serveCommand) run(ctx context.Context, p program) (int, error) {
	cfg, err := config.Load(*c.config)
	if err != nil {
		return 0, err
	}
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)

	o := p.daemon(cfg)
	o.ConfigFile, o.Unmeasured, o.Lifecycle = *c.config, !*c.measure, *c.lifecycle
	for _, u := range *c.external {
		if u.Host == "" {
			return 0, fmt.Errorf("--web.external-url %q names no host: write one such as https://plancast.example.org", u)
		}
		o.Hosts = append(o.Hosts, u.Host)
	}
	o.Hosts = append(o.Hosts, *c.web.WebListenAddresses...)
	boundHeap()
	d, err := daemon.New(o)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	server := d.Server()
	serving := make(chan error, 1)
	stopServing, err := listen(server, c.web, p.log, serving)
	if err != nil {
		return 0, err
	}

	ctx, cancel := context.WithCancel(ctx)
	running := make(chan error, 1)
	go func() { running <- d.Run(ctx) }()
	stop := func() error { // everything, before the daemon is closed
		cancel()
		return <-running
	}
	for {
		select {
		case <-hup:
			_ = d.Reload(ctx) // logged
		case err := <-serving:
			if !errors.Is(err, http.ErrServerClosed) {
				return 0, errors.Join(fmt.Errorf("serve: %w", err), stop())
			}
			return exitOK, stop()
		case err := <-running:
			cancel()
			stopServing()
			return exitOK, err
		case <-ctx.Done():
			p.log.Info("Stopping", "note", "a running job ends without a result and is done again at the next start")
			stopServing()
			return exitOK, stop()
		}
	}
}

// boundHeap keeps a daemon small that holds a long history: the heap may grow by half
// of what is alive before it is collected, rather than to twice as much. A limit in
// bytes would make the collector run all the time once more is alive than was thought.
// GOGC and GOMEMLIMIT in the environment have precedence.
func boundHeap() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(50)
	}
}

// listen serves in the background; errors arrive on serving. Plain TCP
// addresses are opened here, so that the log can name the port that was
// chosen for ":0"; sockets from systemd and vsock are the toolkit's business.
func listen(server *http.Server, flags *web.FlagConfig, log *slog.Logger, serving chan<- error) (stop func(), err error) {
	stop = func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(ctx)
	}
	systemd := flags.WebSystemdSocket != nil && *flags.WebSystemdSocket
	if systemd || strings.HasPrefix(strings.Join(*flags.WebListenAddresses, ""), "vsock://") {
		go func() { serving <- web.ListenAndServe(server, flags, log) }()
		return stop, nil
	}
	if err := web.Validate(*flags.WebConfigFile); err != nil {
		return nil, fmt.Errorf("web configuration %s: %w", *flags.WebConfigFile, err)
	}
	scheme := "http://"
	if text, err := os.ReadFile(*flags.WebConfigFile); err == nil && bytes.Contains(text, []byte("tls_server_config")) {
		scheme = "https://"
	}
	var listeners []net.Listener
	for _, address := range *flags.WebListenAddresses {
		l, err := net.Listen("tcp", address)
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
			return nil, fmt.Errorf("listen on %s: %w: choose another with --web.listen-address", address, err)
		}
		listeners = append(listeners, daemon.Limit(l))
		log.Info("Report at", "url", scheme+browsable(l.Addr()))
	}
	go func() { serving <- web.ServeMultiple(listeners, server, flags, log) }()
	return stop, nil
}

// browsable is an address that a browser on this machine can open.
func browsable(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}
