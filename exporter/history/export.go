package history

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/units"
)

// WriteJSONLines writes one record a line, in the form that Record's fields
// have. It keeps nothing in memory.
func WriteJSONLines(w io.Writer, records iter.Seq2[Record, error]) error {
	e := json.NewEncoder(w)
	for r, err := range records {
		if err != nil {
			return fmt.Errorf("export the history: %w", err)
		}
		if err := e.Encode(r); err != nil {
			return fmt.Errorf("export the history: record %d: %w", r.ID, err)
		}
	}
	return nil
}

// WriteCSV writes one record a row, with a head: identity, outcome, every figure
// of Quantities in base units, what was decided about the result later, and the figures
// of workloads; a figure that was not measured is empty, and a latency without end is
// "Inf". It keeps nothing in memory.
func WriteCSV(w io.Writer, records iter.Seq2[Record, error], workloads []Quantity) error {
	c := csv.NewWriter(w)
	head := []string{
		"id", "model", "version", "digest", "precision", "backend", "backend_version", "device", "fingerprint", "iteration",
		"candidate_time", "started", "finished", "result", "failure", "stable", "queries",
	}
	for _, q := range Quantities {
		head = append(head, q.Column())
	}
	head = append(head, "superseded_by", "excluded", "excluded_by", "excluded_at", "commit", "branch", "author", "link", "kinds")
	for _, q := range workloads {
		head = append(head, outside.Cell(q.Column()))
	}
	if err := c.Write(head); err != nil {
		return fmt.Errorf("export the history: %w", err)
	}
	for r, err := range records {
		if err != nil {
			return fmt.Errorf("export the history: %w", err)
		}
		result, failure, stable, queries := "success", "", "", ""
		if r.Failure != nil {
			result, failure = string(r.Failure.Kind), r.Failure.Error.Error()
		}
		if r.OK() {
			stable, queries = strconv.FormatBool(r.Measurement.Stable), strconv.Itoa(r.Measurement.Latency.Queries)
		}
		row := cells(
			strconv.FormatInt(r.ID, 10), r.Model, r.Version, r.Digest, string(r.Precision), r.Backend, r.Environment.BackendVersion,
			r.Device, r.Fingerprint, strconv.Itoa(r.Iteration), moment(r.CandidateTime), moment(r.Started), moment(r.Finished), result, failure, stable, queries,
		)
		row = append(row, figures(r, Quantities)...)
		superseded, excluded := "", Exclusion{}
		if r.SupersededBy != 0 {
			superseded = strconv.FormatInt(r.SupersededBy, 10)
		}
		if r.Excluded != nil {
			excluded = *r.Excluded
		}
		made := changeOf(r)
		row = append(row, cells(superseded, excluded.Because, excluded.By, moment(excluded.At),
			made.Commit, made.Branch, made.Author, made.Link, made.KindsText())...)
		row = append(row, figures(r, workloads)...)
		if err := c.Write(row); err != nil {
			return fmt.Errorf("export the history: record %d: %w", r.ID, err)
		}
	}
	c.Flush()
	if err := c.Error(); err != nil {
		return fmt.Errorf("export the history: %w", err)
	}
	return nil
}

// figures are those of a record as cells.
func figures(r Record, of []Quantity) []string {
	out := make([]string, len(of))
	for i, q := range of {
		if v, ok := q.Of(r); ok {
			// A cell that begins with a sign may be taken for a formula.
			out[i] = strings.TrimPrefix(strconv.FormatFloat(v, 'g', -1, 64), "+")
		}
	}
	return out
}

func changeOf(r Record) change.Change {
	if r.Change == nil {
		return change.Change{}
	}
	return *r.Change
}

// Column is the name of a figure with its unit: "p99_seconds".
func (q Quantity) Column() string {
	if q.Unit == units.None {
		return q.Name
	}
	return q.Name + "_" + string(q.Unit)
}

func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// cells are texts as a spreadsheet may read them.
func cells(texts ...string) []string {
	for i, s := range texts {
		texts[i] = outside.Cell(s)
	}
	return texts
}
