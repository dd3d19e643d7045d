package candidate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
)

// service is one that a repository is read from: every answer has a deadline, and
// people see what plancast waits for.
type service struct {
	url      string
	patience time.Duration
	waiting  func(string)
}

func newService(opts Options) service { return service{opts.URL, opts.Patience, opts.Waiting} }

// open opens an object; the context that do gets ends with the reader.
func (s service) open(ctx context.Context, key string, do func(context.Context) (io.ReadCloser, error)) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	d := &deadlined{service: s, key: key, cancel: cancel}
	if err := d.within(func() (err error) {
		d.in, err = do(ctx)
		return err
	}); err != nil {
		cancel()
		return nil, err
	}
	return d, nil
}

// readError distinguishes a service that does not answer from an object that cannot
// be read.
func readError(key string, err error) error {
	if errors.Is(err, errNoAnswer) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("read %s: %w", key, err)
	}
	return &unusable{key: key, why: "cannot be read: " + oneLine(err) + ": the next pass tries it again"}
}

// deadlined reads an object, each piece of it with a deadline.
type deadlined struct {
	service
	in     io.ReadCloser
	key    string
	cancel context.CancelFunc
}

func (d *deadlined) within(do func() error) error {
	return d.guard(d.cancel, d.key+" of "+d.url, do)
}

func (d *deadlined) Read(p []byte) (n int, err error) {
	err = d.within(func() (err error) {
		n, err = d.in.Read(p)
		return err
	})
	if err != nil && !errors.Is(err, io.EOF) {
		err = readError(d.key, err)
	}
	return n, err
}

func (d *deadlined) Close() error {
	defer d.cancel()
	return d.in.Close()
}

// errNoAnswer says that the bucket's service keeps plancast waiting.
var errNoAnswer = errors.New("no answer")

// slow is after what time people are shown what plancast waits for.
const slow = 3 * time.Second

// within does a call under the deadline of every call.
func (s service) within(ctx context.Context, what string, do func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return s.guard(cancel, what, func() error { return do(ctx) })
}

// guard cancels a call that takes too long, and shows a slow one.
func (s service) guard(cancel context.CancelFunc, what string, do func() error) error {
	began := time.Now()
	late := time.AfterFunc(s.patience, cancel)
	shown := make(chan struct{})
	show := time.AfterFunc(min(slow, s.patience/2), func() {
		defer close(shown)
		s.waiting("waiting for " + what)
	})
	err := do()
	expired := !late.Stop()
	if !show.Stop() {
		<-shown
		s.waiting("")
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

// onlyKnown refuses a parameter of an address that a source does not know: a mistyped
// selection would select everything.
func onlyKnown(q url.Values, known ...string) error {
	for _, name := range slices.Sorted(maps.Keys(q)) {
		if !slices.Contains(known, name) {
			return fmt.Errorf("unknown parameter %q: use %s", name, strings.Join(known, ", "))
		}
	}
	return nil
}
