package history

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/units"
)

// ImportOptions say what measurements from elsewhere are to be taken for.
type ImportOptions struct {
	// Source marks the records, such as the name of the file.
	Source string
	// Environment names the environment of rows that bring none: results are
	// compared only within one.
	Environment string
	// Model is that of rows that name none.
	Model string
	// Precision is that of rows that name none.
	Precision engine.Precision
}

// mostImported bounds what one import holds in memory.
const mostImported = 1_000_000

// Import stores measurements that were made elsewhere, oldest first, all of
// them in one transaction or none, with a line in the audit trail. They are no
// news.
func (s *Store) Import(ctx context.Context, records []Record, by Author) (n int, err error) {
	records = slices.Clone(records)
	slices.SortStableFunc(records, func(a, b Record) int { return a.Finished.Compare(b.Finished) })
	err = s.write(ctx, func(tx *sql.Tx) error {
		var last int64
		if err := tx.QueryRowContext(ctx, "SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence WHERE name='records'").Scan(&last); err != nil {
			return err
		}
		if _, err := addAudit(ctx, tx, by, ActionImport, 0); err != nil {
			return err
		}
		p := prepared{tx: tx, statements: map[string]*sql.Stmt{}}
		newest := last
		for _, r := range records {
			r, err := s.appendTx(ctx, p, r, 0, refuseSecond)
			if err != nil {
				return fmt.Errorf("%s version %s %s of %s: %w", r.Model, r.Version, r.Precision, r.Finished.Format(time.DateOnly), err)
			}
			newest = r.ID
		}
		n = len(records)
		o := &OutboxTx{ctx, tx}
		if observed, err := o.Observed(); err != nil || observed < last { // there is other news on its way
			return err
		}
		return o.SetObserved(newest)
	})
	if err != nil {
		return 0, fmt.Errorf("import into history %s: nothing is imported: %w", s.path, err)
	}
	return n, nil
}

// ReadJSONLines reads records as WriteJSONLines writes them. IDs and iterations
// are not taken over; results that do not count there are left out, and counted.
func ReadJSONLines(r io.Reader, o ImportOptions) (out []Record, skipped int, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 64<<20)
	for n := 1; lines.Scan(); n++ {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		var x Record
		if err := json.Unmarshal(lines.Bytes(), &x); err != nil {
			return nil, 0, fmt.Errorf("line %d: %w", n, err)
		}
		if x.SupersededBy != 0 || x.Excluded != nil {
			skipped++
			continue
		}
		x, err := o.complete(x)
		if err != nil {
			return nil, 0, fmt.Errorf("line %d: %w", n, err)
		}
		if out = append(out, x); len(out) > mostImported {
			return nil, 0, fmt.Errorf("more than %d records: import them in parts", mostImported)
		}
	}
	return out, skipped, lines.Err()
}

// complete fills in what a record from elsewhere may lack.
func (o ImportOptions) complete(r Record) (Record, error) {
	r.Model, r.Precision = cmp.Or(r.Model, o.Model), cmp.Or(r.Precision, o.Precision, engine.FP32)
	switch {
	case r.Model == "":
		return r, errors.New("no model is named: give a column model, or --model")
	case r.Version == "":
		return r, errors.New("no version is named")
	case r.Finished.IsZero():
		return r, errors.New("no time is given")
	case (r.Measurement == nil) == (r.Failure == nil):
		return r, errors.New("it must hold a measurement or a failure, and not both")
	}
	if _, err := engine.ParsePrecision(string(r.Precision)); err != nil {
		return r, err
	}
	if r.Digest == "" {
		sum := sha256.Sum256([]byte("imported\x00" + r.Model + "\x00" + r.Version))
		r.Digest = hex.EncodeToString(sum[:])
	}
	if r.Fingerprint == "" {
		r.Environment = engine.Environment{Backend: "imported", Device: cmp.Or(o.Environment, "elsewhere")}
		r.Backend, r.Device = r.Environment.Backend, r.Environment.Device
		var err error
		if r.Fingerprint, err = engine.Fingerprint(r.Environment, r.Settings, nil); err != nil {
			return r, err
		}
	}
	r.Finished = r.Finished.UTC()
	for _, t := range []*time.Time{&r.Started, &r.CandidateTime} {
		if t.IsZero() {
			*t = r.Finished
		}
	}
	r.Source, r.ID, r.Iteration, r.SupersededBy, r.Excluded = cmp.Or(o.Source, "elsewhere"), 0, 0, 0, nil
	return r, nil
}

// ReadCSV reads a table with a head, such as WriteCSV writes or a spreadsheet
// exports. It needs a column finished, time or date, and at least one quantity:
// with its unit in the head ("p99_seconds") or in the cells (p99: "12ms").
// model, version, precision, digest, queries, stable and candidate_time are
// read where they are there; without versions the rows of a model are counted
// from 1. Rows whose result is not success are left out, and counted.
func ReadCSV(r io.Reader, o ImportOptions) (records []Record, skipped int, err error) {
	c := csv.NewReader(r)
	head, err := c.Read()
	if err != nil {
		return nil, 0, fmt.Errorf("read the header row: %w", err)
	}
	columns, err := columnsOf(head)
	if err != nil {
		return nil, 0, err
	}
	versions := map[string]int{} // the rows of each model and precision so far
	for {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			return records, skipped, nil
		}
		if err != nil {
			return nil, 0, err
		}
		line, _ := c.FieldPos(0)
		x, ok, err := columns.record(row)
		if err == nil && ok {
			of := x.Model + "\x00" + string(x.Precision)
			if versions[of]++; x.Version == "" {
				x.Version = strconv.Itoa(versions[of])
			}
			x, err = o.complete(x)
		}
		if err != nil {
			return nil, 0, fmt.Errorf("line %d: %w", line, err)
		}
		if !ok {
			skipped++
			continue
		}
		if records = append(records, x); len(records) > mostImported {
			return nil, 0, fmt.Errorf("more than %d records: import them in parts", mostImported)
		}
	}
}

// columns say what each column of a table holds: its name, and the quantity.
type columns struct {
	names      []string
	quantities []*Quantity
	bare       []bool // the unit is in the head
}

func columnsOf(head []string) (columns, error) {
	c := columns{names: make([]string, len(head)), quantities: make([]*Quantity, len(head)), bare: make([]bool, len(head))}
	some, dated := false, false
	for i, name := range head {
		name = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))
		switch name {
		case "time", "date":
			name = "finished"
		}
		dated = dated || name == "finished"
		c.names[i] = name
		for k := range Quantities {
			q := &Quantities[k]
			if name == q.Name || name == q.Column() {
				c.quantities[i], c.bare[i] = q, name != q.Name
				some = true
			}
		}
	}
	switch {
	case !dated:
		return c, errors.New(`the header row has no column "finished", "time" or "date"`)
	case !some:
		names := make([]string, len(Quantities))
		for i, q := range Quantities {
			names[i] = q.Column()
		}
		return c, fmt.Errorf("the header row names no quantity: use one of %s, or a name without its unit and cells such as 12ms", strings.Join(names, ", "))
	}
	return c, nil
}

// record reads a row; it is false for a result that is not a success.
func (c columns) record(row []string) (r Record, ok bool, err error) {
	m := &bench.Measurement{Stable: true, Plan: engine.Plan{Reused: true}}
	r.Measurement = m
	some, top1, deviation := false, false, false
	for i, text := range row {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		text = outside.FromCell(text)
		if q := c.quantities[i]; q != nil {
			v, err := c.value(i, text)
			if err != nil {
				return r, false, fmt.Errorf("%s: %w", c.names[i], err)
			}
			setQuantity(m, q.Name, v)
			some, top1, deviation = true, top1 || q.Name == "top1", deviation || q.Name == "accuracy_deviation"
			continue
		}
		switch c.names[i] {
		case "model":
			r.Model = text
		case "version":
			r.Version = text
		case "precision":
			r.Precision = engine.Precision(text)
		case "digest":
			r.Digest = text
		case "result":
			if text != success {
				return r, false, nil
			}
		case "stable":
			m.Stable = text == "true"
		case "queries":
			if m.Latency.Queries, err = strconv.Atoi(text); err != nil {
				return r, false, fmt.Errorf("queries: %w", err)
			}
		case "finished":
			if r.Finished, err = parseTime(text); err != nil {
				return r, false, err
			}
		case "candidate_time":
			if r.CandidateTime, err = parseTime(text); err != nil {
				return r, false, err
			}
		}
	}
	m.Latency.Sum = m.Latency.Mean * float64(m.Latency.Queries)
	switch {
	case !some:
		return r, false, errors.New("no quantity has a value")
	case top1 && !deviation: // which would be taken for 0
		return r, false, errors.New("top1 is given without accuracy_deviation, its loss against your reference: give both or neither")
	}
	return r, true, nil
}

func (c columns) value(i int, text string) (float64, error) {
	if !c.bare[i] {
		return units.Parse(text, c.quantities[i].Unit)
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("%q is not a number", text)
	}
	return v, nil
}

func setQuantity(m *bench.Measurement, name string, v float64) {
	quantile := func(q float64) { m.Latency.Quantiles = append(m.Latency.Quantiles, bench.Quantile{Q: q, Value: v}) }
	accuracy := func() *bench.Accuracy {
		if m.Accuracy == nil {
			m.Accuracy = &bench.Accuracy{Reference: "elsewhere"}
		}
		return m.Accuracy
	}
	switch name {
	case "mean":
		m.Latency.Mean = v
	case "p50":
		quantile(0.5)
	case "p90":
		quantile(0.9)
	case "p95":
		quantile(0.95)
	case "p99":
		quantile(0.99)
	case "throughput":
		m.Throughput = v
	case "top1":
		accuracy().Top1 = &v
	case "accuracy_deviation":
		accuracy().Deviation = v
	case "memory":
		n := int64(v)
		m.Memory.PeakBytes = &n
	case "size":
		m.Plan.SizeBytes = int64(v)
	case "build_duration":
		m.Plan.Duration, m.Plan.Reused = time.Duration(v*1e9), false
	}
}

// parseTime reads a date, or a time with or without a zone; UTC without one.
func parseTime(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time: write 2026-11-27, 2026-11-27 18:00 or 2026-11-27T18:00:00Z", text)
}
