package report

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/plancast/plancast/exporter/baseline"
	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
)

// Records are the results that the JSON of a report holds, of the newest candidate
// of each model or the last good one before, as far as the report says: without
// layers. It is a baseline.Sources.Report.
func Records(text []byte) (out []history.Record, after string, err error) {
	var v View
	if err := json.Unmarshal(text, &v); err != nil || v.SchemaVersion == 0 {
		return nil, "", baseline.ErrNoReport
	}
	if v.SchemaVersion != SchemaVersion {
		return nil, "", fmt.Errorf("its schema version is %d, and this plancast reads %d", v.SchemaVersion, SchemaVersion)
	}
	for _, m := range v.Models {
		for _, row := range m.Rows {
			x := row.Result
			if x == nil {
				x = row.LastGood
			}
			if x == nil {
				continue
			}
			r := history.Record{Model: m.Name, Version: x.Version, Precision: row.Precision, Iteration: x.Iteration, Finished: x.Finished, Measurement: x.measurement()}
			if m.Environment != nil {
				r.Environment, r.Fingerprint, r.Backend, r.Device = m.Environment.Environment, m.Environment.Fingerprint, m.Environment.Backend, m.Environment.Device
			}
			if m.Candidate != nil && m.Candidate.Version == x.Version {
				r.Digest = m.Candidate.Digest
			}
			out = append(out, r)
		}
	}
	return out, v.Next, nil
}

// measurement is what a result says of the measurement that it was made from.
func (x *Result) measurement() *bench.Measurement {
	m := &bench.Measurement{Stable: x.Stable, Throughput: orZero(x.Throughput), Latency: bench.Latency{
		Batch: x.Batch, Queries: x.Queries, Mean: orZero(x.Mean), StdDev: orZero(x.StdDev),
	}}
	add := func(q float64, v, low, high *float64) {
		if v != nil {
			m.Latency.Quantiles = append(m.Latency.Quantiles, bench.Quantile{Q: q, Value: *v, Low: low, High: high})
		}
	}
	add(0.5, x.P50, x.P50Low, x.P50High)
	add(0.9, x.P90, nil, nil)
	add(0.95, x.P95, nil, nil)
	if p := x.P99; p != nil {
		add(0.99, &p.Value, p.Low, p.High)
	}
	if x.Deviation != nil {
		m.Accuracy = &bench.Accuracy{Deviation: *x.Deviation, Measure: x.Measure, Reference: x.Reference, Top1: x.Top1, Top1Agreement: x.Top1Agreement}
	}
	if x.PeakMemory != nil {
		peak := int64(*x.PeakMemory)
		m.Memory = engine.Memory{PeakBytes: &peak}
	}
	m.Plan.SizeBytes = int64(orZero(x.Size))
	if m.Plan.Reused = x.Build == nil; x.Build != nil {
		m.Plan.Duration = time.Duration(*x.Build * float64(time.Second))
	}
	if d := x.Disturbance; d != nil && d.Disturbed {
		m.Disturbance = &bench.Disturbance{Share: d.Share, Cause: d.Cause, Suffered: 1}
	}
	return m
}

func orZero(p *float64) float64 {
	if p == nil {
		return 0
	}
	return *p
}
