package history

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/workload"
)

func all(records []Record, last error) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for _, r := range records {
			if !yield(r, nil) {
				return
			}
		}
		if last != nil {
			yield(Record{}, last)
		}
	}
}

func TestCSVHoldsEveryFigure(t *testing.T) {
	records := []Record{rec(1, "m", "1", engine.FP32, "e", 1, 0.25), rec(2, "m", "=SUM(A1)", engine.INT8, "e", 1, 0)}
	records[1].Failure.Message = "two\nlines, \"quoted\""
	var b bytes.Buffer
	if err := WriteCSV(&b, all(records, nil), nil); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	at := func(row int, name string) string {
		for i, h := range rows[0] {
			if h == name {
				return rows[row][i]
			}
		}
		t.Fatalf("no column %s in %v", name, rows[0])
		return ""
	}
	if at(1, "p99_seconds") != "0.25" || at(1, "p50_seconds") != "" || at(1, "result") != "success" {
		t.Errorf("measured: %v", rows[1])
	}
	if at(2, "result") != "crashed" || !strings.Contains(at(2, "failure"), "two lines, \"quoted\"") || at(2, "p99_seconds") != "" {
		t.Errorf("failed: %v", rows[2])
	}
}

// table is WriteCSV of records without workloads.
func table(w io.Writer, records iter.Seq2[Record, error]) error { return WriteCSV(w, records, nil) }

func TestCSVHoldsTheFiguresOfWorkloads(t *testing.T) {
	records := []Record{rec(1, "m", "1", engine.FP32, "e", 1, 0.25), rec(2, "m", "2", engine.FP32, "e", 2, 0.25), rec(3, "m", "3", engine.FP32, "e", 3, 0.25)}
	for i, w := range []bench.WorkloadResult{
		{Workload: workload.Workload{Name: "chat"}, Answered: 200, Latency: &bench.Latency{Mean: 0.5}},
		{Workload: workload.Workload{Name: "chat"}, Answered: 164, Saturated: true},
		{Workload: workload.Workload{Name: "batch"}, Answered: 3},
	} {
		records[i].Measurement.Workloads = []bench.WorkloadResult{w}
	}
	var entries []Entry
	for _, r := range records {
		entries = append(entries, EntryOf(r))
	}
	quantities, err := WorkloadQuantities(func(yield func(Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := WriteCSV(&b, all(records, nil), quantities); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	from := slices.Index(rows[0], "kinds") + 1
	for i, want := range [][]string{
		{"rate@batch_per_second", "mean@chat_seconds", "p50@chat_seconds", "p90@chat_seconds", "p95@chat_seconds", "p99@chat_seconds", "rate@chat_per_second"},
		{"", "0.5", "", "", "", "", "200"},
		{"", "Inf", "Inf", "Inf", "Inf", "Inf", "164"},
		{"3", "", "", "", "", "", ""},
	} {
		if got := rows[i][from:]; !slices.Equal(got, want) {
			t.Errorf("row %d: %q, want %q", i, got, want)
		}
	}
}

// Whatever text of a record comes from outside: a history may be imported.
func TestNoCellOfACSVIsAFormula(t *testing.T) {
	const hostile = "\t=HYPERLINK(\"http://evil.example\")\x1b[31m"
	r := rec(1, hostile, hostile, hostile, hostile, 1, 0)
	r.Digest, r.Backend, r.Device, r.Environment.BackendVersion = hostile, hostile, hostile, hostile
	r.Failure.Kind, r.Failure.Op, r.Failure.Message = hostile, hostile, hostile
	r.Excluded = &Exclusion{Because: hostile, By: hostile, At: r.Finished}
	var b bytes.Buffer
	if err := WriteCSV(&b, all([]Record{r}, nil), nil); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	guarded := 0
	for i, cell := range rows[1] {
		if cell == "'=HYPERLINK(\"http://evil.example\") [31m" {
			guarded++
		} else if strings.IndexAny(strings.TrimSpace(cell), "=+-@") == 0 || strings.ContainsAny(cell, "\x1b\t\r\n") {
			t.Errorf("%s holds %q", rows[0][i], cell)
		}
	}
	if guarded < 10 {
		t.Errorf("only %d cells hold the text: %q", guarded, rows[1])
	}
}

func TestJSONLinesRoundTrip(t *testing.T) {
	var b bytes.Buffer
	if err := WriteJSONLines(&b, all([]Record{rec(1, "m", "1", engine.FP32, "e", 1, 0.25), rec(2, "m", "2", engine.FP32, "e", 2, 0)}, nil)); err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(&b)
	var got []Record
	for {
		var r Record
		if err := d.Decode(&r); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		got = append(got, r)
	}
	if len(got) != 2 || !got[0].OK() || got[1].Failure.Kind != engine.KindCrashed {
		t.Errorf("%+v", got)
	}
}

func TestExportsReportWhatBroke(t *testing.T) {
	gone := errors.New("disk gone")
	for _, write := range []func(io.Writer, iter.Seq2[Record, error]) error{table, WriteJSONLines} {
		if err := write(io.Discard, all(nil, gone)); !errors.Is(err, gone) {
			t.Errorf("error %v", err)
		}
	}
}
