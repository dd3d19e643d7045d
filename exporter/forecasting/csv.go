package forecasting

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/units"
)

// CSV says how to read the history of one series from a table as people have them:
// with a head or without one, separated by commas, semicolons or tabs.
type CSV struct {
	Unit units.Unit // base unit of the values
	// Suffix is the unit of numbers without one, such as "ms"; "" is that of the
	// head, or the base unit.
	Suffix string
	Metric string // the column of the values may be named so
}

// timeNames are the names of a column of times.
var timeNames = []string{"time", "date", "day", "timestamp", "datetime", "finished"}

// table says what the columns of a table are.
type table struct {
	time, value, valid, environment int // -1: there is none
	name                            string
	suffix                          string
}

// ReadCSV is CSV.Read of a table in base units.
func ReadCSV(r io.Reader, u units.Unit) ([]forecast.Observation, error) {
	out, _, err := CSV{Unit: u}.Read(r)
	return out, err
}

// Read reads the history of one series. Of the columns one holds times: RFC 3339, a
// day such as 2026-11-23 (midnight UTC), either with a time, or Unix seconds. Another
// holds values: numbers, or quantities such as "42ms"; a value may be empty where a
// column valid says false. A column environment is taken as well, and all others are
// left. note says what was read. Errors name the line.
func (c CSV) Read(r io.Reader) (out []forecast.Observation, note string, err error) {
	text := bufio.NewReader(r)
	in := csv.NewReader(text)
	in.TrimLeadingSpace, in.ReuseRecord = true, true
	in.Comma = separator(text)
	row, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, "", errors.New("read history: it is empty: give a table with the columns date,value")
	}
	if err != nil {
		return nil, "", fmt.Errorf("read history: %w", err)
	}
	t, head, err := c.columns(row)
	if err != nil {
		return nil, "", fmt.Errorf("read history, line 1: %w", err)
	}
	for ; ; head = false {
		if !head {
			line, _ := in.FieldPos(0)
			o, err := c.observation(t, row)
			if err != nil {
				return nil, "", fmt.Errorf("read history, line %d: %w", line, err)
			}
			out = append(out, o)
		}
		row, err = in.Read()
		if errors.Is(err, io.EOF) {
			return out, c.note(t, out), nil
		}
		if err != nil {
			return nil, "", fmt.Errorf("read history: %w", err) // names the line
		}
	}
}

// separator is what divides the cells of the first line.
func separator(r *bufio.Reader) rune {
	first, _ := r.Peek(4096) // as much as there is
	line, _, _ := strings.Cut(string(first), "\n")
	for _, s := range []rune{';', '\t'} {
		if strings.ContainsRune(line, s) && !strings.Contains(line, ",") {
			return s
		}
	}
	return ','
}

// columns says what the columns of a table are by its first row, and whether that is
// a head.
func (c CSV) columns(row []string) (t table, head bool, err error) {
	t = table{time: -1, value: -1, valid: -1, environment: -1, suffix: c.Suffix}
	if _, err := parseTime(cell(row, 0)); err == nil { // no head
		if len(row) != 2 {
			return t, false, fmt.Errorf("%d columns without names: give a first line such as date,value", len(row))
		}
		t.time, t.value, t.name = 0, 1, "the second column"
		return t, false, nil
	}
	var others []int
	for i := range row {
		name := strings.ToLower(cell(row, i))
		place := map[string]*int{"valid": &t.valid, "environment": &t.environment, "value": &t.value}[name]
		switch {
		case slices.Contains(timeNames, name):
			place = &t.time
		case place == nil:
			others = append(others, i)
			continue
		}
		if *place >= 0 {
			return t, true, fmt.Errorf("the columns %q and %q mean the same: remove one", shown(row[*place]), shown(row[i]))
		}
		*place = i
	}
	if t.value < 0 {
		t.value = c.valueAmong(row, others)
	}
	switch {
	case t.time < 0:
		return t, true, fmt.Errorf("no column of times: name one of %s; there are %s", strings.Join(timeNames, ", "), listed(row))
	case t.value < 0:
		return t, true, fmt.Errorf("no column of values: name one value; there are %s", listed(row))
	}
	values := cell(row, t.value)
	t.name = "column " + strconv.Quote(shown(row[t.value]))
	if other := c.otherQuantity(values); other != "" {
		return t, true, fmt.Errorf("%s holds %s, and the criterion is about %s: write a criterion about %s, or rename the column to value", t.name, other, c.Metric, other)
	}
	if t.suffix == "" {
		if t.suffix = c.suffixOf(values); t.suffix == "" && c.otherUnit(values) {
			_, suffix := split(values)
			return t, true, fmt.Errorf("%s is in %s, which is no unit of %s: name the right one with --unit", t.name, shown(suffix), c.Metric)
		}
	}
	return t, true, nil
}

// valueAmong is the column named after the metric, with or without a unit, or the
// only one; -1 when there is none.
func (c CSV) valueAmong(row []string, others []int) int {
	for _, i := range others {
		if name, _ := split(cell(row, i)); c.Metric != "" && strings.EqualFold(name, c.Metric) {
			return i
		}
	}
	if len(others) == 1 {
		return others[0]
	}
	return -1
}

// split divides a head such as "p99_ms", "p99 (ms)" or "p99 [ms]" into name and unit.
func split(head string) (name, suffix string) {
	i := strings.LastIndexAny(head, "_([ ")
	if i < 0 {
		return head, ""
	}
	return strings.TrimRight(head[:i], "_([ "), strings.Trim(head[i+1:], ")] ")
}

// suffixOf is the unit in a head, "" when it has none of the series' unit.
func (c CSV) suffixOf(head string) string {
	_, suffix := split(head)
	if suffix == string(units.Seconds) {
		suffix = "s"
	}
	if c.Unit == units.None || !isUnit(suffix, c.Unit) {
		return ""
	}
	return suffix
}

// isUnit reports whether a suffix such as "ms" is a unit that u is written in; the 1 of
// "top_1" is none.
func isUnit(suffix string, u units.Unit) bool {
	if suffix == "" || strings.ContainsAny(suffix[:1], "0123456789.") {
		return false
	}
	_, err := units.Parse("1"+suffix, u)
	return err == nil
}

// otherUnit reports whether a head names a unit that the series cannot have, such as the
// MiB of a time.
func (c CSV) otherUnit(head string) bool {
	_, suffix := split(head)
	return c.Unit != units.None && slices.ContainsFunc([]units.Unit{units.Seconds, units.Bytes, units.Ratio, units.PerSec}, func(u units.Unit) bool {
		return isUnit(suffix, u) && !isUnit(suffix, c.Unit)
	})
}

// otherQuantity is the quantity that a head names, where the criterion is about another.
func (c CSV) otherQuantity(head string) string {
	if _, err := terms.QuantityByName(c.Metric); err != nil {
		return ""
	}
	short, _ := split(head)
	for _, name := range []string{strings.ToLower(head), strings.ToLower(short)} {
		if _, err := terms.QuantityByName(name); err == nil {
			if name == c.Metric {
				return ""
			}
			return name
		}
	}
	return ""
}

// note reads `Read 5 values in ms from column "p99_ms", 2026-10-01 to 2026-10-27.`
func (c CSV) note(t table, read []forecast.Observation) string {
	if len(read) == 0 {
		return "The table has no row below its head"
	}
	unit := t.suffix
	if unit == "" && c.Unit != units.None {
		unit = strings.ReplaceAll(string(c.Unit), "_", " ")
	}
	if unit != "" {
		unit = " (numbers without a unit are in " + unit + ")"
	}
	first, last := read[0].Time, read[0].Time
	for _, o := range read {
		if o.Time.Before(first) {
			first = o.Time
		}
		if o.Time.After(last) {
			last = o.Time
		}
	}
	return fmt.Sprintf("Read %s from %s, %s to %s%s", units.Count(len(read), "value"), t.name, first.Format(time.DateOnly), last.Format(time.DateOnly), unit)
}

func (c CSV) observation(t table, row []string) (o forecast.Observation, err error) {
	if o.Time, err = parseTime(cell(row, t.time)); err != nil {
		return o, err
	}
	o.Valid = true
	if s := cell(row, t.valid); s != "" {
		if o.Valid, err = strconv.ParseBool(s); err != nil {
			return o, fmt.Errorf("valid %q is neither true nor false", s)
		}
	}
	o.Environment = strings.Clone(cell(row, t.environment))
	s := cell(row, t.value)
	if s == "" && !o.Valid {
		return o, nil
	}
	if o.Value, err = strconv.ParseFloat(s, 64); err == nil && t.suffix == "" && !math.IsNaN(o.Value) && !math.IsInf(o.Value, 0) {
		return o, nil
	}
	if err == nil {
		s += t.suffix
	}
	if o.Value, err = units.Parse(s, c.Unit); err != nil {
		return o, fmt.Errorf("value: %w", err)
	}
	return o, nil
}

// cell is a cell without white space and without a byte order mark; "" where there
// is none.
func cell(row []string, i int) string {
	if i < 0 || i >= len(row) {
		return ""
	}
	return strings.TrimSpace(strings.TrimPrefix(row[i], "\ufeff"))
}

func shown(name string) string { return outside.Line(strings.TrimPrefix(name, "\ufeff"), 50) }

// listed are the names of a head, for an error.
func listed(row []string) string {
	const most = 20
	var names []string
	for _, name := range row[:min(len(row), most)] {
		names = append(names, shown(name))
	}
	return strings.Join(names, ", ")
}

func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly, time.DateTime, "2006-01-02T15:04:05", "2006-01-02 15:04", "2006-01-02T15:04"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	if x, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(x) < 1e11 {
		whole, part := math.Modf(x)
		return time.Unix(int64(whole), int64(part*1e9)).UTC(), nil
	}
	return time.Time{}, fmt.Errorf("time %q is not RFC 3339, a day such as 2026-11-23, or Unix seconds", s)
}
