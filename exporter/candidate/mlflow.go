package candidate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/plancast/plancast/exporter/change"
)

// registered are the models of an MLflow registry: a version of a model there is
// a version here, its artifacts are its files, and its tags say what changed.
type registered struct {
	service
	http   *http.Client
	base   *url.URL // of the server
	models []string // patterns of names; empty selects all
	alias  string   // only the versions that have it; "" is all
	stage  string

	versions map[string]*registeredVersion // of the last listing, by model and version
}

// registeredVersion is a version with its files. It is immutable in MLflow, but
// for its tags.
type registeredVersion struct {
	Name      string      `json:"name"`
	Version   string      `json:"version"`
	Created   int64       `json:"creation_timestamp"` // milliseconds
	Updated   int64       `json:"last_updated_timestamp"`
	Stage     string      `json:"current_stage"`
	Source    string      `json:"source"`
	Status    string      `json:"status"`
	Tags      []mlflowTag `json:"tags"`
	artifacts string      // where the files are
	files     []object
	bucket    *bucket // that holds them; nil for the server's proxy
	change    []byte  // change.yml, made of the tags
}

type mlflowTag struct{ Key, Value string }

const (
	// maxAnswer bounds an answer of the server, and mostVersions what is taken of a model.
	maxAnswer    = 16 << 20
	mostVersions = 2000
	perPage      = 200
	mostPages    = 1000 // of one list: a server that never comes to its end is not followed forever
)

// openRegistered opens mlflow://host:port/?models=resnet*,bert&alias=candidate.
// Credentials are MLflow's own variables.
func openRegistered(opts Options) (*registered, error) {
	u, err := url.Parse(opts.URL)
	if err != nil {
		return nil, err
	}
	q := u.Query()
	if err := onlyKnown(q, "alias", "models", "plain_http", "stage"); err != nil {
		return nil, err
	}
	m := &registered{
		service: newService(opts), alias: q.Get("alias"), stage: q.Get("stage"), versions: map[string]*registeredVersion{},
		http: &http.Client{Transport: http.DefaultTransport.(*http.Transport).Clone(), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		base: &url.URL{Scheme: "https", Host: u.Host, Path: u.Path},
	}
	if onThisMachine(u.Host) || q.Get("plain_http") == "true" {
		m.base.Scheme = "http"
	}
	if list := q.Get("models"); list != "" {
		m.models = strings.Split(list, ",")
	}
	for _, p := range m.models {
		if _, err := path.Match(p, ""); err != nil || p == "" {
			return nil, fmt.Errorf("models: %q is not a pattern: write a model's name, or one such as resnet*", p)
		}
	}
	if m.alias != "" && m.stage != "" {
		return nil, errors.New("select by alias or by stage, not by both")
	}
	return m, nil
}

func (m *registered) close() error {
	var errs []error
	for _, v := range m.versions {
		if v.bucket != nil {
			errs = append(errs, v.bucket.close())
		}
	}
	return errors.Join(errs...)
}

func (m *registered) list(ctx context.Context, visit func(object)) error {
	models, err := m.selected(ctx)
	if err != nil {
		return err
	}
	seen, failed := map[string]*registeredVersion{}, partError{}
	for _, x := range models {
		found, err := m.listed(ctx, x)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			failed[x.Name] = err
		}
		for at, v := range found {
			seen[at] = v
			for _, o := range v.files {
				if err == nil {
					visit(o)
				}
			}
		}
	}
	closeOthers(m.versions, seen)
	m.versions = seen
	return failed.of(len(models))
}

// listed are a model's versions with their files; those of the listing before where it
// cannot be listed.
func (m *registered) listed(ctx context.Context, x registeredModel) (map[string]*registeredVersion, error) {
	out := map[string]*registeredVersion{}
	versions, err := m.of(ctx, x)
	for _, v := range versions {
		at := path.Join(v.Name, v.Version)
		var one *registeredVersion
		if one, err = m.files(ctx, at, v); err != nil {
			break
		}
		out[at] = one
	}
	if err == nil {
		return out, nil
	}
	before := map[string]*registeredVersion{}
	for at, v := range m.versions {
		if v.Name == x.Name {
			before[at] = v
		}
	}
	closeOthers(out, before)
	return before, err
}

// closeOthers closes the buckets of versions that kept does not hold.
func closeOthers(versions, kept map[string]*registeredVersion) {
	for at, v := range versions {
		if k := kept[at]; v.bucket != nil && (k == nil || k.bucket != v.bucket) {
			_ = v.bucket.close()
		}
	}
}

// registeredModel is a model of the registry with its aliases.
type registeredModel struct {
	Name    string
	Aliases []struct{ Alias, Version string }
}

// selected are the registered models that are selected and can be models here.
func (m *registered) selected(ctx context.Context) ([]registeredModel, error) {
	var out []registeredModel
	err := pages("the registered models", func(token string) (string, error) {
		var page struct {
			Models []registeredModel `json:"registered_models"`
			Next   string            `json:"next_page_token"`
		}
		if err := m.ask(ctx, "the registered models", "api/2.0/mlflow/registered-models/search", url.Values{"max_results": {strconv.Itoa(perPage)}, "page_token": {token}}, &page); err != nil {
			return "", err
		}
		for _, x := range page.Models {
			if ValidModel(x.Name) && (len(m.models) == 0 || slices.ContainsFunc(m.models, func(p string) bool { ok, _ := path.Match(p, x.Name); return ok })) {
				out = append(out, x)
			}
		}
		return page.Next, nil
	})
	return out, err
}

// pages asks for page after page, each with the token that the one before gave for it.
func pages(what string, ask func(token string) (next string, err error)) error {
	token := ""
	for range mostPages {
		next, err := ask(token)
		if err != nil || next == "" {
			return err
		}
		if next == token {
			break
		}
		token = next
	}
	return fmt.Errorf("MLflow's list of %s does not end: it gives the same page again, or more than %d", what, mostPages)
}

// of are the versions of a model that are selected.
func (m *registered) of(ctx context.Context, x registeredModel) ([]*registeredVersion, error) {
	only := ""
	if m.alias != "" {
		i := slices.IndexFunc(x.Aliases, func(a struct{ Alias, Version string }) bool { return a.Alias == m.alias })
		if i < 0 {
			return nil, nil
		}
		only = x.Aliases[i].Version
	}
	var out []*registeredVersion
	what := "the versions of " + x.Name
	err := pages(what, func(token string) (string, error) {
		var page struct {
			Versions []*registeredVersion `json:"model_versions"`
			Next     string               `json:"next_page_token"`
		}
		filter := "name='" + x.Name + "'" // ValidModel: it holds no quote
		if err := m.ask(ctx, what, "api/2.0/mlflow/model-versions/search", url.Values{"filter": {filter}, "max_results": {strconv.Itoa(perPage)}, "page_token": {token}}, &page); err != nil {
			return "", err
		}
		for _, v := range page.Versions {
			if v.Name == x.Name && number(v.Version) > 0 && (only == "" || v.Version == only) && (m.stage == "" || v.Stage == m.stage) && (v.Status == "" || v.Status == "READY") {
				out = append(out, v)
			}
		}
		if len(out) >= mostVersions {
			return "", nil
		}
		return page.Next, nil
	})
	return out, err
}

// files finds the artifacts of a version, which are listed once.
func (m *registered) files(ctx context.Context, at string, v *registeredVersion) (*registeredVersion, error) {
	if known := m.versions[at]; known != nil && known.Created == v.Created && known.Source == v.Source {
		if known.Updated == v.Updated {
			return known, nil
		}
		fresh := *known
		fresh.Tags, fresh.Updated = v.Tags, v.Updated
		fresh.files = slices.DeleteFunc(slices.Clone(known.files), func(o object) bool { return known.change != nil && o.key == at+"/"+ChangeFile })
		fresh.change = nil
		return fresh.describe(at), nil
	}
	var where struct {
		URI string `json:"artifact_uri"`
	}
	if err := m.ask(ctx, at, "api/2.0/mlflow/model-versions/get-download-uri", url.Values{"name": {v.Name}, "version": {v.Version}}, &where); err != nil {
		return nil, err
	}
	u, err := url.Parse(where.URI)
	if err != nil {
		return nil, fmt.Errorf("%s: the location of its artifacts is not a URL", at)
	}
	visit := func(name string, size int64, tag string) {
		v.files = append(v.files, object{key: at + "/" + name, stamp: stamp{Size: size, Modified: time.UnixMilli(v.Created).UTC(), Tag: where.URI + " " + tag}})
	}
	switch u.Scheme {
	case "mlflow-artifacts":
		v.artifacts = strings.Trim(u.Path, "/")
		err = m.walk(ctx, v.artifacts, "", deepest, visit)
	case "s3", "gs", "azblob":
		if v.bucket, err = openBucket(ctx, Options{URL: where.URI, Patience: m.patience, Waiting: m.waiting}); err == nil {
			err = v.bucket.list(ctx, func(o object) { visit(o.key, o.Size, o.Tag) })
		}
	default:
		v.files = append(v.files, object{key: at + "/" + ModelFile, problem: fmt.Sprintf("lies where only MLflow's server can read it (%s://): start it with --serve-artifacts, or keep artifacts in a bucket", u.Scheme)})
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	return v.describe(at), nil
}

// describe adds a change.yml that is made of the tags, unless the version brings one.
func (v *registeredVersion) describe(at string) *registeredVersion {
	key := at + "/" + ChangeFile
	if slices.ContainsFunc(v.files, func(o object) bool { return o.key == key }) {
		return v
	}
	said := map[string]any{}
	tags := map[string]string{}
	for _, t := range v.Tags {
		one, err := change.FromTags(map[string]string{t.Key: t.Value})
		switch {
		case err != nil || strings.HasPrefix(t.Key, "mlflow.") || strings.HasPrefix(t.Key, resultTag): // nothing that a change says
		case t.Key == "kinds":
			said[t.Key] = one.Kinds
		case slices.Contains(change.Keys, t.Key):
			said[t.Key] = t.Value
		default:
			tags[t.Key] = t.Value
		}
	}
	if len(tags) > 0 {
		said["tags"] = tags
	}
	if len(said) == 0 {
		return v
	}
	text, err := yaml.Marshal(said)
	if err != nil {
		return v
	}
	v.change = text
	v.files = append(v.files, object{key: key, stamp: stamp{Size: int64(len(text)), Modified: time.UnixMilli(v.Updated).UTC(), Tag: string(text)}})
	return v
}

// walk lists a folder of the server's own artifacts.
func (m *registered) walk(ctx context.Context, root, below string, depth int, visit func(name string, size int64, tag string)) error {
	var page struct {
		Files []struct {
			Path string
			Dir  bool  `json:"is_dir"`
			Size int64 `json:"file_size"`
		}
	}
	if err := m.ask(ctx, "the artifacts of "+root, "api/2.0/mlflow-artifacts/artifacts", url.Values{"path": {path.Join(root, below)}}, &page); err != nil {
		return err
	}
	for _, f := range page.Files {
		name := path.Join(below, path.Base(f.Path))
		switch {
		case !f.Dir:
			visit(name, f.Size, "")
		case depth > 0:
			if err := m.walk(ctx, root, name, depth-1, visit); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *registered) open(ctx context.Context, key string) (io.ReadCloser, error) {
	parts := strings.SplitN(key, "/", 3)
	if len(parts) < 3 {
		return nil, errChanged
	}
	v, name := m.versions[path.Join(parts[0], parts[1])], parts[2]
	switch {
	case v == nil:
		return nil, errChanged
	case name == ChangeFile && v.change != nil:
		return io.NopCloser(bytes.NewReader(v.change)), nil
	case v.bucket != nil:
		return v.bucket.open(ctx, name)
	}
	in, err := m.service.open(ctx, key, func(ctx context.Context) (io.ReadCloser, error) {
		resp, err := m.get(ctx, path.Join("api/2.0/mlflow-artifacts/artifacts", v.artifacts, name), nil)
		if err != nil {
			return nil, err
		}
		return resp.Body, nil
	})
	switch {
	case isMissing(err):
		return nil, errChanged
	case err != nil:
		return nil, readError(key, err)
	}
	return in, nil
}
