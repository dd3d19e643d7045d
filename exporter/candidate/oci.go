package candidate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
)

// artifacts is a repository of OCI artifacts, as oras push makes them: a model is
// an image repository, a version is a tag that is a number, and each layer is a
// file that its title names.
type artifacts struct {
	service
	client remote.Client
	models map[string]*remote.Repository // by the model's name

	known map[string]map[string]manifest // of the last listing, by model and version
}

// manifest is what a tag leads to: the layers that are files.
type manifest struct {
	digest digest.Digest
	files  []ocispec.Descriptor
}

const (
	maxManifest = 4 << 20 // bytes
	tagsAtOnce  = 8
)

// openArtifacts opens oci://registry/path/model, or several models below a path:
// oci://registry/path?models=a,b. Credentials are those of docker login.
func openArtifacts(opts Options) (*artifacts, error) {
	u, err := url.Parse(opts.URL)
	if err != nil {
		return nil, err
	}
	if err := onlyKnown(u.Query(), "models", "plain_http"); err != nil {
		return nil, err
	}
	at := strings.Trim(u.Path, "/")
	var names []string
	if list := u.Query().Get("models"); list != "" {
		names = strings.Split(list, ",")
	} else {
		at, names = path.Dir(at), []string{path.Base(at)}
	}
	store, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
	if err != nil {
		return nil, fmt.Errorf("read the credentials of docker login: %w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	a := &artifacts{
		service: newService(opts), models: map[string]*remote.Repository{},
		client: &auth.Client{Client: &http.Client{Transport: transport}, Cache: auth.NewCache(), Credential: credentials.Credential(store)},
	}
	for _, name := range names {
		repo, err := remote.NewRepository(path.Join(u.Host, at, name))
		if err != nil {
			return nil, fmt.Errorf("%q does not name a repository of a registry: write oci://registry/path/model: %w", opts.URL, err)
		}
		repo.Client, repo.PlainHTTP = a.client, onThisMachine(u.Host) || u.Query().Get("plain_http") == "true"
		a.models[path.Base(name)] = repo
	}
	return a, nil
}

// onThisMachine reports whether a registry runs on this machine, where docker speaks plain
// HTTP as well.
func onThisMachine(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (a *artifacts) close() error { return nil }

func (a *artifacts) list(ctx context.Context, visit func(object)) error {
	known, failed := map[string]map[string]manifest{}, partError{}
	for name, repo := range a.models {
		found, err := a.versions(ctx, repo, name)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			failed[name], known[name] = explainRegistry(err), a.known[name]
			continue
		}
		known[name] = found
		for version, m := range found {
			for _, l := range m.files {
				visit(artifact(path.Join(name, version), l))
			}
		}
	}
	a.known = known
	return failed.of(len(a.models))
}

// versions are the manifests of a model's versions.
func (a *artifacts) versions(ctx context.Context, repo *remote.Repository, name string) (map[string]manifest, error) {
	var tags []string
	err := a.within(ctx, "the tags of "+name+" of "+a.url, func(ctx context.Context) error {
		return repo.Tags(ctx, "", func(page []string) error {
			tags = append(tags, page...)
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	seen := map[digest.Digest]manifest{}
	for _, m := range a.known[name] {
		seen[m.digest] = m
	}
	var mu sync.Mutex
	out := map[string]manifest{}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(tagsAtOnce)
	for _, tag := range tags {
		if number(tag) < 1 {
			continue
		}
		g.Go(func() error {
			m, err := a.manifest(gctx, repo, name, tag, seen)
			mu.Lock()
			defer mu.Unlock()
			out[tag] = m
			return err
		})
	}
	return out, g.Wait()
}

// manifest reads that of a tag, unless it was seen before. A tag that is gone, or that is
// another program's, has no files.
func (a *artifacts) manifest(ctx context.Context, repo *remote.Repository, name, tag string, seen map[digest.Digest]manifest) (out manifest, err error) {
	err = a.within(ctx, "version "+tag+" of "+name+" of "+a.url, func(ctx context.Context) error {
		d, err := repo.Resolve(ctx, tag)
		if errors.Is(err, errdef.ErrNotFound) {
			return nil // deleted since it was listed
		}
		if err != nil {
			return err
		}
		var known bool
		if out, known = seen[d.Digest]; known {
			return nil
		}
		out.digest = d.Digest
		if d.Size > maxManifest {
			return nil // another program's
		}
		in, err := repo.Fetch(ctx, d)
		if errors.Is(err, errdef.ErrNotFound) {
			return nil // deleted since it was resolved
		}
		if err != nil {
			return err
		}
		defer in.Close()
		text, err := io.ReadAll(verifying(io.NopCloser(io.LimitReader(in, maxManifest)), d.Digest))
		if err != nil {
			return err
		}
		var m ocispec.Manifest
		if json.Unmarshal(text, &m) != nil {
			return nil // another program's
		}
		for _, l := range m.Layers {
			if l.Annotations[ocispec.AnnotationTitle] == "" || l.Digest.Validate() != nil {
				continue
			}
			if l.Annotations[ocispec.AnnotationCreated] == "" {
				l.Annotations[ocispec.AnnotationCreated] = m.Annotations[ocispec.AnnotationCreated]
			}
			out.files = append(out.files, l)
		}
		return nil
	})
	return out, err
}

// unpackAnnotation marks a layer that is a packed folder.
const unpackAnnotation = "io.deis.oras.content.unpack"

// artifact is a layer as a file of a version's folder.
func artifact(folder string, l ocispec.Descriptor) object {
	created, err := time.Parse(time.RFC3339, l.Annotations[ocispec.AnnotationCreated])
	if err != nil {
		created = time.Unix(0, 0)
	}
	o := object{key: folder + "/" + l.Annotations[ocispec.AnnotationTitle], stamp: stamp{Size: l.Size, Modified: created.UTC(), Tag: l.Digest.String()}}
	if l.Digest.Algorithm() == digest.SHA256 {
		o.digest = l.Digest.Encoded()
	}
	if l.Annotations[unpackAnnotation] == "true" {
		o.problem = "is a packed folder: push its files one by one, under their names in the folder"
	}
	return o
}

// layer finds the layer of a listed file.
func (a *artifacts) layer(key string) (l ocispec.Descriptor, ok bool) {
	parts := strings.SplitN(key, "/", 3)
	if len(parts) < 3 {
		return l, false
	}
	files := a.known[parts[0]][parts[1]].files
	i := slices.IndexFunc(files, func(l ocispec.Descriptor) bool { return l.Annotations[ocispec.AnnotationTitle] == parts[2] })
	if i < 0 {
		return l, false
	}
	return files[i], true
}

func (a *artifacts) open(ctx context.Context, key string) (io.ReadCloser, error) {
	l, ok := a.layer(key)
	name, _, _ := strings.Cut(key, "/")
	repo := a.models[name]
	if !ok || repo == nil {
		return nil, errChanged
	}
	in, err := a.service.open(ctx, key, func(ctx context.Context) (io.ReadCloser, error) {
		in, err := repo.Blobs().Fetch(ctx, l)
		if err != nil {
			return nil, err
		}
		return verifying(in, l.Digest), nil
	})
	switch {
	case errors.Is(err, errdef.ErrNotFound):
		return nil, errChanged
	case err != nil:
		return nil, readError(key, err)
	}
	return in, nil
}

// verified is a content that has to be what a digest names: a registry, or a proxy before
// it, may answer with something else.
type verified struct {
	io.ReadCloser
	want digest.Digest
	sum  digest.Verifier
}

func verifying(in io.ReadCloser, want digest.Digest) *verified {
	return &verified{in, want, want.Verifier()}
}

// Read ends with an error in place of io.EOF where the content is another.
func (v *verified) Read(p []byte) (int, error) {
	n, err := v.ReadCloser.Read(p)
	_, _ = v.sum.Write(p[:n]) // a hash takes everything
	if errors.Is(err, io.EOF) && !v.sum.Verified() {
		return n, fmt.Errorf("the registry's answer does not match the digest %s", v.want)
	}
	return n, err
}

// explainRegistry says what to do about an error of a registry.
func explainRegistry(err error) error {
	text := oneLine(err)
	switch {
	case errors.Is(err, errNoAnswer), errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, errdef.ErrNotFound), strings.Contains(text, "name unknown"), strings.Contains(text, "response status code 404"):
		return errors.New("the registry has no such repository: correct repository.url, or push a version")
	case strings.Contains(text, "response status code 401"), strings.Contains(text, "response status code 403"), strings.Contains(text, "credential"):
		return errors.New("the registry refuses the credentials: log in with docker login or oras login as the user that plancast runs as")
	}
	return errors.New(text)
}
