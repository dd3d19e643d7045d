package local

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Loan is what a Grafana of the user's own is given for as long as the group
// runs. Folder and Sources are in the words of Grafana's API, with a uid.
type Loan struct {
	Folder     map[string]any // of the dashboards; nil for none of their own
	Sources    []map[string]any
	Dashboards string // the folder of the files
}

// guest is a Grafana of the user's own.
type guest struct {
	url   string // without the user
	user  *url.Userinfo
	token string
}

// Lend puts a loan into the Grafana at the address, which may hold a user and a
// password; GRAFANA_TOKEN goes before them. It returns the address without
// them. What is in use there under the same uid is left alone, with an error.
func (g *Group) Lend(ctx context.Context, address string, l Loan) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("GRAFANA_URL is not a URL: write one such as http://admin:admin@localhost:3000")
	}
	own := guest{user: u.User, token: os.Getenv("GRAFANA_TOKEN")}
	u.User = nil
	own.url = strings.TrimSuffix(u.String(), "/")
	type item struct {
		name, create, path string
		body               map[string]any
	}
	var items []item
	if l.Folder != nil {
		items = append(items, item{"folder", "/api/folders", fmt.Sprint("/api/folders/", l.Folder["uid"]), l.Folder})
	}
	for _, s := range l.Sources {
		items = append(items, item{fmt.Sprint("data source ", s["uid"]), "/api/datasources", fmt.Sprint("/api/datasources/uid/", s["uid"]), s})
	}
	files, err := filepath.Glob(filepath.Join(l.Dashboards, "*.json"))
	if err != nil || len(files) == 0 {
		return "", fmt.Errorf("there are no dashboards in %s: run make -C grafana-plugin build first", l.Dashboards)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		var d map[string]any
		if err := json.Unmarshal(text, &d); err != nil {
			return "", fmt.Errorf("%s: %w", file, err)
		}
		items = append(items, item{fmt.Sprint("dashboard ", d["uid"]), "/api/dashboards/db", fmt.Sprint("/api/dashboards/uid/", d["uid"]),
			map[string]any{"dashboard": d, "folderUid": l.Folder["uid"]}})
	}
	for _, i := range items {
		status, _, err := own.do(ctx, http.MethodGet, i.path, nil)
		if err != nil {
			return "", fmt.Errorf("look for %s in your Grafana: %w", i.name, err)
		}
		if status != http.StatusNotFound {
			return "", fmt.Errorf("look for %s in your Grafana: status %d, expected 404: it already has one, or GRAFANA_URL's user or GRAFANA_TOKEN has no access", i.name, status)
		}
		status, answer, err := own.do(ctx, http.MethodPost, i.create, i.body)
		if err != nil {
			return "", fmt.Errorf("add %s to your Grafana: %w", i.name, err)
		}
		if status != http.StatusOK {
			return "", fmt.Errorf("add %s to your Grafana: status %d: %s", i.name, status, answer)
		}
		g.Defer(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			if status, _, err := own.do(ctx, http.MethodDelete, i.path, nil); err != nil || status != http.StatusOK {
				fmt.Fprintf(os.Stderr, "stack: remove %s from your Grafana: status %d: %v: remove it there\n", i.name, status, err)
			}
		})
	}
	return own.url, nil
}

func (g guest) do(ctx context.Context, method, path string, body any) (status int, answer string, err error) {
	text, err := json.Marshal(body)
	if err != nil {
		return 0, "", err
	}
	req, err := http.NewRequestWithContext(ctx, method, g.url+path, bytes.NewReader(text))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	switch {
	case g.token != "":
		req.Header.Set("Authorization", "Bearer "+g.token)
	case g.user != nil:
		password, _ := g.user.Password()
		req.SetBasicAuth(g.user.Username(), password)
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	text, err = io.ReadAll(io.LimitReader(r.Body, 2000))
	return r.StatusCode, string(text), err
}
