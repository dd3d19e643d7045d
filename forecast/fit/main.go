// Command fit learns the coefficients of the forecast from histories of other
// projects, and says how well they carry over: every repository is scored with
// coefficients fitted without it.
//
//	go run ./forecast/fit [-folds FILE] [-max-history N] series.jsonl.gz goal.jsonl.gz goal-kept.jsonl.gz
//
// A file is a population; the first is the one that nobody worked on, and
// counts three times (see weights). A line of it is one history: "id",
// "source": {"repo"}, "direction" ("lower" or "higher" is better), "points"
// [[unix time, value], ...]. The questions are those of the walk-forward score:
// seeing only the first points, from the fourth on, is the best so far improved
// by a share of 2 to 40 % within 3 to 20 more? Each is asked twice: alone, and
// with what the other series of its repository had shown by then.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/plancast/plancast/forecast/internal/law"
)

func main() {
	folds := flag.String("folds", "", "write the coefficients fitted without each repository to this `file` (JSON)")
	only := flag.Bool("score", false, "only score the built-in coefficients on all histories")
	longest := flag.Int("max-history", math.MaxInt, "score only the questions asked with at most `N` results, as score.py --max-history does")
	flag.Parse()
	if flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(flag.Args(), *folds, *longest, *only, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "fit:", err)
		os.Exit(1)
	}
}

func run(paths []string, folds string, longest int, only bool, w io.Writer) error {
	s, err := load(paths)
	if err != nil {
		return err
	}
	asked := make([]*sample, len(paths))
	for p := range paths {
		asked[p] = s.of(p, longest)
	}
	if only {
		d := law.Default()
		report(w, "built-in coefficients, in sample", asked, func(string) *law.Coefficients { return &d })
		s.reportShifts(w, func(string) *law.Coefficients { return &d })
		return nil
	}
	all := s.fitLaws(law.Default(), start(), "", 300)
	s.fitBands(&all, "", 600)
	fmt.Fprintf(w, "fitted on everything:\n%+v\n%+v\n%+v\n%+v\n", all.Record, all.Work, all.State, all.Bands)
	without := map[string]*law.Coefficients{}
	for i, r := range s.repos {
		c := s.fitLaws(all, parameters(&all), r, 60)
		s.fitBands(&c, r, 200)
		without[r] = &c
		fmt.Fprintf(os.Stderr, "\r%d of %d repositories left out", i+1, len(s.repos))
	}
	fmt.Fprintln(os.Stderr)
	report(w, "in sample", asked, func(string) *law.Coefficients { return &all })
	report(w, "each repository left out", asked, func(r string) *law.Coefficients { return without[r] })
	s.reportShifts(w, func(r string) *law.Coefficients { return without[r] })
	if folds == "" {
		return nil
	}
	b, err := json.MarshalIndent(without, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(folds, b, 0o644)
}
