package bench

import (
	"compress/gzip"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"

	"github.com/plancast/plancast/exporter/engine"
)

// timeline is what each round's window showed; accepted are the rounds that count.
func timeline(rounds, accepted []round) []TimedWindow {
	out := make([]TimedWindow, len(rounds))
	for i, x := range rounds {
		w := x.whole()
		sorted := slices.Sorted(slices.Values(w.Latencies))
		out[i] = TimedWindow{Queries: len(sorted), Elapsed: w.Elapsed, Disturbed: x.suffered, Accepted: holds(accepted, x)}
		if len(sorted) > 0 {
			out[i].P50 = NearestRank(sorted, 0.5)
		}
		if len(sorted) >= MinQueries(0.99) {
			out[i].P99 = new(NearestRank(sorted, 0.99))
		}
	}
	return out
}

// holds reports whether x is one of the rounds.
func holds(rounds []round, x round) bool {
	return slices.ContainsFunc(rounds, func(y round) bool { return &y.own[0] == &x.own[0] })
}

// mostSamples bounds how many queries WriteSamples writes: of more, evenly many are
// left out.
const mostSamples = 50_000

// WriteSamples writes the latency of queries as a compressed table, a line each in
// the order in which they were timed: the window that they belong to, counted
// from 1, and seconds.
func WriteSamples(w io.Writer, windows [][]float64) error {
	total := 0
	for _, of := range windows {
		total += len(of)
	}
	every := (total + mostSamples - 1) / mostSamples
	z := gzip.NewWriter(w)
	line := []byte("window,latency_seconds\n")
	n := 0
	for i, of := range windows {
		for _, v := range of {
			if n%every == 0 {
				line = strconv.AppendInt(line, int64(i+1), 10)
				line = append(line, ',')
				line = strconv.AppendFloat(line, v, 'g', 7, 64)
				line = append(line, '\n')
				if _, err := z.Write(line); err != nil {
					return err
				}
				line = line[:0]
			}
			n++
		}
	}
	if _, err := z.Write(line); err != nil { // the head of a table without lines
		return err
	}
	return z.Close()
}

// keepSamples writes the samples of the rounds that count, where they are wanted.
func (r *run) keepSamples(accepted []round) error {
	if r.job.SamplesPath == "" {
		return nil
	}
	windows := make([][]float64, len(accepted))
	for i, x := range accepted {
		windows[i] = x.whole().Latencies
	}
	f, err := os.Create(r.job.SamplesPath)
	if err == nil {
		err = errors.Join(WriteSamples(f, windows), f.Close())
	}
	if err != nil {
		return engine.Errorf(engine.KindInternal, "keep samples", r.job.SamplesPath, "%v", err)
	}
	return nil
}
