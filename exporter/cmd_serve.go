package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kingpin/v2"
	toolkit "github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/daemon"
	"github.com/plancast/plancast/exporter/fleet"
	"github.com/plancast/plancast/exporter/web"
)

// serveCommand is plancast serve: the daemon.
type serveCommand struct {
	config    *string
	web       *toolkit.FlagConfig
	lifecycle *bool
	external  *[]*url.URL
	prefix    *string
	measure   *bool
}

func registerServe(app *kingpin.Application) (string, command) {
	cmd := app.Command("serve", "Watch the model repository, measure new candidates, and serve the report and the metrics.")
	return cmd.FullCommand(), &serveCommand{
		config:    configFlag(cmd),
		web:       kingpinflag.AddFlags(cmd, ":9833"),
		lifecycle: cmd.Flag("web.enable-lifecycle", "Enable reload and measuring via HTTP requests (POST /-/reload, POST /api/v1/run).").Bool(),
		external: cmd.Flag("web.external-url", "External URL of plancast, such as https://example.org/plancast. Links in notifications start with it, and plancast serves everything below its path. "+
			"With --web.enable-lifecycle, requests that name another host are refused. Repeatable; the first is for links.").URLList(),
		prefix: cmd.Flag("web.route-prefix", "Path below which plancast serves everything. By default, that of --web.external-url. Use / behind a proxy that removes the path.").String(),
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

	d, err := c.open(cfg, p)
	if err != nil {
		return 0, err
	}
	defer d.Close()
	server := web.Server(d.Handler())
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
			p.log.Info("Stopping", "note", "the running job ends without a result and is repeated after the next start")
			stopServing()
			return exitOK, stop()
		}
	}
}

// served is what plancast serve runs: an exporter's daemon or a fleet's.
type served interface {
	Run(context.Context) error
	Reload(context.Context) error
	Handler() http.Handler
	Close() error
}

// open makes the daemon that the configuration asks for.
func (c *serveCommand) open(cfg config.Config, p program) (served, error) {
	place, err := c.place()
	if err != nil {
		return nil, err
	}
	o := p.daemon(cfg)
	if cfg.Source != nil {
		boundHeap(heapGrowthFleet)
		return fleet.New(fleet.Options{Config: cfg, ConfigFile: *c.config, Build: o.Build, Now: p.now, Log: p.log, Web: place})
	}
	o.ConfigFile, o.Unmeasured, o.Later, o.Web = *c.config, !*c.measure, true, place
	return daemon.New(o)
}

// place is where and how plancast is reached.
func (c *serveCommand) place() (web.Options, error) {
	o := web.Options{Lifecycle: *c.lifecycle}
	for i, u := range *c.external {
		if u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" {
			return o, fmt.Errorf("--web.external-url %q is not a web address: write one such as https://example.org/plancast", u)
		}
		o.Hosts = append(o.Hosts, u.Host)
		if i == 0 {
			o.External, o.Prefix = strings.TrimRight(u.String(), "/"), u.Path
		}
	}
	o.Hosts = append(o.Hosts, *c.web.WebListenAddresses...)
	if *c.prefix != "" {
		o.Prefix = *c.prefix
	}
	if o.Prefix = strings.Trim(o.Prefix, "/"); o.Prefix != "" {
		o.Prefix = "/" + o.Prefix
	}
	if strings.ContainsAny(o.Prefix, "?#{}% ") || path.Clean("/"+o.Prefix) != cmp.Or(o.Prefix, "/") {
		return o, fmt.Errorf("--web.route-prefix %q is not a path: write one such as /plancast", o.Prefix)
	}
	return o, nil
}

// listen serves in the background; errors arrive on serving. Plain TCP
// addresses are opened here, so that the log can name the port that was
// chosen for ":0"; sockets from systemd and vsock are the toolkit's business.
func listen(server *http.Server, flags *toolkit.FlagConfig, log *slog.Logger, serving chan<- error) (stop func(), err error) {
	stop = func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(ctx)
	}
	systemd := flags.WebSystemdSocket != nil && *flags.WebSystemdSocket
	if systemd || strings.HasPrefix(strings.Join(*flags.WebListenAddresses, ""), "vsock://") {
		go func() { serving <- toolkit.ListenAndServe(server, flags, log) }()
		return stop, nil
	}
	if err := toolkit.Validate(*flags.WebConfigFile); err != nil {
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
		listeners = append(listeners, web.Limit(l))
		log.Info("Serving the report", "url", scheme+browsable(l.Addr()))
	}
	go func() { serving <- toolkit.ServeMultiple(listeners, server, flags, log) }()
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
