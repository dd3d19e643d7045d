package candidate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
)

// The calls of MLflow's REST API.

// ask reads an answer of the server.
func (m *registered) ask(ctx context.Context, what, at string, q url.Values, into any) error {
	return m.within(ctx, what+" of "+m.url, func(ctx context.Context) error {
		resp, err := m.get(ctx, at, q)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(into); err != nil {
			return errors.New("the answer is not from MLflow: a proxy or another program answers at this address: correct repository.url")
		}
		return nil
	})
}

// resultTag begins the tags that plancast writes.
const resultTag = "plancast."

// tag gives a version tags, as far as it does not have them.
func (m *registered) tag(ctx context.Context, model, version string, tags map[string]string) error {
	v := m.versions[path.Join(model, version)]
	if v == nil {
		return nil // it is gone
	}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		want := mlflowTag{resultTag + key, tags[key]}
		if slices.Contains(v.Tags, want) {
			continue
		}
		body, err := json.Marshal(map[string]string{"name": model, "version": version, "key": want.Key, "value": want.Value})
		if err != nil {
			return err
		}
		err = m.within(ctx, "the tag "+want.Key+" of "+path.Join(model, version)+" of "+m.url, func(ctx context.Context) error {
			resp, err := m.send(ctx, http.MethodPost, "api/2.0/mlflow/model-versions/set-tag", nil, body)
			if err != nil {
				return err
			}
			return resp.Body.Close()
		})
		if err != nil {
			return err
		}
		v.Tags = append(slices.DeleteFunc(v.Tags, func(t mlflowTag) bool { return t.Key == want.Key }), want)
	}
	return nil
}

// mlflowError is an answer that is not one of success.
type mlflowError struct{ status int }

func (e *mlflowError) Error() string {
	switch e.status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Sprintf("MLflow refuses the credentials (%d): set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN", e.status)
	case http.StatusNotFound:
		return "MLflow does not know this path (404): correct repository.url"
	}
	return fmt.Sprintf("MLflow answered with HTTP status %d %s", e.status, http.StatusText(e.status))
}

func isMissing(err error) bool {
	var e *mlflowError
	return errors.As(err, &e) && e.status == http.StatusNotFound
}

func (m *registered) get(ctx context.Context, at string, q url.Values) (*http.Response, error) {
	return m.send(ctx, http.MethodGet, at, q, nil)
}

func (m *registered) send(ctx context.Context, method, at string, q url.Values, body []byte) (*http.Response, error) {
	u := m.base.JoinPath(at)
	q = maps.Clone(q)
	maps.DeleteFunc(q, func(_ string, v []string) bool { return v[0] == "" })
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token := os.Getenv("MLFLOW_TRACKING_TOKEN"); token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	} else if user := os.Getenv("MLFLOW_TRACKING_USERNAME"); user != "" {
		req.SetBasicAuth(user, os.Getenv("MLFLOW_TRACKING_PASSWORD"))
	}
	resp, err := m.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, &mlflowError{resp.StatusCode}
	}
	return resp, nil
}
