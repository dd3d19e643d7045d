package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"reflect"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/metrics"
	"github.com/plancast/plancast/exporter/push"
)

// historyPush is plancast history push.
type historyPush struct {
	samplesFlags
	to      *string
	http    *string
	resume  *string
	timeout *time.Duration
}

func registerHistoryPush(app *kingpin.Application) (string, command) {
	cmd, flags := historyCommand(app, "push", "Send the history to Prometheus, Mimir, Thanos or VictoriaMetrics by remote write.")
	return cmd.FullCommand(), &historyPush{
		samplesFlags: addSamplesFlags(cmd, flags, ""),
		to:           cmd.Flag("remote-write", "Address of the store's remote write, such as http://localhost:9090/api/v1/write.").Required().String(),
		http:         storeFlag(cmd),
		resume:       cmd.Flag("resume", "File that records the progress, so that the same command continues after an interruption. Removed at the end.").String(),
		timeout:      cmd.Flag("timeout", "Timeout of one request.").Default("30s").Duration(),
	}
}

// progress is how far a push got: what it sends, and how much of it the store took.
type progress struct {
	Store   string    `json:"store"` // without a query
	Model   string    `json:"model,omitempty"`
	Step    string    `json:"step"`
	Labels  []string  `json:"labels,omitempty"`
	Replay  bool      `json:"replay,omitempty"`
	Until   time.Time `json:"until"`
	Record  int64     `json:"record"`  // the newest that is sent
	Audited int64     `json:"audited"` // corrections that were known
	Taken   int64     `json:"taken"`
}

func (c *historyPush) run(ctx context.Context, p program) (status int, err error) {
	client, err := storeClient(*c.http, *c.timeout)
	if err != nil {
		return 0, err
	}
	s, err := c.open()
	if err != nil {
		return 0, err
	}
	defer s.Close()
	at, err := c.start(ctx, p, s)
	if err != nil {
		return 0, err
	}
	options, err := c.options(at.Until)
	if err != nil {
		return 0, err
	}
	damaged := 0
	records, err := c.records(ctx, p, s, &damaged)
	if err != nil {
		return 0, err
	}
	known := func(yield func(history.Record, error) bool) {
		for r, err := range records {
			if err == nil && r.ID > at.Record || !yield(r, err) {
				return
			}
		}
	}
	if *c.replay {
		if options.Replay, err = c.past(known); err != nil {
			return 0, err
		}
		damaged = 0
	}
	w, err := push.New(ctx, push.Options{URL: *c.to, HTTP: client, Log: p.log, Skip: at.Taken, Taken: func(n int64) error {
		at.Taken = n
		return c.save(at)
	}})
	if err != nil {
		return 0, err
	}
	err = metrics.WriteSamples(w, known, options)
	var sent int64
	if err == nil {
		sent, err = w.Close()
	}
	switch {
	case err != nil && *c.resume != "":
		return 0, fmt.Errorf("%w; the same command continues where this one stopped", err)
	case err != nil:
		return 0, err
	case *c.resume != "":
		if err := os.Remove(*c.resume); err != nil && !errors.Is(err, os.ErrNotExist) {
			return 0, err
		}
	}
	fmt.Fprintf(p.stdout, "Sent %d samples.\n", sent)
	if damaged > 0 {
		return 0, fmt.Errorf("%d of the history's records are damaged and were not sent", damaged)
	}
	return exitOK, nil
}

// start is where the push begins: at the beginning, or where an earlier call with
// the same arguments stopped. Once the history was corrected it starts over.
func (c *historyPush) start(ctx context.Context, p program, s *history.Store) (progress, error) {
	at := progress{Model: *c.model, Step: c.step.String(), Labels: *c.labels, Replay: *c.replay, Until: p.now().UTC().Truncate(time.Millisecond)}
	if u, err := url.Parse(*c.to); err == nil {
		u.RawQuery, u.User = "", nil
		at.Store = u.String()
	}
	lines, err := s.Audit(ctx, 0)
	if err != nil {
		return at, err
	}
	if n := len(lines); n > 0 {
		at.Audited = lines[n-1].ID
	}
	for e, err := range s.Entries(ctx, history.Filter{Limit: 1}) {
		if err != nil && !errors.Is(err, history.ErrDamaged) {
			return at, err
		}
		at.Record = e.ID
	}
	if *c.resume == "" {
		return at, nil
	}
	text, err := os.ReadFile(*c.resume)
	if errors.Is(err, os.ErrNotExist) {
		return at, nil
	}
	var before progress
	if err == nil {
		err = json.Unmarshal(text, &before)
	}
	if err != nil {
		return at, fmt.Errorf("read push progress %s: %w: remove it to start over", *c.resume, err)
	}
	same := before
	same.Until, same.Record, same.Taken = at.Until, at.Record, at.Taken
	if !reflect.DeepEqual(same, at) {
		p.log.Info("Push starts over: its arguments or the history changed", "file", *c.resume)
		return at, nil
	}
	p.log.Info("Push continues where it stopped", "samples", before.Taken)
	return before, nil
}

func (c *historyPush) save(at progress) error {
	if *c.resume == "" {
		return nil
	}
	text, err := json.Marshal(at)
	if err != nil {
		return err
	}
	whole := *c.resume + ".new"
	if err := os.WriteFile(whole, text, 0o600); err != nil {
		return err
	}
	return os.Rename(whole, *c.resume)
}
