package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

const plugin = "plancast-milestone-datasource"

// datasource is one, in the words that provisioning files and Grafana's API
// share.
type datasource map[string]any

// datasources are the repository's own, with the address of this run, and
// those that break on purpose.
func datasources(open, secret string) ([]datasource, error) {
	const own = "provisioning/datasources/plancast.yml"
	text, err := os.ReadFile(own)
	if err != nil {
		return nil, err
	}
	var file struct {
		Datasources []datasource `yaml:"datasources"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("%s: %w", own, err)
	}
	if len(file.Datasources) != 1 {
		return nil, fmt.Errorf("%s: %d data sources, want 1", own, len(file.Datasources))
	}
	file.Datasources[0]["url"] = open
	more := func(uid, url, password string) {
		d := datasource{"name": "x-" + uid, "uid": uid, "type": plugin, "access": "proxy", "editable": true, "url": url}
		if password != "" {
			d["basicAuth"], d["basicAuthUser"], d["secureJsonData"] = true, "reader", map[string]string{"basicAuthPassword": password}
		}
		file.Datasources = append(file.Datasources, d)
	}
	more("down", fmt.Sprintf("http://127.0.0.1:%d", free()), "")
	more("secret", secret, password)
	more("wrong", secret, "not-the-password")
	return file.Datasources, nil
}

// provision writes provisioning files for a Grafana that is started.
func provision(dir string, sources []datasource) (string, error) {
	out := filepath.Join(dir, "provisioning")
	for _, d := range []string{"datasources", "dashboards", "alerting", "plugins"} {
		if err := os.MkdirAll(filepath.Join(out, d), 0o755); err != nil {
			return "", err
		}
	}
	boards, err := filepath.Abs("dist/dashboards")
	if err != nil {
		return "", err
	}
	for path, content := range map[string]any{
		"datasources/plancast.yml": map[string]any{"apiVersion": 1, "datasources": sources},
		"dashboards/plancast.yml": map[string]any{"apiVersion": 1, "providers": []any{
			map[string]any{"name": "plancast", "type": "file", "options": map[string]string{"path": boards}},
		}},
	} {
		text, err := yaml.Marshal(content)
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(out, path), text, 0o600); err != nil {
			return "", err
		}
	}
	return out, nil
}

// visit puts data sources and the bundled dashboards into a Grafana that runs
// already. remove, which is never nil, takes out again what was put in.
func visit(ctx context.Context, url string, sources []datasource) (remove func(), err error) {
	var added []string
	remove = func() {
		for _, path := range added {
			_ = call(context.WithoutCancel(ctx), http.MethodDelete, url+path, nil)
		}
	}
	for _, d := range sources {
		// One of that uid is somebody's own: it is not replaced.
		if err := call(ctx, http.MethodPost, url+"/api/datasources", d); err != nil {
			return remove, err
		}
		added = append(added, fmt.Sprint("/api/datasources/uid/", d["uid"]))
	}
	boards, err := filepath.Glob("dist/dashboards/*.json")
	if err != nil {
		return remove, err
	}
	for _, path := range boards {
		text, err := os.ReadFile(path)
		if err != nil {
			return remove, err
		}
		var board map[string]any
		if err := json.Unmarshal(text, &board); err != nil {
			return remove, fmt.Errorf("%s: %w", path, err)
		}
		delete(board, "id")
		if err := call(ctx, http.MethodPost, url+"/api/dashboards/db", map[string]any{"dashboard": board}); err != nil {
			return remove, err
		}
		added = append(added, fmt.Sprint("/api/dashboards/uid/", board["uid"]))
	}
	return remove, nil
}

// call sends a request to Grafana's API.
func call(ctx context.Context, method, url string, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(text))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.SetBasicAuth("admin", "admin")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(io.LimitReader(answer.Body, 1000))
	if err == nil && answer.StatusCode >= 300 {
		err = errors.New(strings.TrimSpace(string(said)))
	}
	if err != nil {
		return fmt.Errorf("%s %s: %s: %w", method, url, answer.Status, err)
	}
	return nil
}
