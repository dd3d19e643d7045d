package metrics

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"
	"unique"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/encoding/protowire"

	dto "github.com/prometheus/client_model/go"

	"github.com/plancast/plancast/exporter/standing"
)

// part is the series of one model, or of all that is about no single model: what
// changes together. Snapshots share it until something of the model changes, with
// what was encoded of it.
type part struct {
	model *standing.Model // nil for the rest
	fill  func(*snapshotBuilder)
	size  int // series
	err   error

	mu     sync.Mutex
	made   []prometheus.Metric // for whoever needs them first
	chunks map[expfmt.Format][]chunk
}

// chunk is what a part has of one family, encoded.
type chunk struct {
	family string
	head   unique.Handle[string] // what all parts say of the family
	series []byte
}

// chunkedFormats is in how many formats a part remembers its chunks. One server asks
// in one.
const chunkedFormats = 2

func newPart(model *standing.Model, fill func(*snapshotBuilder)) *part {
	p := &part{model: model, fill: fill}
	b := p.build()
	p.made, p.size, p.err = b.metrics, len(b.metrics), errors.Join(b.errs...)
	return p
}

func modelPart(m *standing.Model) *part {
	return newPart(m, func(b *snapshotBuilder) {
		b.model(m)
		b.engines(m)
	})
}

func (p *part) build() *snapshotBuilder {
	b := &snapshotBuilder{known: map[string]bool{}}
	p.fill(b)
	return b
}

// metrics are those that newPart made, once, and then made again: they are many small
// objects, and needed only once for every format.
func (p *part) metrics() []prometheus.Metric {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.take()
}

// take is metrics for whoever holds p.mu.
func (p *part) take() []prometheus.Metric {
	made := p.made
	p.made = nil
	if made == nil && p.size > 0 {
		made = p.build().metrics // newPart said what is left out
	}
	return made
}

// forget drops the metrics: an idle daemon does not hold them.
func (p *part) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.made = nil
}

// encoded are the chunks of the part, by family, made at the first call.
func (p *part) encoded(format expfmt.Format) ([]chunk, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c, ok := p.chunks[format]; ok {
		return c, nil
	}
	// A registry checks the part as every scrape would: types, labels and duplicates.
	reg := prometheus.NewPedanticRegistry()
	if err := reg.Register(metricsCollector(p.take())); err != nil {
		return nil, err
	}
	families, err := reg.Gather()
	if err != nil && len(families) == 0 {
		return nil, err
	}
	chunks, err := encodeChunks(families, format)
	if err != nil {
		return nil, err
	}
	if p.chunks == nil || len(p.chunks) >= chunkedFormats {
		p.chunks = map[expfmt.Format][]chunk{}
	}
	p.chunks[format] = chunks
	return chunks, nil
}

func encodeChunks(families []*dto.MetricFamily, format expfmt.Format) ([]chunk, error) {
	var all, one bytes.Buffer
	type span struct{ from, to int }
	chunks, spans := make([]chunk, len(families)), make([]span, len(families))
	for i, f := range families {
		one.Reset()
		if err := encode(&one, format, []*dto.MetricFamily{f}, false); err != nil {
			return nil, err
		}
		head, series, err := split(format, one.Bytes())
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", f.GetName(), err)
		}
		spans[i].from = all.Len()
		all.Write(series)
		spans[i].to = all.Len()
		chunks[i] = chunk{family: f.GetName(), head: unique.Make(string(head))}
	}
	text := slices.Clip(bytes.Clone(all.Bytes())) // one piece of memory
	for i, s := range spans {
		chunks[i].series = text[s.from:s.to]
	}
	return chunks, nil
}

// The fields of io.prometheus.client.MetricFamily that are its series.
const familyMetric = 4

// split parts an encoded family into what is said of the family and its series. The
// length of a protobuf message is in neither.
func split(format expfmt.Format, family []byte) (head, series []byte, err error) {
	if format.FormatType() != expfmt.TypeProtoDelim {
		rest := family
		for bytes.HasPrefix(rest, []byte("# ")) {
			rest = rest[bytes.IndexByte(rest, '\n')+1:]
		}
		return family[:len(family)-len(rest)], rest, nil
	}
	message, n := protowire.ConsumeBytes(family)
	if n < 0 {
		return nil, nil, protowire.ParseError(n)
	}
	for len(message) > 0 {
		field, _, n := protowire.ConsumeField(message)
		if n < 0 {
			return nil, nil, protowire.ParseError(n)
		}
		if field == familyMetric {
			series = append(series, message[:n]...)
		} else {
			head = append(head, message[:n]...)
		}
		message = message[n:]
	}
	return head, series, nil
}

// joined is the reverse of split, for the series of several parts.
func joined(format expfmt.Format, chunks []chunk, write func([]byte)) {
	head := chunks[0].head.Value()
	if format.FormatType() == expfmt.TypeProtoDelim {
		length := len(head)
		for _, c := range chunks {
			length += len(c.series)
		}
		write(protowire.AppendVarint(nil, uint64(length)))
	}
	write([]byte(head))
	for _, c := range chunks {
		write(c.series)
	}
}

// metricsCollector hands out metrics.
type metricsCollector []prometheus.Metric

// Describe implements prometheus.Collector.
func (metricsCollector) Describe(ch chan<- *prometheus.Desc) { describe(ch, false) }

// Collect implements prometheus.Collector.
func (c metricsCollector) Collect(ch chan<- prometheus.Metric) {
	for _, m := range c {
		ch <- m
	}
}
