package config

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Event is a kind of news that plancast sends of its own accord.
type Event string

// The events. One notification may be several: a result that misses a target
// in a new environment is a result, missed and environment.
const (
	EventResult      Event = "result"      // a candidate is measured at every precision
	EventMissed      Event = "missed"      // ... and misses a target
	EventEnvironment Event = "environment" // ... and is the first notified of another environment
	EventFailure     Event = "failure"     // a job failed
)

// Events lists every event.
var Events = []Event{EventResult, EventMissed, EventEnvironment, EventFailure}

// Notifications says who is notified of what. Without receivers nobody is.
type Notifications struct {
	Receivers []Receiver
	// Routes choose receivers; every route that matches counts. Without routes
	// every receiver is notified of everything.
	Routes []Route
	// Repeat is how long the same failure of the same model is only counted
	// after it was notified.
	Repeat time.Duration
	// GiveUp is how old a notification may grow while its receiver does not
	// take it.
	GiveUp time.Duration
	// ReportURL is where people find the report; "" leaves links out.
	ReportURL string
}

// Receiver is one address. Exactly one of URL, URLFile and URLEnv is set. The
// URL is read again for each notification, so that a secret can be exchanged
// while plancast runs.
type Receiver struct {
	Name    string
	URL     string // holds no secret
	URLFile string // path of a file that holds the URL
	URLEnv  string // name of an environment variable that holds the URL
}

// Route sends the notifications that match all of its conditions to its receivers.
type Route struct {
	Owners    []string // patterns; empty matches every model, owned or not
	Models    []string // patterns; empty matches every model
	Events    []Event  // empty matches every event
	Receivers []string // names
}

// Matches reports whether news of one of the events about the model goes this way.
func (r Route) Matches(model, owner string, events []Event) bool {
	if !(Select{Models: r.Owners}).Matches(owner) || !(Select{Models: r.Models}).Matches(model) {
		return false
	}
	return len(r.Events) == 0 || slices.ContainsFunc(events, func(e Event) bool { return slices.Contains(r.Events, e) })
}

// For lists the receivers that are notified of such news, in the order of the file,
// each once.
func (n Notifications) For(model, owner string, events ...Event) []Receiver {
	if len(n.Routes) == 0 {
		return n.Receivers
	}
	chosen := map[string]bool{}
	for _, r := range n.Routes {
		if r.Matches(model, owner, events) {
			for _, name := range r.Receivers {
				chosen[name] = true
			}
		}
	}
	var out []Receiver
	for _, r := range n.Receivers {
		if chosen[r.Name] {
			out = append(out, r)
		}
	}
	return out
}

func defaultNotifications() Notifications {
	return Notifications{Repeat: 24 * time.Hour, GiveUp: 72 * time.Hour}
}

func (c *Config) notifications(d *decoder, key string, n *yaml.Node) {
	x := &c.Notifications
	type use struct {
		node      *yaml.Node
		key, name string
	}
	var uses []use
	d.mapping(key, n, map[string]field{
		"receivers":  d.named(d.list(func(key string, n *yaml.Node) { c.receiver(d, key, n) })),
		"repeat":     d.duration(&x.Repeat, 0, 30*24*time.Hour),
		"give_up":    d.duration(&x.GiveUp, time.Minute, 30*24*time.Hour),
		"report_url": d.scalar(c.reportURL),
		"routes": d.list(func(key string, n *yaml.Node) {
			var r Route
			d.mapping(key, n, map[string]field{
				"owners": d.patterns(&r.Owners),
				"models": d.models(&r.Models),
				"events": d.nonEmpty("an event: "+eventNames(), d.scalar(func(s string) error {
					if !slices.Contains(Events, Event(s)) {
						return fmt.Errorf("%q is not one of %s", s, eventNames())
					}
					r.Events = append(r.Events, Event(s))
					return nil
				})),
				"receivers": d.nonEmpty("a receiver's name", func(key string, n *yaml.Node) {
					d.scalar(func(s string) error {
						r.Receivers = append(r.Receivers, s)
						uses = append(uses, use{n, key, s})
						return nil
					})(key, n)
				}),
			})
			if n.Kind == yaml.MappingNode && !has(n, "receivers") {
				d.errorf(n, key, "needs receivers, who are notified")
			}
			x.Routes = append(x.Routes, r)
		}),
	})
	known := names(x.Receivers, func(r Receiver) string { return r.Name })
	for _, u := range uses { // receivers may stand after the routes
		if !slices.Contains(known, u.name) {
			d.errorf(u.node, u.key, "there is no receiver %q in notifications.receivers%s", u.name, suggestion(u.name, slices.DeleteFunc(slices.Clone(known), func(s string) bool { return s == "" })))
		}
	}
}

func eventNames() string {
	return strings.Join(names(Events, func(e Event) string { return string(e) }), ", ")
}

func (c *Config) receiver(d *decoder, key string, n *yaml.Node) {
	var r Receiver
	d.mapping(key, n, map[string]field{
		"name": d.scalar(func(s string) error {
			if !labelValue(s) {
				return fmt.Errorf("%q cannot be a name: use up to 100 letters, digits, \"-\", \"_\", \".\" and spaces", s)
			}
			r.Name = s
			return nil
		}),
		// None of the errors below repeats the text: it may be a secret in the
		// wrong place.
		"url": d.scalar(func(s string) error {
			r.URL = s
			return openURL(s)
		}),
		"url_file": d.scalar(func(s string) error {
			if s == "" || strings.Contains(s, "://") {
				return errors.New("must be the path of a file that holds the URL, not the URL itself")
			}
			r.URLFile = s
			if checkPath(s) != nil {
				return errors.New("must be an absolute path, or relative to this file: plancast does not expand ~ and variables")
			}
			return nil
		}),
		"url_env": d.scalar(func(s string) error {
			r.URLEnv = s
			if !variable.MatchString(s) {
				return errors.New("must be the name of an environment variable that holds the URL, such as PLANCAST_SLACK_URL")
			}
			return nil
		}),
	})
	if n.Kind == yaml.MappingNode {
		if !has(n, "name") {
			d.errorf(n, key, "needs a name")
		}
		given := 0
		for _, k := range []string{"url", "url_file", "url_env"} {
			if has(n, k) {
				given++
			}
		}
		if given != 1 {
			d.errorf(n, key, "needs exactly one of url_file, url_env and url")
		}
	}
	c.Notifications.Receivers = append(c.Notifications.Receivers, r)
}

var (
	variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	// plainQuery are the settings of a URL that are no secret.
	plainQuery = []string{"template", "disabletls", "contenttype", "method", "titlekey", "messagekey",
		"from", "fromaddress", "fromname", "to", "toaddresses", "encryption", "starttls", "usestarttls", "requirestarttls", "clienthost", "auth", "timeout"}
	// tokenLike is what hooks have in their paths.
	tokenLike = regexp.MustCompile(`[A-Za-z0-9_-]{16,}`)
)

// openURL accepts a URL that may stand in the configuration for everybody to
// read. It says no rather than let a secret pass.
func openURL(s string) error {
	wayOut := errors.New("may hold a secret, which does not belong in this file: put the URL into a file and name that with url_file, or into an environment variable and name that with url_env")
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Fragment != "" || u.User != nil || !slices.Contains([]string{"generic", "generic+http", "generic+https", "smtp"}, u.Scheme) {
		return wayOut
	}
	for k := range u.Query() {
		if !slices.Contains(plainQuery, strings.ToLower(k)) {
			return wayOut
		}
	}
	if tokenLike.MatchString(u.Path) || strings.HasSuffix(u.Hostname(), "slack.com") || strings.HasSuffix(u.Hostname(), "discord.com") {
		return wayOut
	}
	return nil
}

func (c *Config) reportURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New(`must be the address of the report, without user, password or query, such as "http://gpu-host:9833/"`)
	}
	c.Notifications.ReportURL = s
	return nil
}
