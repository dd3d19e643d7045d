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
	service
}

// openBucket opens a bucket. The path of s3://bucket/path, gs:// and azblob://
// is the folder in the bucket, as Triton reads it.
func openBucket(ctx context.Context, opts Options) (*bucket, error) {
	u, err := url.Parse(opts.URL)
	if err != nil {
		return nil, err
	}
	if !blob.DefaultURLMux().ValidBucketScheme(u.Scheme) {
		return nil, errors.New("write a folder, or an address that begins with s3://, gs://, azblob://, oci:// or mlflow://")
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
	return &bucket{b, newService(opts)}, nil
}

func (b *bucket) close() error { return b.Close() }

func (b *bucket) list(ctx context.Context, visit func(object)) error {
	it := b.List(&blob.ListOptions{BeforeList: checkListing})
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
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
							err = errors.New("the answer is not a listing: a proxy, a login page or a web server answers instead of the object storage: check the endpoint")
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
	in, err := b.service.open(ctx, key, func(ctx context.Context) (io.ReadCloser, error) {
		return b.NewReader(ctx, key, &blob.ReaderOptions{BeforeRead: func(as func(any) bool) error {
			var options *[]func(*s3.Options)
			if as(&options) {
				*options = append(*options, quietly)
			}
			return nil
		}})
	})
	switch {
	case gcerrors.Code(err) == gcerrors.NotFound:
		return nil, errChanged // deleted since it was listed
	case err != nil:
		return nil, readError(key, err)
	}
	return in, nil
}
