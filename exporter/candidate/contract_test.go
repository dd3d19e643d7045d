package candidate

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"
	orasmemory "oras.land/oras-go/v2/content/memory"
	"oras.land/oras-go/v2/registry/remote"
)

// place is where the contract's files are kept: a source sees the versions of one
// model there.
type place struct {
	url       string
	immutable bool // a version cannot be replaced
	// put replaces a version by these files, by their names in its folder.
	put func(t *testing.T, version string, files map[string]string)
	// drop removes a version.
	drop func(t *testing.T, version string)
}

var places = map[string]func(t *testing.T) place{
	"folder": func(t *testing.T) place {
		dir := t.TempDir()
		p := folderPlace(dir)
		p.url = dir
		return p
	},
	"bucket": func(t *testing.T) place {
		dir := t.TempDir()
		p := folderPlace(dir)
		p.url = "file://" + filepath.ToSlash(dir) + "?metadata=skip"
		return p
	},
	"OCI artifacts": func(t *testing.T) place {
		server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
		t.Cleanup(server.Close)
		host := strings.TrimPrefix(server.URL, "http://")
		t.Setenv("DOCKER_CONFIG", t.TempDir())
		return registryPlace(t, host, "team/net")
	},
}

func folderPlace(dir string) place {
	return place{
		put: func(t *testing.T, version string, files map[string]string) {
			t.Helper()
			os.RemoveAll(filepath.Join(dir, "net", version))
			for name, text := range files {
				file := filepath.Join(dir, "net", version, name)
				if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
					t.Fatal(err)
				}
			}
		},
		drop: func(t *testing.T, version string) {
			t.Helper()
			if err := os.RemoveAll(filepath.Join(dir, "net", version)); err != nil {
				t.Fatal(err)
			}
		},
	}
}

// registryPlace pushes to a registry as oras push does.
func registryPlace(t *testing.T, host, repository string) place {
	t.Helper()
	repo, err := remote.NewRepository(host + "/" + repository)
	if err != nil {
		t.Fatal(err)
	}
	repo.PlainHTTP = true
	return place{
		url: "oci://" + host + "/" + repository,
		put: func(t *testing.T, version string, files map[string]string) {
			t.Helper()
			store := orasmemory.New()
			var layers []ocispec.Descriptor
			for _, name := range slices.Sorted(maps.Keys(files)) {
				d := content.NewDescriptorFromBytes("application/octet-stream", []byte(files[name]))
				d.Annotations = map[string]string{ocispec.AnnotationTitle: name}
				if err := store.Push(t.Context(), d, strings.NewReader(files[name])); err != nil {
					t.Fatal(err)
				}
				layers = append(layers, d)
			}
			manifest, err := oras.PackManifest(t.Context(), store, oras.PackManifestVersion1_1, "application/vnd.plancast.model", oras.PackManifestOptions{Layers: layers})
			if err == nil {
				err = store.Tag(t.Context(), manifest, version)
			}
			if err == nil {
				_, err = oras.Copy(t.Context(), store, version, repo, version, oras.DefaultCopyOptions)
			}
			if err != nil {
				t.Fatal(err)
			}
		},
		drop: func(t *testing.T, version string) {
			t.Helper()
			req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, "http://"+host+"/v2/"+repository+"/manifests/"+version, nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil || resp.StatusCode/100 != 2 {
				t.Fatal(resp, err)
			}
			resp.Body.Close()
		},
	}
}

func listed(t *testing.T, s source) map[string]object {
	t.Helper()
	out := map[string]object{}
	if err := s.list(t.Context(), func(o object) {
		if o.problem == "" {
			if _, twice := out[o.key]; twice {
				t.Errorf("%s is listed twice", o.key)
			}
			out[o.key] = o
		}
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// What a source of candidates has to do, whatever it is.
func TestContractOfASource(t *testing.T) {
	for name, make := range places {
		t.Run(name, func(t *testing.T) { contract(t, make(t)) })
	}
}

func contract(t *testing.T, p place) {
	t.Helper()
	files := map[string]string{"model.onnx": "a model", "model.onnx.data": strings.Repeat("w", 70_000), "inputs.npz": "inputs"}
	p.put(t, "7", files)
	p.put(t, "8", map[string]string{"model.onnx": "another model"})
	r, err := Open(t.Context(), Options{URL: p.url})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s := r.source

	first := listed(t, s)
	var want []string
	for file := range files {
		want = append(want, "net/7/"+file)
	}
	want = append(want, "net/8/model.onnx")
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(first)); !slices.Equal(got, want) {
		t.Fatalf("it lists %q, want %q", got, want)
	}
	for file, text := range files {
		o := first["net/7/"+file]
		if o.Size != int64(len(text)) {
			t.Errorf("%s has %d bytes, want %d", file, o.Size, len(text))
		}
		if sum := sha256.Sum256([]byte(text)); o.digest != "" && o.digest != hex.EncodeToString(sum[:]) {
			t.Errorf("the digest of %s is %s", file, o.digest)
		}
		if got := read(t, s, o.key); got != text {
			t.Errorf("%s holds %.20q, want %.20q", file, got, text)
		}
	}
	for key, o := range listed(t, s) {
		if !o.stamp.equal(first[key].stamp) {
			t.Errorf("the stamp of %s changes while nothing does: %v, %v", key, o.stamp, first[key].stamp)
		}
	}

	if !p.immutable {
		p.put(t, "8", map[string]string{"model.onnx": "another model, with more to it"})
		second := listed(t, s)
		if second["net/8/model.onnx"].stamp.equal(first["net/8/model.onnx"].stamp) {
			t.Error("the stamp of a replaced file stays")
		}
		if got := read(t, s, "net/8/model.onnx"); got != "another model, with more to it" {
			t.Errorf("a replaced file holds %q", got)
		}
	}
	p.drop(t, "8")
	if third := listed(t, s); len(third) != len(files) {
		t.Errorf("after version 8 is gone it lists %q", slices.Sorted(maps.Keys(third)))
	}
	if in, err := s.open(t.Context(), "net/8/model.onnx"); !errors.Is(err, errChanged) {
		t.Errorf("a file that is gone: %v, %v", in, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.list(ctx, func(object) {}); err == nil {
		t.Error("a listing goes on after its context has ended")
	}
}

func read(t *testing.T, s source, key string) string {
	t.Helper()
	in, err := s.open(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	text, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// requests counts what a registry is asked for.
type requests struct {
	http.Handler
	mu   sync.Mutex // a client asks for several things at once
	seen []string
}

func (r *requests) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	r.seen = append(r.seen, req.Method+" "+path.Dir(req.URL.Path))
	r.mu.Unlock()
	r.Handler.ServeHTTP(w, req)
}

// forget drops what was counted.
func (r *requests) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = nil
}

// of are those that begin so.
func (r *requests) of(prefixes ...string) (out []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.seen {
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) }) {
			out = append(out, s)
		}
	}
	return out
}

func TestWhatARegistryKnowsIsNotDownloaded(t *testing.T) {
	asked := &requests{Handler: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	server := httptest.NewServer(asked)
	defer server.Close()
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	p := registryPlace(t, strings.TrimPrefix(server.URL, "http://"), "team/net")
	p.put(t, "7", map[string]string{"model.onnx": "a model", "inputs.npz": strings.Repeat("i", 5000)})
	p.put(t, "latest", map[string]string{"model.onnx": "a model that has no number"})
	opts := Options{URL: p.url, Memory: &memory{facts: map[string]string{}}, Now: func() time.Time { return time.Now().Add(time.Hour) }}
	r, err := Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	asked.forget()
	s, err := r.Scan(t.Context(), 0)
	if err != nil || len(s.Models["net"]) != 1 || s.Models["net"][0].Version != "7" {
		t.Fatal(s, err)
	}
	if got := asked.of("GET /v2/team/net/blobs"); len(got) != 1 {
		t.Errorf("%d files are downloaded to identify a candidate, want its model alone: %q", len(got), got)
	}
	asked.forget()
	if _, err := r.Scan(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if got := asked.of("GET /v2/team/net/blobs", "GET /v2/team/net/manifests"); len(got) != 0 {
		t.Errorf("a second look downloads: %q", got)
	}
	dir := t.TempDir()
	if err := r.Stage(t.Context(), s.Models["net"][0], dir); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "inputs.npz")); err != nil || !bytes.Equal(text, bytes.Repeat([]byte("i"), 5000)) {
		t.Errorf("staged: %d bytes, %v", len(text), err)
	}
}

func TestARegistryThatRefusesSaysWhy(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	for status, want := range map[int]string{
		http.StatusUnauthorized: "docker login", http.StatusNotFound: "no such repository", http.StatusInternalServerError: "500",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "{}", status) }))
		r, err := Open(t.Context(), Options{URL: "oci://" + strings.TrimPrefix(server.URL, "http://") + "/team/net", Memory: &memory{facts: map[string]string{}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Scan(t.Context(), 0); err == nil || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%d: %v; want %q", status, err, want)
		}
		server.Close()
	}
}

// A registry, or a proxy before it, that answers with other bytes than the digest names.
func TestARegistryThatAnswersSomethingElseIsNotBelieved(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	for name, wrong := range map[string]string{"a manifest": "GET /v2/team/net/manifests/", "a model": "GET /v2/team/net/blobs/"} {
		t.Run(name, func(t *testing.T) {
			real := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
			var lies atomic.Bool
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if !lies.Load() || !strings.HasPrefix(r.Method+" "+r.URL.Path, wrong) {
					real.ServeHTTP(w, r)
					return
				}
				answer := httptest.NewRecorder()
				real.ServeHTTP(answer, r)
				maps.Copy(w.Header(), answer.Header())
				w.WriteHeader(answer.Code)
				_, _ = w.Write(bytes.ReplaceAll(answer.Body.Bytes(), []byte("model"), []byte("other")))
			}))
			defer server.Close()
			p := registryPlace(t, strings.TrimPrefix(server.URL, "http://"), "team/net")
			p.put(t, "7", map[string]string{"model.onnx": "a model"})
			lies.Store(true)
			r, err := Open(t.Context(), Options{URL: p.url, Memory: &memory{facts: map[string]string{}}, Now: func() time.Time { return time.Now().Add(time.Hour) }})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			s, err := r.Scan(t.Context(), 0)
			said := fmt.Sprint(err, s)
			if len(s.Models["net"]) != 0 || !strings.Contains(said, "does not match the digest sha256:") {
				t.Errorf("a candidate of other bytes: %s", said)
			}
		})
	}
}
