package forecasting

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/units"
)

// The columns of a history; the last two may be left out.
var columns = []string{"time", "value", "valid", "environment"}

// ReadCSV reads the history of one series. The first line names the columns:
// time and value, and perhaps valid and environment, in any order. A time is
// RFC 3339, a day such as 2026-11-23 (midnight UTC), or Unix seconds. A value
// is a number in the base unit, or a quantity of unit u such as "42ms"; it may
// be empty where valid is false. Errors name the line.
func ReadCSV(r io.Reader, u units.Unit) ([]forecast.Observation, error) {
	in := csv.NewReader(r)
	in.TrimLeadingSpace = true
	in.ReuseRecord = true
	head, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("read history: it is empty, want a line that names the columns time,value")
	}
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	at := map[string]int{}
	for i, name := range head {
		name = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))
		if !slices.Contains(columns, name) {
			return nil, fmt.Errorf("read history, line 1: column %q is none of %s", name, strings.Join(columns, ", "))
		}
		if _, twice := at[name]; twice {
			return nil, fmt.Errorf("read history, line 1: column %q comes twice", name)
		}
		at[name] = i
	}
	for _, name := range columns[:2] {
		if _, ok := at[name]; !ok {
			return nil, fmt.Errorf("read history, line 1: no column %q; the first line must name the columns", name)
		}
	}
	var out []forecast.Observation
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read history: %w", err) // names the line
		}
		line, _ := in.FieldPos(0)
		o, err := observation(func(name string) string {
			i, ok := at[name]
			if !ok {
				return ""
			}
			return strings.TrimSpace(row[i])
		}, u)
		if err != nil {
			return nil, fmt.Errorf("read history, line %d: %w", line, err)
		}
		out = append(out, o)
	}
}

func observation(field func(string) string, u units.Unit) (o forecast.Observation, err error) {
	if o.Time, err = parseTime(field("time")); err != nil {
		return o, err
	}
	o.Valid = true
	if s := field("valid"); s != "" {
		if o.Valid, err = strconv.ParseBool(s); err != nil {
			return o, fmt.Errorf("valid %q is neither true nor false", s)
		}
	}
	o.Environment = strings.Clone(field("environment"))
	s := field("value")
	if s == "" && !o.Valid {
		return o, nil
	}
	if o.Value, err = strconv.ParseFloat(s, 64); err != nil || math.IsNaN(o.Value) || math.IsInf(o.Value, 0) {
		if o.Value, err = units.Parse(s, u); err != nil {
			return o, fmt.Errorf("value: %w", err)
		}
	}
	return o, nil
}

func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, time.DateOnly, time.DateTime} {
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
