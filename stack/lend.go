package main

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

// guest is a Grafana of the user's own, which is given the stack's data sources
// and dashboards for as long as the stack runs.
type guest struct {
	url   url.URL // without the user
	user  *url.Userinfo
	token string
}

// guestPrefix begins the uids of the data sources in a user's own Grafana.
const guestPrefix = "plancast-demo-"

// lend puts data sources and dashboards into the user's Grafana. What is in
// use there under the same uid is left alone, with an error.
func (s *stack) lend(ctx context.Context, address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return fmt.Errorf("GRAFANA_URL is no URL: write one such as http://admin:admin@localhost:3000")
	}
	g := guest{url: *u, user: u.User, token: os.Getenv("GRAFANA_TOKEN")}
	g.url.User = nil
	s.grafana = strings.TrimSuffix(g.url.String(), "/")
	const folder = "plancast-demo"
	type item struct {
		kind, exists, create, remove string
		body                         any
	}
	items := []item{{"folder", "/api/folders/" + folder, "/api/folders", "/api/folders/" + folder, map[string]any{"uid": folder, "title": "plancast demo"}}}
	for uid, source := range map[string]map[string]any{
		"plancast":   {"name": "plancast demo", "type": plugin, "url": s.prometheus, "jsonData": map[string]any{"httpMethod": "POST", "history": "365d"}},
		"prometheus": {"name": "Prometheus of the plancast demo", "type": "prometheus", "url": s.prometheus, "jsonData": map[string]any{"httpMethod": "POST", "timeInterval": "15s"}},
	} {
		uid = guestPrefix + uid
		source["uid"], source["access"] = uid, "proxy"
		items = append(items, item{"data source " + uid, "/api/datasources/uid/" + uid, "/api/datasources", "/api/datasources/uid/" + uid, source})
	}
	files, err := filepath.Glob("dashboards/*.json")
	if err != nil {
		return err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var d map[string]any
		if err := json.Unmarshal(text, &d); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		uid := fmt.Sprint(d["uid"])
		items = append(items, item{"dashboard " + uid, "/api/dashboards/uid/" + uid, "/api/dashboards/db", "/api/dashboards/uid/" + uid, map[string]any{"dashboard": d, "folderUid": folder}})
	}
	for _, i := range items {
		status, _, err := g.do(ctx, http.MethodGet, i.exists, nil)
		if err != nil {
			return fmt.Errorf("look for %s in your Grafana: %w", i.kind, err)
		}
		if status != http.StatusNotFound {
			return fmt.Errorf("look for %s in your Grafana: status %d, where 404 was expected: it has one already, or GRAFANA_URL's user or GRAFANA_TOKEN may not look", i.kind, status)
		}
		status, answer, err := g.do(ctx, http.MethodPost, i.create, i.body)
		if err != nil || status != http.StatusOK {
			return fmt.Errorf("put %s into your Grafana: status %d: %w%s", i.kind, status, err, answer)
		}
		s.group.Defer(func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			if status, _, err := g.do(ctx, http.MethodDelete, i.remove, nil); err != nil || status != http.StatusOK {
				fmt.Fprintf(os.Stderr, "stack: take %s out of your Grafana: status %d: %v: remove it there\n", i.kind, status, err)
			}
		})
	}
	return s.relink(ctx)
}

func (g guest) do(ctx context.Context, method, path string, body any) (status int, answer string, err error) {
	text, err := json.Marshal(body)
	if err != nil {
		return 0, "", err
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(g.url.String(), "/")+path, bytes.NewReader(text))
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
	told, err := io.ReadAll(io.LimitReader(r.Body, 2000))
	return r.StatusCode, string(told), err
}
