package candidate

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// objectStore speaks as much of S3 as plancast needs.
type objectStore struct {
	mu      sync.Mutex
	objects map[string]string
	etag    map[string]string
	listing http.HandlerFunc // instead of a listing
	object  http.HandlerFunc // instead of an object
}

func (o *objectStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, "/models"), "/")
	switch {
	case key == "" && o.listing != nil:
		o.listing(w, r)
	case key == "":
		prefix := r.URL.Query().Get("prefix")
		fmt.Fprintf(w, `<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>models</Name><Prefix>%s</Prefix><IsTruncated>false</IsTruncated>`, prefix)
		for _, key := range slices.Sorted(maps.Keys(o.objects)) {
			if strings.HasPrefix(key, prefix) {
				fmt.Fprintf(w, `<Contents><Key>%s</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>"%s-2"</ETag><Size>%d</Size></Contents>`, key, o.etag[key], len(o.objects[key]))
			}
		}
		fmt.Fprint(w, `</ListBucketResult>`)
	case o.object != nil:
		o.object(w, r)
	default:
		content, ok := o.objects[key]
		if !ok {
			http.Error(w, `<Error><Code>NoSuchKey</Code></Error>`, http.StatusNotFound)
			return
		}
		w.Header().Set("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
		fmt.Fprint(w, content)
	}
}

// openStore opens a folder of the bucket.
func openStore(t *testing.T, o *objectStore, folder string, change func(*Options)) *Repository {
	t.Helper()
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	server := httptest.NewServer(o)
	t.Cleanup(server.Close)
	opts := Options{
		URL:     "s3://models" + folder + "?region=us-east-1&use_path_style=true&endpoint=" + server.URL,
		Memory:  &memory{map[string]string{}},
		Inspect: inspectText,
	}
	if change != nil {
		change(&opts)
	}
	r, err := Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func TestAPathInABucketIsAFolder(t *testing.T) {
	o := &objectStore{objects: map[string]string{
		"net/1/model.onnx": "other", "prod/team/net/1/model.onnx": "needs w.bin", "prod/team/net/1/w.bin": "weights",
		"prod/team/": "", "prod/team/net/": "", "prod/team/net/2/": "", "prod/team-b/net/7/model.onnx": "another",
	}}
	for folder, want := range map[string]string{"/prod/team": "net/1", "/prod/team/": "net/1", "": "net/1", "/prod/team-b": "net/7"} {
		r := openStore(t, o, folder, nil)
		s, err := r.Scan(t.Context(), 0)
		if err != nil || !slices.Equal(identified(s), []string{want}) {
			t.Errorf("%q: %v, %v, refused %v", folder, identified(s), err, s.Refused)
			continue
		}
		dir := t.TempDir()
		if err := r.Stage(t.Context(), s.Models["net"][0], dir); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(filepath.Join(dir, "w.bin")); (err == nil) != strings.HasSuffix(strings.TrimSuffix(folder, "/"), "team") {
			t.Errorf("%q: weights: %v", folder, err)
		}
	}
}

func TestAnObjectIsWhatItsEntityTagSays(t *testing.T) {
	o := &objectStore{objects: map[string]string{"net/1/model.onnx": "first"}, etag: map[string]string{}}
	r := openStore(t, o, "", nil)
	scan := func() (string, int) {
		t.Helper()
		s, err := r.Scan(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		return s.Models["net"][0].Digest, s.Read
	}
	scan()
	if _, read := scan(); read != 0 {
		t.Error("an unchanged object is read again")
	}
	o.objects["net/1/model.onnx"], o.etag["net/1/model.onnx"] = "other", "new" // same size, same time
	if digest, _ := scan(); digest != sum("other") {
		t.Error("the new object is not noticed")
	}
}

func TestAnAnswerThatIsNoListingIsAnError(t *testing.T) {
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"a login page": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<html><body>Sign in to the network</body></html>")
		}, "the answer is not a listing"},
		"nothing": {func(http.ResponseWriter, *http.Request) {}, "the answer is not a listing"},
		"a refusal": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")
		}, "AccessDenied"},
	} {
		t.Run(name, func(t *testing.T) {
			r := openStore(t, &objectStore{listing: c.answer}, "", nil)
			if s, err := r.Scan(t.Context(), 0); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "list model repository s3://models") {
				t.Errorf("%+v, %v; want an error with %q", s, err, c.want)
			}
		})
	}
}

func TestAServiceThatDoesNotAnswerIsGivenUp(t *testing.T) {
	hang := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	half := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "6")
		fmt.Fprint(w, "con")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}
	for name, o := range map[string]*objectStore{
		"listing": {listing: hang}, "object": {object: hang}, "half an object": {object: half},
	} {
		t.Run(name, func(t *testing.T) {
			o.objects = map[string]string{"net/1/model.onnx": "content"}
			var mu sync.Mutex
			var waits []string
			r := openStore(t, o, "", func(opts *Options) {
				opts.Patience = 100 * time.Millisecond
				opts.Waiting = func(what string) { mu.Lock(); defer mu.Unlock(); waits = append(waits, what) }
			})
			if s, err := r.Scan(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "no answer from the service within") {
				t.Errorf("%+v, %v", s, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if len(waits) < 2 || !strings.HasPrefix(waits[0], "waiting for ") || !strings.Contains(waits[0], "s3://models") || waits[len(waits)-1] != "" {
				t.Errorf("shown: %q", waits)
			}
		})
	}
}

func TestAnObjectThatCannotBeReadIsItsOwnTrouble(t *testing.T) {
	o := &objectStore{objects: map[string]string{"bad/1/model.onnx": "x", "good/1/model.onnx": "y"}}
	o.object = func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "bad") {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, "<Error><Code>AccessDenied</Code></Error>")
			return
		}
		w.Header().Set("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
		fmt.Fprint(w, "y")
	}
	s, err := openStore(t, o, "", nil).Scan(t.Context(), 0)
	if err != nil || !slices.Equal(identified(s), []string{"good/1"}) || len(s.Refused) != 1 || !strings.Contains(s.Refused[0].Reason, "bad/1/model.onnx cannot be read") {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestKeysWithPathTricksAreRefused(t *testing.T) {
	r, err := Open(t.Context(), Options{URL: "mem://", Memory: &memory{map[string]string{}}, Now: func() time.Time { return time.Now().Add(time.Hour) }})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, key := range []string{"../1/model.onnx", "m/../model.onnx", "m/1/../../../etc/passwd", "m/1/..", "m/1/model.onnx", "m/2/a\\b", "m/2/model.onnx", "m/3/model.onnx"} {
		if err := r.source.(*bucket).WriteAll(t.Context(), key, []byte("x"), nil); err != nil {
			t.Fatal(err)
		}
	}
	s, err := r.Scan(t.Context(), 9)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range s.Models["m"] {
		for name := range c.Files {
			if name != ModelFile {
				t.Errorf("version %s would stage %q", c.Version, name)
			}
		}
	}
	if got := slices.Sorted(maps.Keys(s.Models)); !slices.Equal(got, []string{"m"}) {
		t.Errorf("models %v", got)
	}
	dir := t.TempDir()
	if err := r.Stage(t.Context(), s.Models["m"][0], dir); err != nil {
		t.Error(err)
	}
}

func TestABucketIsARepositoryToo(t *testing.T) {
	m := &memory{map[string]string{}}
	r, err := Open(t.Context(), Options{URL: "mem://", Memory: m, Quiet: time.Second, Now: func() time.Time { return time.Now().Add(time.Minute) }})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for key, content := range map[string]string{"a/1/model.onnx": "one", "a/2/model.onnx": "two", "a/inputs.npz": "in"} {
		if err := r.source.(*bucket).WriteAll(t.Context(), key, []byte(content), nil); err != nil {
			t.Fatal(err)
		}
	}
	s, err := r.Scan(t.Context(), 0)
	if err != nil || !slices.Equal(identified(s), []string{"a/2"}) {
		t.Fatalf("scan %+v, %v", s, err)
	}
	dir := t.TempDir()
	if err := r.Stage(t.Context(), s.Models["a"][1], dir); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "inputs.npz")); err != nil || !bytes.Equal(got, []byte("in")) {
		t.Errorf("staged %q, %v", got, err)
	}
}
