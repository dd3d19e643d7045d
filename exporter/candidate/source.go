package candidate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

// source is where the files of a repository lie. Keys are slash-separated
// paths below its root.
type source interface {
	// list calls visit for each file. It does not follow what leads out of the
	// repository and opens nothing. Where models are listed one by one, those that
	// fail are a partError, and the others are visited all the same.
	list(ctx context.Context, visit func(object)) error
	// open opens a listed file. It returns errChanged when the file is gone, and
	// never waits for a writer.
	open(ctx context.Context, key string) (io.ReadCloser, error)
	close() error
}

// object is a file of a listing.
type object struct {
	key string
	stamp
	digest  string // SHA-256 of its content, hex; "" where the source does not know it
	problem string // why it cannot be read; "" when it can
	folder  bool   // it is a folder that cannot be listed, or a link in the place of one
}

// stamp identifies a state of a file without reading it: whenever the content
// changes, some part of the stamp does.
type stamp struct {
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
	// Tag distinguishes files of the same size and time: inode and time of the last
	// change in a folder, entity tag or generation in a bucket.
	Tag string `json:"tag,omitempty"`
}

func (s stamp) equal(o stamp) bool {
	return s.Size == o.Size && s.Tag == o.Tag && s.Modified.Equal(o.Modified)
}

// partError says why some models could not be listed, by name, while others were.
type partError map[string]error

func (e partError) Error() string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(e)) {
		words = append(words, fmt.Sprintf("%s: %v", name, e[name]))
	}
	return strings.Join(words, "; ")
}

// of is the error of a listing of that many models: nil when none failed, and that of
// one of them when all did, since then the service itself fails.
func (e partError) of(models int) error {
	if len(e) == 0 {
		return nil
	}
	if len(e) == models {
		name := slices.Min(slices.Collect(maps.Keys(e)))
		return fmt.Errorf("%s: %w", name, e[name])
	}
	return e
}

// errChanged says that a file is no longer what was listed.
var errChanged = errors.New("the file changed while it was read")

// copyObject writes an object to w and returns the SHA-256 of what it wrote;
// size -1 takes any. It stops soon after ctx ends.
func (r *Repository) copyObject(ctx context.Context, key string, size int64, w io.Writer) (string, error) {
	in, err := r.source.open(ctx, key)
	if err != nil {
		return "", err
	}
	defer in.Close()
	h := sha256.New()
	// One byte more than expected is enough to know that the file has grown.
	limited := io.Reader(cancellable{ctx, in})
	switch {
	case size >= 0:
		limited = io.LimitReader(limited, size+1)
	case r.opts.MaxSize > 0:
		limited = io.LimitReader(limited, r.opts.MaxSize+1)
	}
	n, err := io.Copy(io.MultiWriter(h, w), limited)
	if err != nil {
		return "", err
	}
	if size >= 0 && n != size {
		return "", errChanged
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// inspectObject reads a model once: for its digest and for its contents. why is
// the reason why it is no complete model.
func (r *Repository) inspectObject(ctx context.Context, o object) (digest string, contents Contents, why error, err error) {
	in, err := r.source.open(ctx, o.key)
	if err != nil {
		return "", Contents{}, nil, err
	}
	defer in.Close()
	h := sha256.New()
	f := &forward{r: io.TeeReader(io.LimitReader(cancellable{ctx, in}, o.Size+1), h)}
	contents, why = r.opts.Inspect(f, o.Size)
	n, err := io.Copy(io.Discard, f.r)
	switch {
	case f.err != nil:
		return "", Contents{}, nil, f.err
	case err != nil:
		return "", Contents{}, nil, err
	case f.read()+n != o.Size:
		return "", Contents{}, nil, errChanged
	case ctx.Err() != nil:
		return "", Contents{}, nil, ctx.Err()
	}
	return hex.EncodeToString(h.Sum(nil)), contents, why, nil
}

// cancellable is a reader that ends with its context.
type cancellable struct {
	ctx context.Context
	r   io.Reader
}

func (c cancellable) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// forwardWindow is how far back a forward reader can go: more than the ONNX
// reader's buffer.
const forwardWindow = 256 << 10

// forward is an io.ReaderAt over a stream, for readers that go ahead only.
type forward struct {
	r     io.Reader
	buf   []byte // the last bytes read
	start int64  // offset of buf[0]
	err   error  // of r, other than its end
}

var errBackward = errors.New("a read before what is kept of the stream")

func (f *forward) read() int64 { return f.start + int64(len(f.buf)) }

// ReadAt implements io.ReaderAt.
func (f *forward) ReadAt(p []byte, off int64) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	if off < f.start {
		return 0, errBackward
	}
	if skip := off - f.read(); skip > 0 {
		n, err := io.CopyN(io.Discard, f.r, skip)
		f.start, f.buf = f.read()+n, f.buf[:0]
		if err != nil {
			return 0, f.fail(err)
		}
	}
	if missing := off + int64(len(p)) - f.read(); missing > 0 {
		if drop := len(f.buf) - forwardWindow; drop > 0 {
			drop = min(drop, int(off-f.start))
			f.buf = append(f.buf[:0], f.buf[drop:]...)
			f.start += int64(drop)
		}
		more := make([]byte, missing)
		n, err := io.ReadFull(f.r, more)
		f.buf = append(f.buf, more[:n]...)
		if err != nil {
			return copy(p, f.buf[min(off-f.start, int64(len(f.buf))):]), f.fail(err)
		}
	}
	return copy(p, f.buf[off-f.start:]), nil
}

func (f *forward) fail(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	f.err = err
	return err
}
