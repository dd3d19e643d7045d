package metrics

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// Handler serves /metrics: the collector's snapshot together with what rest
// gathers (the process, the Go runtime, the handler's own instruments). The
// collector itself must not be registered with rest.
//
// A snapshot changes a few times an hour and is scraped thousands of times, so
// each format is encoded and compressed once for a snapshot and then only
// copied out. Apart from the time this saves, a scrape does not disturb the
// measurement that may run on the same cores.
//
// onError learns why a scrape was answered with status 500; it may be nil.
func (c *Collector) Handler(rest prometheus.Gatherer, onError func(error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := c.serve(w, r, rest); err != nil {
			if onError != nil {
				onError(err)
			}
			http.Error(w, "Cannot gather metrics: "+err.Error(), http.StatusInternalServerError)
		}
	})
}

// serve writes the response, or returns an error before it wrote any of it.
func (c *Collector) serve(w http.ResponseWriter, r *http.Request, rest prometheus.Gatherer) error {
	format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...)
	body, err := c.current.Load().exposition(format)
	if err != nil {
		return err
	}
	live := prometheus.NewRegistry()
	if err := live.Register(liveCollector{c}); err != nil {
		return err
	}
	families, err := prometheus.Gatherers{live, rest}.Gather()
	if err != nil {
		return err
	}
	for _, f := range families {
		if f := familyByName[f.GetName()]; f.Name != "" && !f.live {
			return fmt.Errorf("%s is registered outside of its collector", f.Name)
		}
	}
	var tail bytes.Buffer
	if err := encode(&tail, format, families, true); err != nil {
		return err
	}

	h := w.Header()
	h.Set("Content-Type", string(format))
	h.Set("Vary", "Accept, Accept-Encoding")
	if !acceptsGzip(r.Header.Get("Accept-Encoding")) {
		// From here on an error means that the client went away.
		_, _ = io.Copy(w, flate.NewReader(io.MultiReader(bytes.NewReader(body.deflated), bytes.NewReader(finalBlock))))
		_, _ = w.Write(tail.Bytes())
		return nil
	}
	var end bytes.Buffer
	z, err := flate.NewWriter(&end, flate.BestSpeed)
	if err != nil {
		return err
	}
	if _, err := z.Write(tail.Bytes()); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	end.Write(binary.LittleEndian.AppendUint32(nil, crc32.Update(body.crc, crc32.IEEETable, tail.Bytes())))
	end.Write(binary.LittleEndian.AppendUint32(nil, body.size+uint32(tail.Len())))
	h.Set("Content-Encoding", "gzip")
	h.Set("Content-Length", strconv.Itoa(len(gzipHeader)+len(body.deflated)+end.Len()))
	_, _ = w.Write(gzipHeader)
	_, _ = w.Write(body.deflated)
	_, _ = w.Write(end.Bytes())
	return nil
}

var (
	gzipHeader = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255} // RFC 1952: no time, unknown system
	finalBlock = []byte{1, 0, 0, 0xff, 0xff}                  // RFC 1951: an empty last block
)

func acceptsGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			q, found := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q=")
			v, err := strconv.ParseFloat(q, 64)
			return !found || err != nil || v > 0
		}
	}
	return false
}

// exposition is a snapshot in one format, compressed: the blocks of a deflate
// stream that ends on a byte boundary and is still open, so that the part of
// a response that changes can follow in the same gzip member. (Members in a row
// are allowed, too, but browsers and curl read only the first.)
type exposition struct {
	deflated []byte
	crc      uint32 // of the plain bytes
	size     uint32 // of the plain bytes, modulo 2^32
}

// expositions caches a snapshot's formats.
type expositions struct {
	mu      sync.Mutex
	formats map[expfmt.Format]exposition
}

// exposition returns the snapshot in format, made at the first call.
func (s *Snapshot) exposition(format expfmt.Format) (exposition, error) {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	if e, ok := s.cache.formats[format]; ok {
		return e, nil
	}
	var out bytes.Buffer
	z, err := flate.NewWriter(&out, flate.BestSpeed) // of some megabytes after each record
	if err != nil {
		return exposition{}, err
	}
	sum := &checksum{}
	if err := s.encode(io.MultiWriter(z, sum), format); err != nil {
		return exposition{}, err
	}
	if err := z.Flush(); err != nil {
		return exposition{}, err
	}
	e := exposition{deflated: bytes.Clone(out.Bytes()), crc: sum.crc, size: sum.size}
	// Clients ask in a few ways only, but a Format carries what they wrote:
	// the cache must not grow with their imagination.
	if s.cache.formats == nil || len(s.cache.formats) >= 8 {
		s.cache.formats = map[expfmt.Format]exposition{}
	}
	s.cache.formats[format] = e
	return e, nil
}

// encode writes the snapshot: what its parts have of each family, one family after
// the other.
func (s *Snapshot) encode(w io.Writer, format expfmt.Format) error {
	switch format.FormatType() {
	case expfmt.TypeTextPlain, expfmt.TypeOpenMetrics, expfmt.TypeProtoDelim:
	default: // for people
		reg := prometheus.NewPedanticRegistry()
		if err := reg.Register(s.collector()); err != nil {
			return err
		}
		families, err := reg.Gather()
		if err != nil && len(families) == 0 {
			return err
		}
		return encode(w, format, families, false)
	}
	families := map[string][]chunk{}
	for _, p := range s.parts {
		chunks, err := p.encoded(format)
		if err != nil {
			return err
		}
		for _, c := range chunks {
			families[c.family] = append(families[c.family], c)
		}
	}
	var err error
	for _, name := range slices.Sorted(maps.Keys(families)) {
		joined(format, families[name], func(b []byte) {
			if err == nil {
				_, err = w.Write(b)
			}
		})
	}
	return err
}

// served lists the formats in which the snapshot was scraped.
func (s *Snapshot) served() []expfmt.Format {
	s.cache.mu.Lock()
	defer s.cache.mu.Unlock()
	var out []expfmt.Format
	for f := range s.cache.formats {
		out = append(out, f)
	}
	return out
}

func encode(w io.Writer, format expfmt.Format, families []*dto.MetricFamily, last bool) error {
	e := expfmt.NewEncoder(w, format)
	for _, f := range families {
		if err := e.Encode(f); err != nil {
			return fmt.Errorf("encode %s: %w", f.GetName(), err)
		}
	}
	if c, ok := e.(expfmt.Closer); ok && last {
		return c.Close() // OpenMetrics: # EOF
	}
	return nil
}

type checksum struct{ crc, size uint32 }

func (c *checksum) Write(p []byte) (int, error) {
	c.crc = crc32.Update(c.crc, crc32.IEEETable, p)
	c.size += uint32(len(p))
	return len(p), nil
}
