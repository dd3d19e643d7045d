package config

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/plancast/plancast/terms"
)

// Prometheus is a store of metrics from which a fleet daemon reads what many
// exporters measured.
type Prometheus struct {
	URL string // of the API, without user and password
	// HTTP are the settings of the connection (credentials, TLS, proxies, headers),
	// as Prometheus writes its http_config in YAML; paths in it are relative to Folder.
	HTTP, Folder string
	// Tenant is sent as X-Scope-OrgID; "" is none.
	Tenant   string
	Interval time.Duration // between two readings
	Timeout  time.Duration // of one answer
	LookBack time.Duration // how far back results count
	// Resolution is the finest step of a history, usually the scrape interval.
	Resolution time.Duration
	// By are the labels whose values together tell one model from another; the
	// first is "model".
	By       []string
	Series   int   // in one answer, at most
	Bytes    int64 // of one answer, at most
	Requests int   // at the same time
}

func defaultPrometheus() *Prometheus {
	return &Prometheus{
		Interval: time.Minute, Timeout: 30 * time.Second, LookBack: terms.LookBack, Resolution: 15 * time.Second,
		By: []string{"model", "instance"}, Series: 100_000, Bytes: 256 << 20, Requests: 6,
	}
}

// measuring are the keys that speak of what a fleet daemon does not do.
var measuring = []string{"repository", "state", "schedule", "backend", "onnxruntime", "tensorrt", "precisions", "worker", "benchmark", "workloads", "notifications"}

func (c *Config) source(d *decoder, key string, n *yaml.Node) {
	d.mapping(key, n, map[string]field{"prometheus": func(key string, n *yaml.Node) { c.prometheus(d, key, n) }})
	if n.Kind == yaml.MappingNode && !has(n, "prometheus") {
		d.errorf(n, key, `needs a store: prometheus: {url: "http://localhost:9090"}`)
	}
}

func (c *Config) prometheus(d *decoder, key string, n *yaml.Node) {
	p := defaultPrometheus()
	c.Source = p
	d.mapping(key, n, map[string]field{
		"url":          d.scalar(p.url),
		"http":         func(key string, n *yaml.Node) { p.http(d, key, n) },
		"tenant":       d.text(&p.Tenant),
		"interval":     d.duration(&p.Interval, time.Second, time.Hour),
		"timeout":      d.duration(&p.Timeout, time.Second, 10*time.Minute),
		"look_back":    d.scalar(p.lookBack),
		"resolution":   d.duration(&p.Resolution, time.Second, time.Hour),
		"by":           func(key string, n *yaml.Node) { p.by(d, key, n) },
		"max_series":   d.integer(&p.Series, 1, 10_000_000),
		"max_bytes":    d.bytes(&p.Bytes, 1<<20, 1<<34),
		"max_requests": d.integer(&p.Requests, 1, 100),
	})
	if n.Kind == yaml.MappingNode && !has(n, "url") {
		d.errorf(n, key, `needs a url, such as "http://localhost:9090"`)
	}
}

func (p *Prometheus) url(s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return errors.New(`must be the address of a Prometheus-compatible API, such as "http://localhost:9090"`)
	case u.User != nil:
		return errors.New("must hold no user or password: write them below http, best as files")
	}
	p.URL = s
	return nil
}

// http keeps the text: who connects reads it, so that this package knows nothing
// of HTTP.
func (p *Prometheus) http(d *decoder, key string, n *yaml.Node) {
	text, err := yaml.Marshal(n)
	if err != nil {
		d.errorf(n, key, "%v", err)
	}
	p.HTTP = string(text)
}

func (p *Prometheus) lookBack(s string) error {
	v, err := terms.ParseDuration(s)
	if err != nil || v < time.Hour || v > terms.MaxLookBack {
		return fmt.Errorf(`%q is not a duration of at least 1h, such as 90d or 1y`, s)
	}
	p.LookBack = v
	return nil
}

func (p *Prometheus) by(d *decoder, key string, n *yaml.Node) {
	p.By = nil
	d.nonEmpty("the label model", d.scalar(func(s string) error {
		switch {
		case !labelName(s):
			return fmt.Errorf("%q is not the name of a label", s)
		case s == "precision" || s == "backend" || s == "quantile" || s == terms.WorkloadLabel:
			return fmt.Errorf("%q distinguishes the engines of one model: remove it", s)
		case slices.Contains(p.By, s):
			return fmt.Errorf("%q is listed twice", s)
		}
		p.By = append(p.By, s)
		return nil
	}))(key, n)
	if len(p.By) > 0 && p.By[0] != "model" {
		d.errorf(n, key, `must begin with "model"`)
	}
}

// fleet checks what belongs to a fleet daemon only, and what one does not take.
func (c *Config) fleet(d *decoder, root *yaml.Node) {
	if c.Source == nil {
		for _, m := range c.Milestones {
			if m.Where.String() != "" {
				d.errorf(root, "milestones", "%s selects by labels, which only a fleet daemon knows: name a source, or select by models", m.Name)
			}
		}
		return
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		if k := root.Content[i]; slices.Contains(measuring, k.Value) || k.Value == "targets" {
			d.errorf(k, k.Value, "belongs to an exporter, and with a source plancast reads what exporters measured: remove it here")
		}
	}
	if slices.Contains(c.Source.By, "instance") {
		return // the labels of an exporter's models are its own
	}
	for _, m := range c.Milestones {
		for _, label := range m.Where.Labels() {
			if !slices.Contains(c.Source.By, label) {
				c.Source.By = append(c.Source.By, label) // what a milestone tells apart is not put together
			}
		}
	}
}

// labelName reports whether s can be the name of a label of a target.
func labelName(s string) bool {
	return s != "__name__" && regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`).MatchString(s)
}
