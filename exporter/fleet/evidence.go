package fleet

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"time"

	"github.com/plancast/plancast/exporter/config"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/standing"
	"github.com/plancast/plancast/forecast"
	"github.com/plancast/plancast/tsdb"
)

// published is how long a model counts as present after its last sample: a host
// that is down for a while takes nothing away from what it measured.
const published = 24 * time.Hour

// evidence is what a state is derived from, besides the reading and the
// configuration.
type evidence struct {
	tracker   standing.Tracker
	texts     texts             // of the histories
	sums      map[string]uint64 // of each model's history, to notice a change
	track     *forecast.Score
	untracked bool // track lacks some history
}

// take takes the history of a subject, unless it is what is known.
func (e *evidence) take(m tsdb.Measured) {
	if e.sums == nil {
		e.sums, e.texts = map[string]uint64{}, texts{}
	}
	list := e.texts.records(m)
	n := sum(list)
	if known, ok := e.sums[m.Name]; ok && known == n {
		return
	}
	e.sums[m.Name], e.untracked = n, true
	e.tracker.Replace(m.Name, list)
}

// derive makes the state of a reading whose histories were taken. The state is whole
// even when a milestone has no forecast, as the error says.
func (e *evidence) derive(r *tsdb.Reading, cfg config.Config) (*standing.State, error) {
	in := standing.Evidence{
		Now: r.At, Milestones: cfg.Milestones, By: cfg.Source.By, Track: e.track,
		Left: map[string]time.Time{}, Labels: map[string]map[string]string{},
	}
	for _, s := range r.Subjects {
		in.Labels[s.Name] = s.Labels
		if r.At.Sub(s.Seen) > published {
			in.Left[s.Name] = s.Seen
		} else {
			in.Models = append(in.Models, held(s, cfg))
		}
	}
	for name := range e.sums {
		if in.Labels[name] == nil { // all of it lies too far back
			delete(e.sums, name)
			e.tracker.Forget(name)
		}
	}
	return e.tracker.Derive(in)
}

// held is what a subject's exporter holds, as far as a store knows.
func held(s tsdb.Subject, cfg config.Config) standing.Held {
	h := standing.Held{Name: s.Name, Owner: cfg.ModelFor(s.Labels["model"]).Owner, Precisions: precisions(s), Fingerprint: s.Environment}
	known := map[string]bool{}
	for _, p := range h.Precisions {
		if c := s.Live[string(p)]; c.Version != "" && !known[c.Version] {
			known[c.Version] = true
			h.Versions = append(h.Versions, standing.Version{Version: c.Version, Digest: c.Digest, State: standing.Accepted})
		}
	}
	return h
}

// sum changes with everything that entries say.
func sum(list []history.Record) uint64 {
	h := fnv.New64a()
	var buf []byte
	for _, r := range list {
		e := history.EntryOf(r)
		buf = append(buf[:0], e.Version+"\x00"+e.Digest+"\x00"+string(e.Precision)+"\x00"+e.Fingerprint+"\x00"+string(e.Failure)+"\x00"+r.Environment.BackendVersion+"\x00"+string(e.Figures)...)
		for _, n := range []int64{int64(e.Iteration), int64(e.Finished), int64(e.Unquantized)} {
			buf = binary.LittleEndian.AppendUint64(buf, uint64(n))
		}
		for _, v := range e.Values {
			buf = binary.LittleEndian.AppendUint64(buf, math.Float64bits(v))
		}
		for _, b := range []bool{e.Disturbed, e.NoEffect} {
			if b {
				buf = append(buf, 1)
			} else {
				buf = append(buf, 0)
			}
		}
		if r.OK() && r.Measurement.Comparison != nil {
			buf = fmt.Appendf(buf, "%+v", *r.Measurement.Comparison)
		}
		h.Write(buf)
	}
	return h.Sum64()
}
