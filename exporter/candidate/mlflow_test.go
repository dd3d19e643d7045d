package candidate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plancast/plancast/alerts/alertstest"
	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/stack/local"
)

// mlflowServer is a real MLflow. The test is skipped where there is none, unless
// PLANCAST_REQUIRE_MLFLOW is 1: make mlflow-test installs one; PLANCAST_MLFLOW names a
// program.
type mlflowServer struct {
	t   *testing.T
	url string
}

func startMLflow(t *testing.T) *mlflowServer {
	t.Helper()
	program := os.Getenv("PLANCAST_MLFLOW")
	if program == "" {
		var err error
		if program, err = exec.LookPath("mlflow"); err != nil {
			const missing = "there is no MLflow: run make mlflow-test, or name its program in PLANCAST_MLFLOW"
			if os.Getenv("PLANCAST_REQUIRE_MLFLOW") == "1" {
				t.Fatal(missing)
			}
			t.Skip(missing)
		}
	}
	dir := t.TempDir()
	address := alertstest.Start(t, local.Program{Ready: "/health", Command: func(address string) []string {
		host, port, _ := strings.Cut(address, ":")
		return []string{program, "server", "--host", host, "--port", port, "--workers", "1", "--serve-artifacts",
			"--backend-store-uri", "sqlite:///" + filepath.Join(dir, "mlflow.db"), "--artifacts-destination", filepath.Join(dir, "artifacts")}
	}}).Address
	return &mlflowServer{t, "http://" + address}
}

// call sends a request to the API and returns its answer.
func (s *mlflowServer) call(method, path string, body any) map[string]any {
	s.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.send(method, "/api/2.0/mlflow/"+path, text)
}

func (s *mlflowServer) send(method, path string, body []byte) map[string]any {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("%s %s: %s %s %v", method, path, resp.Status, text, err)
	}
	out := map[string]any{}
	_ = json.Unmarshal(text, &out)
	return out
}

// register makes a version of a model and returns its number.
func (s *mlflowServer) register(model string, files map[string]string, tags ...mlflowTag) string {
	s.t.Helper()
	run := s.call(http.MethodPost, "runs/create", map[string]any{"experiment_id": "0"})["run"].(map[string]any)["info"].(map[string]any)
	source := run["artifact_uri"].(string) + "/model"
	for name, text := range files {
		s.send(http.MethodPut, "/api/2.0/mlflow-artifacts/artifacts"+strings.TrimPrefix(source, "mlflow-artifacts:")+"/"+name, []byte(text))
	}
	var said []map[string]string
	for _, tag := range tags {
		said = append(said, map[string]string{"key": tag.Key, "value": tag.Value})
	}
	out := s.call(http.MethodPost, "model-versions/create", map[string]any{"name": model, "source": source, "run_id": run["run_id"], "tags": said})
	return out["model_version"].(map[string]any)["version"].(string)
}

// One server for all: it takes its time to start.
func TestAnMLflowRegistry(t *testing.T) {
	s := startMLflow(t)
	t.Run("is a repository", s.isARepository)
	t.Run("holds the contract of a source", s.holdsTheContract)
	t.Run("takes results as tags", s.takesResultsAsTags)
	t.Run("has artifacts in a bucket", s.hasArtifactsInABucket)
}

// scan opens the registry with a query and scans it.
func (s *mlflowServer) scan(t *testing.T, query string) (*Repository, Scan) {
	t.Helper()
	r, err := Open(t.Context(), Options{
		URL: "mlflow://" + strings.TrimPrefix(s.url, "http://") + query, Memory: &memory{facts: map[string]string{}}, ParseChange: config.ParseChange,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	found, err := r.Scan(t.Context(), 5)
	if err != nil {
		t.Fatal(err)
	}
	return r, found
}

func (s *mlflowServer) takesResultsAsTags(t *testing.T) {
	s.call(http.MethodPost, "registered-models/create", map[string]any{"name": "tagged"})
	s.register("tagged", map[string]string{"model.onnx": "one"}, mlflowTag{"team", "vision"})
	r, before := s.scan(t, "/?models=tagged")
	for _, p99 := range []string{"17 ms", "16 ms"} {
		want := map[string]string{"p99": p99, "target.launch": "met"}
		if err := r.Tag(t.Context(), "tagged", "1", want); err != nil {
			t.Fatal(err)
		}
		version := s.call(http.MethodGet, "model-versions/get?name=tagged&version=1", nil)["model_version"].(map[string]any)
		got := map[string]string{}
		for _, tag := range version["tags"].([]any) {
			got[tag.(map[string]any)["key"].(string)] = tag.(map[string]any)["value"].(string)
		}
		if got["plancast.p99"] != p99 || got["plancast.target.launch"] != "met" || got["team"] != "vision" {
			t.Errorf("the version has the tags %v", got)
		}
	}
	// What plancast writes is no change of the candidate, and neither is the next scan.
	after, err := r.Scan(t.Context(), 5)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]Candidate{"before": before.Models["tagged"][0], "after": after.Models["tagged"][0]} {
		if c.Digest != sum("one") || c.Change == nil || len(c.Change.Tags) != 1 {
			t.Errorf("%s, the candidate is %.12s, and its change %+v", name, c.Digest, c.Change)
		}
	}
	if err := r.Tag(t.Context(), "tagged", "7", map[string]string{"p99": "1 ms"}); err != nil {
		t.Errorf("a version that is gone: %v", err)
	}
}

func (s *mlflowServer) hasArtifactsInABucket(t *testing.T) {
	store := &objectStore{objects: map[string]string{"net/7/model.onnx": "a model", "net/7/model.onnx.data": "weights", "net/8/model.onnx": "not this one"}}
	server := httptest.NewServer(store)
	defer server.Close()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL": server.URL,
	} {
		t.Setenv(name, value)
	}
	s.call(http.MethodPost, "registered-models/create", map[string]any{"name": "stored"})
	s.call(http.MethodPost, "model-versions/create", map[string]any{"name": "stored", "source": "s3://models/net/7"})
	r, found := s.scan(t, "/?models=stored")
	if len(found.Models["stored"]) != 1 {
		t.Fatalf("%+v", found)
	}
	// A tag is no reason to lose the bucket.
	s.call(http.MethodPost, "model-versions/set-tag", map[string]any{"name": "stored", "version": "1", "key": "team", "value": "vision"})
	found, err := r.Scan(t.Context(), 5)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := r.Stage(t.Context(), found.Models["stored"][0], dir); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, ModelFile)); err != nil || string(text) != "a model" {
		t.Errorf("staged %q, %v", text, err)
	}
}

func (s *mlflowServer) holdsTheContract(t *testing.T) {
	s.call(http.MethodPost, "registered-models/create", map[string]any{"name": "net"})
	at := strings.TrimPrefix(s.url, "http://")
	contract(t, place{
		url: "mlflow://" + at + "/?models=net", immutable: true,
		put: func(t *testing.T, version string, files map[string]string) {
			t.Helper()
			for {
				got := s.register("net", files)
				if got == version {
					return
				}
				s.call(http.MethodDelete, "model-versions/delete", map[string]any{"name": "net", "version": got})
			}
		},
		drop: func(t *testing.T, version string) {
			t.Helper()
			s.call(http.MethodDelete, "model-versions/delete", map[string]any{"name": "net", "version": version})
		},
	})
}

func (s *mlflowServer) isARepository(t *testing.T) {
	for _, name := range []string{"resnet50", "bert-base", "not a model's name"} {
		s.call(http.MethodPost, "registered-models/create", map[string]any{"name": name})
	}
	s.register("resnet50", map[string]string{"model.onnx": "one"})
	s.register("resnet50", map[string]string{"model.onnx": "two", "MLmodel": "flavors: {onnx: {}}"},
		mlflowTag{"author", "ann"}, mlflowTag{"kinds", "quantization"}, mlflowTag{"team", "vision"}, mlflowTag{"api_token", "hunter2"}, mlflowTag{"mlflow.user", "ci"})
	s.register("resnet50", map[string]string{"model.pt": "not ONNX", "MLmodel": "flavors: {pytorch: {}}", "x": ""})
	s.register("bert-base", map[string]string{"model.onnx": "bert"})
	s.call(http.MethodPost, "registered-models/alias", map[string]any{"name": "resnet50", "alias": "champion", "version": "1"})

	versions := func(s Scan) string {
		var out []string
		for _, model := range []string{"bert-base", "resnet50"} {
			for _, c := range s.Models[model] {
				out = append(out, c.Model+"/"+c.Version)
			}
		}
		return strings.Join(out, " ")
	}
	for query, want := range map[string]string{
		"/":                            "bert-base/1 resnet50/1 resnet50/2",
		"/?models=resnet*":             "resnet50/1 resnet50/2",
		"/?alias=champion":             "resnet50/1",
		"/?stage=Production":           "",
		"/?models=bert-base,resnet50x": "bert-base/1",
	} {
		if _, found := s.scan(t, query); versions(found) != want {
			t.Errorf("%s: %q, want %q", query, versions(found), want)
		}
	}

	r, found := s.scan(t, "/?models=resnet50")
	c := found.Models["resnet50"][1]
	if c.Change == nil || c.Change.Author != "ann" || len(c.Change.Kinds) != 1 || c.Change.Tags["team"] != "vision" || len(c.Change.Tags) != 1 {
		t.Errorf("what the tags say of the change: %+v", c.Change)
	}
	dir := t.TempDir()
	if err := r.Stage(t.Context(), c, dir); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, ModelFile)); err != nil || string(text) != "two" {
		t.Errorf("staged %q, %v", text, err)
	}
}

func TestAServerThatIsNoMLflowSaysSo(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"credentials":   {http.StatusUnauthorized, "", "MLFLOW_TRACKING_TOKEN"},
		"another path":  {http.StatusNotFound, "", "correct repository.url"},
		"a login page":  {http.StatusOK, "<html>", "is not from MLflow"},
		"out of order":  {http.StatusBadGateway, "", "502"},
		"a redirect":    {http.StatusFound, "", "302"},
		"endless pages": {http.StatusOK, `{"registered_models": [], "next_page_token": "again"}`, "does not end"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(c.status)
			fmt.Fprint(w, c.body)
		}))
		u, err := url.Parse(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		r, err := Open(t.Context(), Options{URL: "mlflow://" + u.Host, Memory: &memory{facts: map[string]string{}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Scan(t.Context(), 0); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", name, err, c.want)
		}
		server.Close()
	}
}

// A mistyped selection must not select everything.
func TestAnAddressWithAnUnknownParameterIsRefused(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	for _, address := range []string{"mlflow://localhost:1/?aliaz=candidate", "oci://localhost:1/team?model=net"} {
		r, err := Open(t.Context(), Options{URL: address, Memory: &memory{facts: map[string]string{}}})
		if err == nil {
			r.Close()
		}
		if !strings.Contains(fmt.Sprint(err), "unknown parameter") {
			t.Errorf("%s: %v", address, err)
		}
	}
}
