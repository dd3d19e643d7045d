package candidate

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"strings"
	"time"

	"cloud.google.com/go/storage"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/azureblob" // azblob://
	_ "gocloud.dev/blob/fileblob"  // file:// with parameters
	_ "gocloud.dev/blob/gcsblob"   // gs://
	_ "gocloud.dev/blob/memblob"   // mem://
	_ "gocloud.dev/blob/s3blob"    // s3://
	"gocloud.dev/gcerrors"
)

// bucket is a repository in object storage.
type bucket struct {
	*blob.Bucket
	url      string
	patience time.Duration
	waiting  func(string)
}

// openBucket opens a bucket. The path of s3://bucket/path, gs:// and azblob://
// is the folder in the bucket, as Triton reads it.
func openBucket(ctx context.Context, opts Options) (*bucket, error) {
	u, err := url.Parse(opts.URL)
	if err != nil {
		return nil, err
	}
	prefix := ""
	if u.Scheme == "s3" || u.Scheme == "gs" || u.Scheme == "azblob" {
		prefix = strings.Trim(path.Clean("/"+u.Path), "/")
		u.Path = ""
	}
	b, err := blob.OpenBucket(ctx, u.String())
	if err != nil {
		return nil, err
	}
	if prefix != "" {
		b = blob.PrefixedBucket(b, prefix+"/")
	}
	return &bucket{Bucket: b, url: opts.URL, patience: opts.Patience, waiting: opts.Waiting}, nil
}

func (b *bucket) close() error { return b.Close() }

func (b *bucket) list(ctx context.Context, visit func(object)) error {
	it := b.List(&blob.ListOptions{BeforeList: checkListing})
	for {
		var o *blob.ListObject
		err := b.within(ctx, "the listing of "+b.url, func(ctx context.Context) (err error) {
			o, err = it.Next(ctx)
			return err
		})
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		// Consoles and sync programs put an empty object in the place of a folder.
		if strings.HasSuffix(o.Key, "/") || o.IsDir {
			continue
		}
		visit(object{key: o.Key, stamp: stamp{Size: o.Size, Modified: o.ModTime.UTC(), Tag: tag(o)}})
	}
}

// tag is what the bucket calls this content of the object.
func tag(o *blob.ListObject) string {
	var s3Object types.Object
	var gcsObject storage.ObjectAttrs
	var azureObject container.BlobItem
	switch {
	case o.As(&s3Object) && s3Object.ETag != nil:
		return *s3Object.ETag
	case o.As(&gcsObject):
		return fmt.Sprint(gcsObject.Generation)
	case o.As(&azureObject) && azureObject.Properties != nil && azureObject.Properties.ETag != nil:
		return string(*azureObject.Properties.ETag)
	}
	return hex.EncodeToString(o.MD5)
}

// checkListing makes the S3 client refuse an answer that is no listing: it
// takes a login page for a bucket without objects.
func checkListing(as func(any) bool) error {
	var options *[]func(*s3.Options)
	if as(&options) {
		*options = append(*options, quietly, func(o *s3.Options) {
			o.APIOptions = append(o.APIOptions, func(stack *middleware.Stack) error {
				return stack.Initialize.Add(middleware.InitializeMiddlewareFunc("plancast: check the listing",
					func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (middleware.InitializeOutput, middleware.Metadata, error) {
						out, meta, err := next.HandleInitialize(ctx, in)
						if l, ok := out.Result.(*s3.ListObjectsV2Output); err == nil && ok && l.Name == nil && l.KeyCount == nil && l.IsTruncated == nil {
							err = errors.New("the answer is not a listing: a proxy, a login page or a web server answers in the place of the object storage: check the endpoint")
						}
						return out, meta, err
					}), middleware.Before)
			})
		})
	}
	return nil
}

// quietly keeps the SDK from writing to stderr beside the log.
func quietly(o *s3.Options) { o.Logger = logging.Nop{} }

func (b *bucket) open(ctx context.Context, key string) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	d := &deadlined{b: b, key: key, cancel: cancel}
	err := d.within(func() (err error) {
		d.Reader, err = b.NewReader(ctx, key, &blob.ReaderOptions{BeforeRead: func(as func(any) bool) error {
			var options *[]func(*s3.Options)
			if as(&options) {
				*options = append(*options, quietly)
			}
			return nil
		}})
		return err
	})
	switch {
	case gcerrors.Code(err) == gcerrors.NotFound:
		cancel()
		return nil, errChanged // deleted since it was listed
	case err != nil:
		cancel()
		return nil, b.readError(key, err)
	}
	d.ctx = ctx
	return d, nil
}

// readError distinguishes an endpoint that does not answer from an object that cannot
// be read.
func (b *bucket) readError(key string, err error) error {
	if errors.Is(err, errNoAnswer) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("read %s: %w", key, err)
	}
	return &unusable{key: key, why: "cannot be read: " + oneLine(err) + ": it is tried again in the next pass"}
}

// deadlined reads an object, each piece of it with a deadline.
type deadlined struct {
	*blob.Reader
	b      *bucket
	key    string
	ctx    context.Context
	cancel context.CancelFunc
}

func (d *deadlined) within(do func() error) error {
	return d.b.guard(d.cancel, d.key+" of "+d.b.url, do)
}

func (d *deadlined) Read(p []byte) (n int, err error) {
	err = d.within(func() (err error) {
		n, err = d.Reader.Read(p)
		return err
	})
	if err != nil && !errors.Is(err, io.EOF) {
		err = d.b.readError(d.key, err)
	}
	return n, err
}

func (d *deadlined) Close() error {
	defer d.cancel()
	return d.Reader.Close()
}

// errNoAnswer says that the bucket's service keeps plancast waiting.
var errNoAnswer = errors.New("no answer")

// slow is after what time people are shown what plancast waits for.
const slow = 3 * time.Second

// within does a call under the deadline of every call.
func (b *bucket) within(ctx context.Context, what string, do func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return b.guard(cancel, what, func() error { return do(ctx) })
}

// guard cancels a call that takes too long, and shows a slow one.
func (b *bucket) guard(cancel context.CancelFunc, what string, do func() error) error {
	began := time.Now()
	late := time.AfterFunc(b.patience, cancel)
	shown := make(chan struct{})
	show := time.AfterFunc(min(slow, b.patience/2), func() {
		defer close(shown)
		b.waiting("waiting for " + what)
	})
	err := do()
	expired := !late.Stop()
	if !show.Stop() {
		<-shown
		b.waiting("")
	}
	if err != nil && expired && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w from the service within %s: check its address and the network", errNoAnswer, time.Since(began).Round(100*time.Millisecond))
	}
	return err
}

// oneLine is an SDK's error without line breaks and request IDs.
func oneLine(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	const limit = 300
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "..."
	}
	return text
}
