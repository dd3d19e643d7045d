// Command decode compares two ways to generate tokens with a decoder: with the
// key-value cache left in the memory in which the engine computes, as plancast times
// the phase decode, and with plain calls, for which each step's cache is copied out
// and in again. The two take turns, in one process, on the same inputs.
//
//	go run ./bench/decode -past 512,2048 MODEL...
//
// It prints, for each model and context, the time of a step as a ratio to that of the
// plain call.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plancast/plancast/bench/loaded"
	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/decoder"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/tensorio"
	"github.com/plancast/plancast/units"
)

// steps is how many tokens a turn generates.
const steps = 16

func main() {
	past := flag.String("past", "512,2048", "contexts in tokens, separated by commas")
	threads := flag.Int("threads", 1, "threads within an operator")
	rounds := flag.Int("rounds", 10, "turns of each way")
	flag.Parse()
	if flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "decode: name at least one model")
		os.Exit(2)
	}
	for _, model := range flag.Args() {
		if err := compare(context.Background(), model, *past, *threads, *rounds); err != nil {
			fmt.Fprintf(os.Stderr, "decode: %s: %v\n", model, err)
			os.Exit(1)
		}
	}
}

func compare(ctx context.Context, path, contexts string, threads, rounds int) (err error) {
	e, release, err := loaded.Engine(ctx, path, threads)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	layout, err := decoder.Recognize(e.Inputs(), e.Outputs())
	if err != nil {
		return err
	}
	for _, text := range strings.Split(contexts, ",") {
		tokens, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return err
		}
		chain, err := layout.Chain(e.Inputs(), tensorio.Shapes{Batch: 1}, decoder.Lengths{Sequence: 1, Past: tokens}, steps, 1)
		if err != nil {
			return err
		}
		kept, plain, err := turns(ctx, e, chain, rounds)
		if err != nil {
			return err
		}
		fmt.Printf("%s, %d tokens of context, a cache of %s: a step with the cache left in place / a plain call: %.3f (median %s / %s; %d turns of %d steps each, %d threads)\n",
			filepath.Base(path), tokens, units.Format(float64(layout.CacheBytes(1, tokens)), units.Bytes), kept/plain,
			units.Format(kept, units.Seconds), units.Format(plain, units.Seconds), rounds, steps, threads)
	}
	return nil
}

// turns are the medians of a step's time, in seconds. The order of the two ways changes
// with each turn.
func turns(ctx context.Context, e engine.Engine, c engine.Chain, rounds int) (kept, plain float64, err error) {
	var a, b []float64
	ways := []func() error{
		func() error {
			answers, err := e.Serve(ctx, []engine.Chain{c}, make([]engine.Request, steps), engine.ServeOptions{Concurrency: 1})
			for _, x := range answers {
				a = append(a, (x.End - x.Start).Seconds())
			}
			return err
		},
		func() error {
			begun := time.Now()
			_, err := engine.WalkPlainly(ctx, e, c)
			b = append(b, time.Since(begun).Seconds()/steps)
			return err
		},
	}
	for round := range rounds + 1 {
		if round == 1 {
			a, b = nil, nil // the first was the warm-up
		}
		for _, way := range ways {
			if err := way(); err != nil {
				return 0, 0, err
			}
		}
		slices.Reverse(ways)
	}
	return median(a), median(b), nil
}

func median(values []float64) float64 {
	return bench.NearestRank(slices.Sorted(slices.Values(values)), 0.5)
}
