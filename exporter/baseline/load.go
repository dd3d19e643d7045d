// Package baseline compares what a run measured with the results of a base: a
// file, a running plancast, or results of the history itself, such as those of a
// branch.
package baseline

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/history"
)

const (
	// mostBytes bounds what is read of a file or of an answer.
	mostBytes = 256 << 20
	// mostPages bounds the pages of a report that are asked for.
	mostPages = 100
	patience  = time.Minute
)

// Sources are where baselines are read from.
type Sources struct {
	History *history.Store
	// Report reads the results of a report as JSON, and after which model its next
	// page begins, "" after the last. The error is ErrNoReport when it is none.
	Report func(text []byte) (records []history.Record, after string, err error)
}

// ErrNoReport says that a text is not a report of plancast's.
var ErrNoReport = errors.New("it is not a plancast report")

// Load reads the results that a source names: version:N or branch:NAME of the
// history, the URL of a running plancast, or a file: the JSON of a report, or JSON
// lines as plancast history export --format=jsonl writes them. Only results that
// count are returned.
func (s Sources) Load(ctx context.Context, source string) ([]history.Record, error) {
	records, err := s.load(ctx, source)
	if err != nil {
		return nil, fmt.Errorf("read baseline %s: %w", withoutSecrets(source), err)
	}
	records = slices.DeleteFunc(records, func(r history.Record) bool { return !r.OK() || r.Excluded != nil || r.SupersededBy != 0 })
	if len(records) == 0 {
		return nil, fmt.Errorf("read baseline %s: it has no results", withoutSecrets(source))
	}
	return records, nil
}

func (s Sources) load(ctx context.Context, source string) ([]history.Record, error) {
	if v, ok := strings.CutPrefix(source, "version:"); ok {
		return stored(ctx, s.History, history.Filter{Version: v, Layers: true}, func(history.Record) bool { return true })
	}
	if b, ok := strings.CutPrefix(source, "branch:"); ok {
		return stored(ctx, s.History, history.Filter{Layers: true}, func(r history.Record) bool { return r.Change != nil && r.Change.Branch == b })
	}
	if strings.HasPrefix(source, "http://") || strings.HasPrefix(source, "https://") {
		return s.fetched(ctx, source)
	}
	f, err := os.Open(source)
	if err != nil {
		return nil, fmt.Errorf("%w: name a file, a URL, version:N or branch:NAME", err)
	}
	defer f.Close()
	return s.Read(f)
}

// stored are the records of the history that a filter and a condition select.
func stored(ctx context.Context, s *history.Store, f history.Filter, want func(history.Record) bool) (out []history.Record, err error) {
	for r, err := range history.Skip(s.Records(ctx, f), func(error) {}) { // damage was named at the start
		if err != nil {
			return nil, err
		}
		if want(r) {
			out = append(out, r)
		}
	}
	return out, nil
}

// Read reads a report as JSON, or records as JSON lines.
func (s Sources) Read(r io.Reader) ([]history.Record, error) {
	text, err := io.ReadAll(io.LimitReader(r, mostBytes+1))
	if err != nil {
		return nil, err
	}
	if len(text) > mostBytes {
		return nil, fmt.Errorf("it is larger than %d MiB", mostBytes>>20)
	}
	if records, _, err := s.Report(text); !errors.Is(err, ErrNoReport) {
		return records, err
	}
	return lines(text)
}

// lines reads the records of an export, each with its kind, beside which other
// lines may stand.
func lines(text []byte) (out []history.Record, err error) {
	in := bufio.NewScanner(bytes.NewReader(text))
	in.Buffer(nil, mostBytes)
	for n := 1; in.Scan(); n++ {
		if len(bytes.TrimSpace(in.Bytes())) == 0 {
			continue
		}
		var r history.Record
		if err := json.Unmarshal(in.Bytes(), &r); err != nil || r.Model == "" {
			return nil, fmt.Errorf("line %d is neither a report (plancast run --format json) nor a record (plancast history export --format jsonl)", n)
		}
		if (r.Measurement == nil) == (r.Failure == nil) {
			return nil, fmt.Errorf("line %d: the record holds neither a measurement nor a failure", n)
		}
		out = append(out, r)
	}
	return out, in.Err()
}

// fetched are the results of the report of a running plancast, page by page.
func (s Sources) fetched(ctx context.Context, base string) (out []history.Record, err error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, errors.New("it is not a URL")
	}
	u = u.JoinPath("api/v1/report")
	after := ""
	for range mostPages {
		u.RawQuery = url.Values{"limit": {"1000"}, "after": {after}}.Encode()
		text, err := page(ctx, u.String())
		if err != nil {
			return nil, err
		}
		var records []history.Record
		if records, after, err = s.Report(text); err != nil {
			return nil, err
		}
		out = append(out, records...)
		if after == "" {
			return out, nil
		}
	}
	return nil, fmt.Errorf("its report has more than %d pages", mostPages)
}

func page(ctx context.Context, address string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, errors.New("it is not a URL")
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		var of *url.Error
		if errors.As(err, &of) {
			err = of.Err // the URL may hold a password
		}
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answered %s: give the address of a running plancast serve", res.Status)
	}
	return io.ReadAll(io.LimitReader(res.Body, mostBytes))
}

// withoutSecrets is a source without the password of a URL.
func withoutSecrets(source string) string {
	if u, err := url.Parse(source); err == nil {
		return u.Redacted()
	}
	return source
}
