package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/plancast/plancast/stack/demo"
	"github.com/plancast/plancast/stack/local"
)

// startExporters invents the history of every host and starts its exporter.
func (s *stack) startExporters(ctx context.Context) error {
	s.exporters = map[demo.Host]string{}
	for _, host := range demo.Hosts {
		if err := demo.Write(ctx, demo.Options{Host: host, Dir: s.path(string(host)), Now: s.now, Days: s.days}); err != nil {
			return err
		}
		exporter, err := s.serve(ctx, string(host), "--no-measure")
		if err != nil {
			return err
		}
		s.exporters[host] = exporter
	}
	return s.startTelemetry()
}

// startFleet starts the fleet daemon over the store, and lets that scrape it.
func (s *stack) startFleet(ctx context.Context) (err error) {
	if err := demo.WriteFleet(s.path(demo.Fleet), s.prometheus, s.now); err != nil {
		return err
	}
	if s.fleet, err = s.serve(ctx, demo.Fleet); err != nil {
		return err
	}
	return s.writeTargets("plancast", s.published())
}

// serve starts plancast with the configuration of a folder of that name.
func (s *stack) serve(ctx context.Context, name string, flags ...string) (url string, err error) {
	p, err := s.group.Start(ctx, local.Program{
		Name: "plancast (" + name + ")", Ready: "/-/ready", Log: s.path(name + ".log"),
		Command: func(address string) []string {
			return append([]string{"bin/plancast", "serve", "--config.file=" + s.path(name, demo.ConfigFile), "--web.listen-address=" + address}, flags...)
		},
	})
	if err != nil {
		return "", err
	}
	return p.URL, nil
}

// startTelemetry serves the demo's GPUs, which are this process's own.
func (s *stack) startTelemetry() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("serve the demo's GPUs: %w", err)
	}
	server := &http.Server{Handler: demo.Telemetry(time.Now), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }() // until it is closed
	s.group.Defer(func() { _ = server.Close() })
	s.telemetry = "http://" + l.Addr().String()
	return nil
}

// fill writes the past of every host into the store that does not run yet.
func (s *stack) fill(ctx context.Context) error {
	var files []string
	for _, host := range demo.Hosts {
		file := s.path(string(host) + ".om")
		export := exec.CommandContext(ctx, "bin/plancast", "history", "export", "--config.file="+s.path(string(host), demo.ConfigFile),
			"--replay", "--step="+step.String(), "--label=job=plancast", "--label=instance="+string(host), "--output="+file)
		if out, err := export.CombinedOutput(); err != nil {
			return fmt.Errorf("export the history of %s: %w\n%s", host, err, out)
		}
		files = append(files, file)
	}
	gpus := s.path("gpu.om")
	f, err := os.Create(gpus)
	if err != nil {
		return err
	}
	if err := errors.Join(demo.WriteTelemetry(f, s.now, s.days, step), f.Close()); err != nil {
		return fmt.Errorf("write the demo's GPUs: %w", err)
	}
	for _, file := range append(files, gpus) {
		if err := local.Fill(ctx, file, s.path("prometheus")); err != nil {
			return err
		}
		os.Remove(file)
	}
	return nil
}

// published are the targets that publish metrics of plancast, as far as they run.
func (s *stack) published() string {
	text := target(s.telemetry, demo.Instance)
	for _, host := range demo.Hosts {
		text += target(s.exporters[host], string(host))
	}
	if s.fleet != "" {
		text += target(s.fleet, demo.Fleet)
	}
	return text
}

// target is one of a target file.
func target(url, instance string) string {
	labels := ""
	if instance != "" {
		labels = fmt.Sprintf("\n  labels: {instance: %q}", instance)
	}
	return fmt.Sprintf("- targets: [%q]%s\n", strings.TrimPrefix(url, "http://"), labels)
}
