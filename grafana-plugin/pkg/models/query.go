package models

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strings"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/prometheus/common/model"

	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/tsdb"
	"github.com/plancast/plancast/tsdb/iterations"
	"github.com/plancast/plancast/tsdb/prom"
	"github.com/plancast/plancast/units"
)

// Type is the question that a query asks.
type Type string

// The questions, in the editor's order.
const (
	Probability Type = "probability"
	Trend       Type = "trend"
	Forecast    Type = "forecast"
	When        Type = "when"
	Report      Type = "report"
	Drivers     Type = "drivers"
	Record      Type = "record"
	Annotations Type = "annotations"
)

// Types lists all questions.
func Types() []Type {
	return []Type{Probability, Trend, Forecast, When, Report, Drivers, Record, Annotations}
}

// Show selects among the answers of one question.
type Show string

// What When and Record show; the first of each is the default.
const (
	ShowDate         Show = "date"
	ShowIterations   Show = "iterations"
	ShowDistribution Show = "distribution"

	showScore       Show = "score"
	ShowCalibration Show = "calibration"
)

// maxCriteria bounds the criteria of a query.
const maxCriteria = 20

// Query is one question, validated and with its defaults filled in. Of a Report
// it states no criteria.
type Query struct {
	Type Type
	tsdb.Query
	Interval bool           // add the bounds of probabilities
	Drawn    *regexp.Regexp // the criteria that a Forecast draws; nil is all
	Show     Show
	Legend   string
}

// wire is Query as the editor writes it; src/types.ts is its twin.
type wire struct {
	Type      Type            `json:"type"`
	Source    string          `json:"source"`
	Milestone string          `json:"milestone"`
	Criteria  []wireCriterion `json:"criteria"`
	Joint     bool            `json:"joint"`
	Share     *float64        `json:"share"` // percent
	Model     string          `json:"modelLabel"`
	Models    string          `json:"models"`

	Horizon    string               `json:"horizon"` // "iterations", "date", "both"
	Iterations *int                 `json:"iterations"`
	Deadline   string               `json:"deadline"`
	Ready      *float64             `json:"ready"` // percent
	Effort     forecast.EffortLevel `json:"effort"`

	By          iterations.By `json:"by"`
	IterationOf string        `json:"iterationSeries"`
	TimeOf      string        `json:"timeSeries"`
	Environment string        `json:"environmentLabel"`
	Fingerprint string        `json:"environment"`

	History    string        `json:"history"`
	Resolution string        `json:"resolution"`
	Interval   bool          `json:"interval"`
	Criterion  string        `json:"criterion"`
	Show       Show          `json:"show"`
	Legend     string        `json:"legend"`
	Filters    []prom.Filter `json:"adhocFilters"`
}

type wireCriterion struct {
	Name       string     `json:"name"`
	Expr       string     `json:"expr"`
	Comparison string     `json:"comparison"`
	Target     text       `json:"target"`
	Unit       units.Unit `json:"unit"`
}

// text is a JSON string, or a number for those who write queries by hand.
type text string

func (t *text) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] != '"' {
		var n json.Number
		if err := json.Unmarshal(b, &n); err != nil {
			return fmt.Errorf("must be a text such as \"50ms\" or a number")
		}
		*t = text(n)
		return nil
	}
	var s string
	err := json.Unmarshal(b, &s)
	*t = text(s)
	return err
}

// ParseQuery reads one query. Settings give the defaults; now is the end of
// the query's time range, from which relative deadlines count.
func ParseQuery(q backend.DataQuery, s Settings) (Query, error) {
	var w wire
	d := json.NewDecoder(bytes.NewReader(q.JSON))
	if err := d.Decode(&w); err != nil {
		return Query{}, invalid("query", "it cannot be read: %v", err)
	}
	if w.Type == "" {
		w.Type = Type(q.QueryType)
	}
	out := Query{
		Type: w.Type, Interval: w.Interval, Show: w.Show, Legend: w.Legend,
		Query: tsdb.Query{
			Joint: w.Joint, Share: terms.Share, Ready: terms.Ready, Model: or(w.Model, "model"), Models: w.Models,
			Effort: w.Effort, By: w.By, IterationOf: or(w.IterationOf, terms.IterationSeries), TimeOf: w.TimeOf,
			Environment: w.Environment, Fingerprint: w.Fingerprint,
			History: s.History, Resolution: s.Resolution, Filters: w.Filters,
		},
	}
	if err := out.kind(w); err != nil {
		return Query{}, err
	}
	if err := out.evidence(w); err != nil {
		return Query{}, err
	}
	if err := out.goal(w, q.TimeRange.To, s); err != nil {
		return Query{}, err
	}
	if w.Criterion != "" {
		drawn, err := regexp.Compile("^(?s:" + w.Criterion + ")$")
		if err != nil {
			return Query{}, invalid("criterion", "%v", err)
		}
		out.Drawn = drawn
	}
	if out.Type == Report || (out.Type == Annotations && len(w.Criteria) == 0 && w.Source != "milestone") {
		return out, nil
	}
	if w.Source == "milestone" {
		if strings.TrimSpace(w.Milestone) == "" {
			return Query{}, invalid("milestone", "choose one that the exporter publishes, or state criteria instead")
		}
		out.Milestone, out.Joint = w.Milestone, true
		// What is not stated is the milestone's own, see evidence.Define.
		if w.Horizon == "" {
			out.Iterations = 0
		}
		if w.Share == nil {
			out.Share = 0
		}
		if w.Ready == nil {
			out.Ready = 0
		}
		return out, nil
	}
	return out, out.criteria(w.Criteria)
}

func or(a, b string) string {
	if strings.TrimSpace(a) == "" {
		return b
	}
	return strings.TrimSpace(a)
}

func (q *Query) kind(w wire) error {
	known := false
	for _, t := range Types() {
		known = known || t == q.Type
	}
	if q.Type == "" {
		q.Type, known = Probability, true
	}
	if !known {
		return invalid("question", "%q is not a query type: use probability, trend, forecast, when, report, drivers, record or annotations", q.Type)
	}
	switch w.Source {
	case "", "criteria", "milestone":
	default:
		return invalid("source", "%q is neither criteria nor milestone", w.Source)
	}
	shows := map[Type][]Show{When: {ShowDate, ShowIterations, ShowDistribution}, Record: {showScore, ShowCalibration}}[q.Type]
	if len(shows) == 0 {
		q.Show = ""
		return nil
	}
	if q.Show == "" {
		q.Show = shows[0]
	}
	for _, s := range shows {
		if s == q.Show {
			return nil
		}
	}
	return invalid("show", "%q is not one of %v", q.Show, shows)
}

// evidence checks how the history is found and read.
func (q *Query) evidence(w wire) error {
	switch q.By {
	case "":
		q.By = iterations.BySeries
	case iterations.BySeries, iterations.ByChange, iterations.BySample:
	default:
		return invalid("iterations", "%q is not a way to count iterations: use series, change or sample", q.By)
	}
	if q.TimeOf == "" && q.IterationOf == terms.IterationSeries {
		q.TimeOf = terms.TimestampSeries
	}
	q.Exact = strings.TrimSpace(w.Resolution) != ""
	for _, x := range [][2]string{{"model label", q.Model}, {"environment label", q.Environment}} {
		if x[1] != "" && !model.LegacyValidation.IsValidLabelName(x[1]) {
			return invalid(x[0], "%q is not a label name", x[1])
		}
	}
	for _, x := range [][2]string{{"iteration series", q.IterationOf}, {"time series", q.TimeOf}} {
		if len(x[1]) > 1000 {
			return invalid(x[0], "it is longer than 1000 characters")
		}
	}
	if q.Models != "" {
		if _, err := regexp.Compile(q.Models); err != nil {
			return invalid("models", "%v", err)
		}
	}
	for i, f := range q.Filters {
		switch f.Operator {
		case "=", "!=", "=~", "!~":
		default:
			return invalid(fmt.Sprintf("filter %d", i+1), "%q is not an operator: use =, !=, =~ or !~", f.Operator)
		}
		if !model.LegacyValidation.IsValidLabelName(f.Key) {
			return invalid(fmt.Sprintf("filter %d", i+1), "%q is not a label name", f.Key)
		}
	}
	for _, x := range []struct {
		field, text string
		to          *time.Duration
		least       time.Duration
	}{{"history", w.History, &q.History, time.Minute}, {"resolution", w.Resolution, &q.Resolution, time.Second}} {
		if strings.TrimSpace(x.text) == "" {
			continue
		}
		v, err := terms.ParseDuration(strings.TrimSpace(x.text))
		if err != nil || v < x.least || v > terms.MaxLookBack {
			return invalid(x.field, "%q is not a duration of at least %s, such as 90d or 1y", x.text, terms.FormatDuration(x.least))
		}
		*x.to = v
	}
	return nil
}

// goal checks until when the criteria have to be met.
func (q *Query) goal(w wire, now time.Time, s Settings) error {
	if w.Share != nil {
		q.Share = *w.Share / 100
	}
	if w.Ready != nil {
		q.Ready = *w.Ready / 100
	}
	if math.IsNaN(q.Share) || q.Share <= 0 || q.Share > 1 {
		return invalid("share of models", "it must be more than 0 %% and at most 100 %%")
	}
	if math.IsNaN(q.Ready) || q.Ready <= 0 || q.Ready >= 1 {
		return invalid("ready probability", "it must be more than 0 %% and less than 100 %%")
	}
	if !q.Effort.Valid() {
		return invalid("effort", "%q is neither active nor maintenance: leave it out to infer it from the history", q.Effort)
	}
	switch w.Horizon {
	case "", "iterations", "date", "both":
	default:
		return invalid("horizon", "%q is not one of iterations, date, both", w.Horizon)
	}
	if w.Horizon != "date" {
		q.Iterations = s.Horizon
		if w.Iterations != nil {
			q.Iterations = *w.Iterations
		}
		if q.Iterations < 1 || q.Iterations > terms.MaxHorizon {
			return invalid("iterations", "%d is not between 1 and %d", q.Iterations, terms.MaxHorizon)
		}
	}
	if w.Horizon == "date" || w.Horizon == "both" {
		// Without a zone it is in UTC: a dashboard's zone is its reader's, and two
		// readers must see one deadline.
		t, err := terms.ParseRelativeDeadline(w.Deadline, time.UTC, now)
		if err != nil {
			return invalid("date", "%v", err)
		}
		q.Deadline = t
	}
	return nil
}

func (q *Query) criteria(list []wireCriterion) error {
	switch n := len(list); {
	case n == 0:
		return invalid("criteria", "state at least one, such as plancast_engine_latency_seconds{quantile=\"0.99\"} < 50ms")
	case n > maxCriteria:
		return invalid("criteria", "%d exceed the limit of %d", n, maxCriteria)
	}
	used := map[string]bool{}
	for i, c := range list {
		name := func(field string) string {
			if len(list) == 1 {
				return field
			}
			return fmt.Sprintf("%s of criterion %d", field, i+1)
		}
		if strings.TrimSpace(c.Expr) == "" {
			return invalid(name("expression"), "enter a PromQL expression, such as plancast_engine_latency_seconds{quantile=\"0.99\"}")
		}
		if !c.Unit.Valid() {
			return invalid(name("unit"), "%q is not a unit: use seconds, ratio, bytes, per_second or leave it empty", c.Unit)
		}
		target, err := units.Parse(string(c.Target), c.Unit)
		if err != nil {
			// A bare number is in the base unit, as PromQL would have it.
			if target, err = units.Parse(string(c.Target), units.None); err != nil {
				return invalid(name("target"), "%q is not %s", c.Target, units.Example(c.Unit))
			}
		}
		comparison := forecast.Comparison(c.Comparison)
		if comparison == "" {
			comparison = forecast.Below
		}
		if !comparison.Valid() {
			return invalid(name("comparison"), "%q is not one of <, <=, > and >=", c.Comparison)
		}
		metric := or(c.Name, Title(c.Expr))
		out := tsdb.Criterion{Expr: c.Expr, Criterion: forecast.Criterion{Metric: metric, Comparison: comparison, Target: target, Unit: c.Unit}}
		if key := out.String(); used[key] {
			out.Metric = fmt.Sprintf("%s (%d)", metric, i+1)
		} else {
			used[key] = true
		}
		if err := out.Validate(); err != nil {
			return invalid(name("criterion"), "%v", err)
		}
		q.Criteria = append(q.Criteria, out)
	}
	return nil
}
