package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/alecthomas/kingpin/v2"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/notify"
)

// notifyTest is plancast notify test.
type notifyTest struct {
	config   *string
	receiver *string
}

func registerNotifyTest(app *kingpin.Application) (string, command) {
	parent := app.Command("notify", "Test notifications.")
	cmd := parent.Command("test", "Send each receiver a test message and report whether it was accepted.")
	return cmd.FullCommand(), &notifyTest{configFlag(cmd), cmd.Flag("receiver", "Only this receiver.").String()}
}

func (c *notifyTest) run(ctx context.Context, p program) (int, error) {
	cfg, err := config.Load(*c.config)
	if err != nil {
		return 0, err
	}
	receivers := cfg.Notifications.Receivers
	if len(receivers) == 0 {
		return 0, fmt.Errorf("%s has no notifications.receivers: docs/notifications.md says how to add one", *c.config)
	}
	if *c.receiver != "" {
		receivers = slices.DeleteFunc(slices.Clone(receivers), func(r config.Receiver) bool { return r.Name != *c.receiver })
		if len(receivers) == 0 {
			return 0, fmt.Errorf("there is no receiver %q in %s: it has %s", *c.receiver, *c.config, receiverNames(cfg.Notifications.Receivers))
		}
	}
	status := exitOK
	services := notify.Services{Command: p.sender}
	for _, r := range receivers {
		if err := notify.Test(ctx, &services, r, p.now()); err != nil {
			fmt.Fprintf(p.stdout, "failed: %v\n", err)
			status = exitError
			continue
		}
		fmt.Fprintf(p.stdout, "sent to %s: check that it arrived\n", r.Name)
	}
	return status, nil
}

func receiverNames(list []config.Receiver) string {
	names := make([]string, len(list))
	for i, r := range list {
		names[i] = r.Name
	}
	return strings.Join(names, ", ")
}

// writeReceivers says who would be notified of what.
func writeReceivers(w io.Writer, cfg config.Config, models []string) {
	n := cfg.Notifications
	if len(n.Receivers) == 0 {
		fmt.Fprintln(w, "\nNobody would be notified: the configuration has no notifications.receivers.")
		return
	}
	fmt.Fprintln(w, "\nWho would be notified:")
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, m := range models {
		owner := cfg.ModelFor(m).Owner
		// Events with the same receivers stand together.
		var order []string
		events := map[string][]string{}
		for _, e := range config.Events {
			to := receiverNames(n.For(m, owner, e))
			if to == "" {
				to = "nobody"
			}
			if events[to] == nil {
				order = append(order, to)
			}
			events[to] = append(events[to], string(e))
		}
		var parts []string
		for _, to := range order {
			parts = append(parts, strings.Join(events[to], ", ")+" → "+to)
		}
		of := "no owner"
		if owner != "" {
			of = "owner " + owner
		}
		fmt.Fprintf(tw, "  %s\t%s\t%s\n", m, of, strings.Join(parts, "; "))
	}
	_ = tw.Flush() // as the lines around it: to a terminal
	for _, r := range n.Receivers {
		if service, err := notify.Check(r); err != nil {
			fmt.Fprintf(w, "  receiver %s cannot be reached: %v\n", r.Name, err)
		} else {
			fmt.Fprintf(w, "  receiver %s: %s\n", r.Name, service)
		}
		if len(n.Routes) > 0 && !slices.ContainsFunc(n.Routes, func(x config.Route) bool { return slices.Contains(x.Receivers, r.Name) }) {
			fmt.Fprintf(w, "  receiver %s: no route leads to it\n", r.Name)
		}
	}
}
