package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"

	"github.com/plancast/plancast/stack/local"
)

// datasources are the repository's own, with the address of this run, and
// those that break on purpose, in the words that provisioning files and
// Grafana's API share.
func datasources(open, secret string) ([]map[string]any, error) {
	const own = "provisioning/datasources/plancast.yml"
	text, err := os.ReadFile(own)
	if err != nil {
		return nil, err
	}
	var file struct {
		Datasources []map[string]any `yaml:"datasources"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("%s: %w", own, err)
	}
	if len(file.Datasources) != 1 {
		return nil, fmt.Errorf("%s: %d data sources, want 1", own, len(file.Datasources))
	}
	file.Datasources[0]["url"] = open
	more := func(uid, url, password string) {
		d := map[string]any{"name": "x-" + uid, "uid": uid, "type": local.Plugin, "access": "proxy", "editable": true, "url": url}
		if password != "" {
			d["basicAuth"], d["basicAuthUser"], d["secureJsonData"] = true, "reader", map[string]string{"basicAuthPassword": password}
		}
		file.Datasources = append(file.Datasources, d)
	}
	nobody, err := local.Address()
	if err != nil {
		return nil, err
	}
	more("down", "http://"+nobody, "")
	more("secret", secret, password)
	more("wrong", secret, "not-the-password")
	return file.Datasources, nil
}

// grafana starts a Grafana with the plugin in dist.
func grafana(ctx context.Context, group *local.Group, dir string, how local.Grafana, sources []map[string]any) (url string, err error) {
	boards, err := filepath.Abs("dist/dashboards")
	if err != nil {
		return "", err
	}
	for kind, content := range map[string]any{
		"datasources": map[string]any{"apiVersion": 1, "datasources": sources},
		"dashboards": map[string]any{"apiVersion": 1, "providers": []any{
			map[string]any{"name": "plancast", "type": "file", "options": map[string]string{"path": boards}},
		}},
	} {
		text, err := yaml.Marshal(content)
		if err != nil {
			return "", err
		}
		folder := filepath.Join(dir, "provisioning", kind)
		if err := errors.Join(os.MkdirAll(folder, 0o755), os.WriteFile(filepath.Join(folder, "plancast.yml"), text, 0o600)); err != nil {
			return "", err
		}
	}
	if os.Getenv("GRAFANA_ROOT") == "" {
		if err := os.Setenv("GRAFANA_ROOT", filepath.Join(dir, "root")); err != nil {
			return "", err
		}
	}
	return group.Grafana(ctx, how, local.GrafanaOptions{Dir: dir, Plugin: "dist"})
}

// lend gives the data sources and the bundled dashboards to a Grafana that runs
// already.
func lend(ctx context.Context, group *local.Group, address string, sources []map[string]any) error {
	u, err := url.Parse(address)
	if err == nil && u.User == nil {
		u.User = url.UserPassword("admin", "admin")
		address = u.String()
	}
	_, err = group.Lend(ctx, address, local.Loan{Sources: sources, Dashboards: "dist/dashboards"})
	return err
}
