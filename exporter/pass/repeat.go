package pass

import (
	"context"
	"fmt"

	"github.com/plancast/plancast/exporter/history"
)

// doubtful says why a result is worth measuring again; "" when it is not. An unstable
// one is where there were enough queries for the percentile that decides: more
// queries do not come from repeating.
func (r *Runner) doubtful(rec history.Record) string {
	if !rec.OK() {
		return ""
	}
	m := rec.Measurement
	_, enough := m.Latency.At(r.Config.GuardFor(rec.Model).Decisive())
	switch {
	case m.Disturbed():
		return "disturbed: " + m.Disturbance.Cause
	case !m.Stable && enough:
		return "not stable"
	}
	return ""
}

// attempt is one measurement of a job; because says why it is not the first.
type attempt struct {
	history.Record
	because string
}

// repeat measures a doubtful result again, before anybody hears of it: at most
// benchmark.repeat times, and only once the machine is quiet, which it waits for as
// long as a job may. It returns all attempts. What goes wrong costs the repetition
// alone.
func (r *Runner) repeat(ctx context.Context, b Backend, job Job, first history.Record, again func(n int) (history.Record, error)) []attempt {
	all := []attempt{{Record: first}}
	if job.Bridge {
		return all // history: nobody waits for it
	}
	for n := 1; n <= r.Config.Repeat; n++ {
		last := all[len(all)-1]
		why := r.doubtful(last.Record)
		if why == "" || !r.quiet(ctx, b, job) {
			break
		}
		r.Log.Info("Measuring a result again", "job", job.String(), "because", why)
		rec, err := again(n)
		if err != nil {
			if ctx.Err() == nil {
				r.Log.Warn("Cannot measure a doubtful result again", "job", job.String(), "err", err)
			}
			break
		}
		if rec.OK() && rec.Measurement.Disturbed() && !last.Measurement.Disturbed() {
			break // it is no better
		}
		all = append(all, attempt{rec, why})
	}
	return all
}

// keepAll makes the attempts of a job durable and completes their records. The last
// one that was measured counts.
func (r *Runner) keepAll(ctx context.Context, job Job, all []attempt) (err error) {
	counts := &all[0].Record
	if *counts, err = r.keep(ctx, job, *counts); err != nil {
		return err
	}
	for i := range all[1:] {
		x := &all[i+1]
		x.Record, err = r.Store.Supersede(ctx, x.Record, history.Author{Who: history.ByItself, Because: x.because, At: x.Finished})
		if err != nil {
			return fmt.Errorf("keep the repetition of %s: %w", job, err)
		}
		if x.OK() {
			counts.SupersededBy, counts = x.ID, &x.Record
		}
	}
	return nil
}

// quiet waits until other processes leave the processors alone. A job on a GPU waits
// for its device itself.
func (r *Runner) quiet(ctx context.Context, b Backend, job Job) bool {
	if r.Quiet == nil || b.Environment.Driver != "" {
		return ctx.Err() == nil
	}
	g := r.Config.GuardFor(job.Candidate.Model)
	return r.Quiet(ctx, g) && ctx.Err() == nil
}
