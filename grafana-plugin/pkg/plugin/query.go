package plugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
	"github.com/grafana/grafana-plugin-sdk-go/data"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/plancast/plancast/grafana-plugin/pkg/models"
	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/tsdb"
	"github.com/plancast/plancast/tsdb/prom"
)

// atOnce is how many queries of one request are answered at the same time.
const atOnce = 8

// QueryData answers each query by itself: one that fails hides no other.
func (d *Datasource) QueryData(ctx context.Context, req *backend.QueryDataRequest) (*backend.QueryDataResponse, error) {
	out := backend.NewQueryDataResponse()
	who := identity(req.GetHTTPHeaders())
	var (
		mu sync.Mutex
		g  errgroup.Group
	)
	g.SetLimit(atOnce)
	for _, q := range req.Queries {
		g.Go(func() error {
			r := d.answer(ctx, q, who)
			mu.Lock()
			defer mu.Unlock()
			out.Responses[q.RefID] = r
			return nil
		})
	}
	return out, g.Wait()
}

// request is a query on its way to an answer.
type request struct {
	models.Query
	at       time.Time // the moment it speaks of
	from     time.Time // the begin of the time range
	to       time.Time // its end, which may lie ahead
	points   int
	interval time.Duration
	identity string
	history  *tsdb.History
	gate     *semaphore.Weighted // lets one forecast that uses all cores run at a time
}

// answers maps each question to who answers it.
var answers = map[models.Type]func(*Datasource, context.Context, *request) (data.Frames, error){
	models.Probability: (*Datasource).probability,
	models.Trend:       (*Datasource).trend,
	models.Forecast:    (*Datasource).forecast,
	models.When:        (*Datasource).when,
	models.Report:      (*Datasource).report,
	models.Drivers:     (*Datasource).drivers,
	models.Record:      (*Datasource).record,
	models.Annotations: (*Datasource).annotations,
}

func (d *Datasource) answer(ctx context.Context, q backend.DataQuery, who string) backend.DataResponse {
	query, err := models.ParseQuery(q, d.settings)
	if err != nil {
		return failed(err)
	}
	a := &request{
		Query: query, at: d.loader.Moment(q.TimeRange.To), from: q.TimeRange.From.UTC(), to: q.TimeRange.To.UTC(),
		points: int(q.MaxDataPoints), interval: q.Interval, identity: who, gate: d.gate,
	}
	frames, err := d.answers.Get(ctx, d.question(q, a), d.settings.Fresh, func(ctx context.Context) (frames data.Frames, err error) {
		defer func() {
			if p := recover(); p != nil {
				backend.Logger.Error("a query panicked", "refId", q.RefID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				err = errPanic
			}
		}()
		if frames, err = answers[query.Type](d, ctx, a); err == nil {
			a.evidence(frames)
		}
		return frames, err
	})
	if err != nil {
		return failed(err)
	}
	return backend.DataResponse{Frames: frames, Status: backend.StatusOK}
}

// errPanic stands for a defect of the plugin; what it was is in the log.
var errPanic = errors.New("the plugin failed on this query; its log has the details")

// question is what makes two queries the same: who asks what about which time.
// Those who load a dashboard together get one answer, computed once.
func (d *Datasource) question(q backend.DataQuery, a *request) string {
	round := func(t time.Time) int64 { return t.Truncate(max(d.settings.Fresh, time.Millisecond)).UnixMilli() }
	// refId and the like do not change the answer.
	var fields map[string]json.RawMessage
	text := string(q.JSON)
	if json.Unmarshal(q.JSON, &fields) == nil {
		for _, f := range []string{"refId", "key", "datasource", "datasourceId", "intervalMs", "maxDataPoints", "hide"} {
			delete(fields, f)
		}
		if b, err := json.Marshal(fields); err == nil {
			text = string(b)
		}
	}
	return fmt.Sprint(a.identity, "\x00", round(a.at), round(a.from), round(a.to), a.points, a.interval, "\x00", q.QueryType, "\x00", text)
}

// size is about how much memory frames take.
func size(frames data.Frames) int64 {
	var n int64
	for _, f := range frames {
		n += 512
		for _, x := range f.Fields {
			n += 256 + 24*int64(x.Len())
			for k, v := range x.Labels {
				n += 48 + int64(len(k)+len(v))
			}
		}
	}
	return n
}

// load finds the evidence of a query.
func (d *Datasource) load(ctx context.Context, a *request) (err error) {
	if a.Query.Query, err = d.loader.Define(ctx, a.Query.Query, a.at); err != nil {
		return err
	}
	a.history, err = d.loader.Load(ctx, a.Query.Query, a.at, a.identity)
	return err
}

// failed is the response to an error, with its status and whose it is. The
// text of an unknown error may hold anything, so it is not shown.
func failed(err error) backend.DataResponse {
	r := backend.DataResponse{Error: err, Status: backend.StatusInternal, ErrorSource: backend.ErrorSourcePlugin}
	var known *prom.Error
	switch {
	case errors.Is(err, terms.ErrInvalid):
		r.Status, r.ErrorSource = backend.StatusBadRequest, backend.ErrorSourceDownstream
	case errors.As(err, &known):
		r.Status, r.ErrorSource = backend.Status(known.Status), backend.ErrorSourceDownstream
		if known.Ours {
			r.ErrorSource = backend.ErrorSourcePlugin
		}
	case errors.Is(err, context.Canceled):
		r.Status, r.ErrorSource = 499, backend.ErrorSourceDownstream
		r.Error = errors.New("the query was canceled")
	case errors.Is(err, context.DeadlineExceeded):
		r.Status, r.ErrorSource = backend.StatusTimeout, backend.ErrorSourceDownstream
		r.Error = errors.New("the query took too long: shorten the history or narrow the expression")
	}
	return r
}
