package candidate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

// folder is a repository on a local disk.
type folder struct {
	dir  string
	root *os.Root // of dir: nothing outside can be opened through it
}

// folderPath reports whether the URL is a local folder, and which.
func folderPath(raw string) (string, bool) {
	if !strings.Contains(raw, "://") {
		return raw, true
	}
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "file" || u.RawQuery != "" {
		return "", false
	}
	return filepath.FromSlash(u.Path), true
}

func openFolder(dir string) (*folder, error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errors.New("there is no such folder: create it, or set repository.url")
	case err != nil:
		return nil, err
	case !info.IsDir():
		return nil, errors.New("it is a file: repository.url must name the folder that holds <model>/<version>/model.onnx")
	}
	// The repository itself may be a link; what leads out is judged by where it is.
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, err
	}
	if real, err = filepath.Abs(real); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(real)
	if err != nil {
		return nil, err
	}
	return &folder{dir: real, root: root}, nil
}

func (f *folder) close() error { return f.root.Close() }

// deepest is how many folders below a version's are listed for weights.
const deepest = 8

func (f *folder) list(ctx context.Context, visit func(object)) error {
	return f.walk(ctx, "", visit)
}

// walk lists the folder at key, "" for the root.
func (f *folder) walk(ctx context.Context, key string, visit func(object)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	entries, err := os.ReadDir(f.path(key))
	switch {
	case err != nil && key == "":
		return err
	case errors.Is(err, fs.ErrNotExist):
		return nil // deleted meanwhile
	case err != nil:
		visit(object{key: key, folder: true, problem: "cannot be listed: " + reason(err)})
		return nil
	}
	depth := 0
	if key != "" {
		depth = strings.Count(key, "/") + 1
	}
	for _, e := range entries {
		at := path.Join(key, e.Name())
		hidden := strings.HasPrefix(e.Name(), ".")
		switch {
		case e.Type()&fs.ModeSymlink != 0:
			if !hidden {
				f.follow(at, depth, visit)
			} else if depth >= 2 {
				f.link(at, visit)
			}
		case e.IsDir():
			// .git, .ipynb_checkpoints and the like hold no candidates.
			if !hidden && depth < 2+deepest {
				if err := f.walk(ctx, at, visit); err != nil {
					return err
				}
			}
		case !hidden || depth >= 2:
			if info, err := e.Info(); err == nil { // else deleted meanwhile
				visit(file(at, info))
			}
		}
	}
	return nil
}

// file is a file as an object of the listing.
func file(key string, info os.FileInfo) object {
	if !info.Mode().IsRegular() {
		return object{key: key, problem: "is " + kind(info.Mode()) + ", not a file"}
	}
	return object{key: key, stamp: stampOf(info)}
}

// link visits the file behind a link.
func (f *folder) link(key string, visit func(object)) {
	_, info, why := f.inside(key)
	switch {
	case why != "":
		visit(object{key: key, problem: why})
	case info.IsDir():
		visit(object{key: key, problem: "is a link to a folder; a file is expected here"})
	default:
		visit(file(key, info))
	}
}

// follow visits what a link stands for: a file or, in the place of a version,
// the files of the folder that it leads to, under the link's own name. A link
// may not lead out of the repository: whoever may write a candidate could have
// any file of this machine read.
func (f *folder) follow(key string, depth int, visit func(object)) {
	_, info, why := f.inside(key)
	version := depth == 1 && number(path.Base(key)) > 0
	switch {
	case depth == 0:
		// A model would be measured under two names.
		if info, err := os.Stat(f.path(key)); err == nil && info.IsDir() {
			visit(object{key: key, folder: true, problem: fmt.Sprintf("%q is a link, and links are not followed: copy the folder, or mount it there", key)})
		}
	case why != "":
		visit(object{key: key, folder: version, problem: why})
	case !info.IsDir():
		visit(file(key, info))
	case version:
		entries, err := os.ReadDir(f.path(key))
		if err != nil {
			visit(object{key: key, folder: true, problem: "is a link to a folder that cannot be listed: " + reason(err)})
			return
		}
		for _, e := range entries {
			if !e.IsDir() {
				f.link(path.Join(key, e.Name()), visit)
			}
		}
	}
	// Other links to folders are aliases such as latest -> 7.
}

// inside describes the file or folder that a key leads to, if that lies in the
// repository: then rel is its path without links; otherwise it says why not.
func (f *folder) inside(key string) (rel string, info os.FileInfo, why string) {
	const nothing = "is a broken link: fix it, or copy the file"
	real, err := filepath.EvalSymlinks(f.path(key))
	if errors.Is(err, fs.ErrPermission) {
		return "", nil, "cannot be read: " + reason(err)
	}
	if err != nil {
		return "", nil, nothing
	}
	if rel, err = filepath.Rel(f.dir, real); err != nil || !filepath.IsLocal(rel) {
		return "", nil, "is a link out of the repository, and plancast does not follow such links: copy the file, or mount its folder inside"
	}
	if info, err = os.Stat(real); err != nil {
		return "", nil, nothing
	}
	return rel, info, ""
}

// open opens a regular file; O_NONBLOCK keeps it from waiting for the writer of
// a pipe that took the file's place.
func (f *folder) open(_ context.Context, key string) (io.ReadCloser, error) {
	if _, err := os.Lstat(f.path(key)); errors.Is(err, fs.ErrNotExist) {
		return nil, errChanged
	}
	rel, _, why := f.inside(key)
	if why != "" {
		return nil, &unusable{key: key, why: why}
	}
	in, err := f.root.OpenFile(rel, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errChanged
	case err != nil:
		return nil, &unusable{key: key, why: "cannot be read: " + reason(err)}
	}
	info, err := in.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &unusable{key: key, why: "is " + kind(info.Mode()) + ", not a file"}
	}
	if err != nil {
		in.Close()
		return nil, err
	}
	return in, nil
}

func (f *folder) path(key string) string { return filepath.Join(f.dir, filepath.FromSlash(key)) }

func stampOf(info os.FileInfo) stamp {
	s := stamp{Size: info.Size(), Modified: info.ModTime().UTC()}
	if x, ok := info.Sys().(*syscall.Stat_t); ok {
		s.Tag = fmt.Sprintf("%d/%d", x.Ino, x.Ctim.Nano())
	}
	return s
}

// kind names what is no regular file.
func kind(m fs.FileMode) string {
	switch {
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe (FIFO)"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	case m.IsDir():
		return "a folder"
	}
	return "something special"
}

// reason is why a system call failed, with what helps against it.
func reason(err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return "permission denied: give the user that runs plancast read permission"
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return err.Error()
}
