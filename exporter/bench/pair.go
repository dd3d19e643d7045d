package bench

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/plancast/plancast/exporter/engine"
)

// Partner is the engine that takes turns with the candidate's: that of the
// candidate before, or a second build of the candidate itself, which shows what
// building alone changes.
type Partner struct {
	Version string `json:"version"` // whose engine it is
	Digest  string `json:"digest"`
	// Iteration is that of its result in the candidate's environment; 0 without one there.
	Iteration int `json:"iteration,omitempty"`
	// Rebuild says that it is the candidate itself, built a second time.
	Rebuild bool `json:"rebuild,omitempty"`
	// Plan is the engine as it was kept. Without one, or when its file is gone,
	// the engine is built from ModelPath and CalibrationPath, which are "" when
	// the repository no longer holds the candidate.
	Plan            *engine.Plan `json:"plan,omitempty"`
	ModelPath       string       `json:"model_path,omitempty"`
	CalibrationPath string       `json:"calibration_path,omitempty"`
}

// Comparison is the candidate's engine against that of a partner, measured in
// turns during the same visit.
type Comparison struct {
	Version   string   `json:"version"` // the partner's
	Digest    string   `json:"digest"`
	Iteration int      `json:"iteration,omitempty"` // the partner's in this environment; 0 where it has none
	Windows   int      `json:"windows"`             // of each
	Disturbed bool     `json:"disturbed,omitempty"` // other work disturbed them: no verdict is given
	Changes   []Change `json:"changes"`             // only figures for which the queries suffice
}

// Change is the ratio of one figure of the candidate to the partner's.
type Change struct {
	Quantity string  `json:"quantity"` // "mean", "p50", "p90", "p95", "p99", "throughput"
	Ratio    float64 `json:"ratio"`    // of a time below 1: the candidate is faster
	// The ratio lies between Low and High with IntervalConfidence.
	Low     float64 `json:"low"`
	High    float64 `json:"high"`
	Verdict Verdict `json:"verdict"`
	// WithinRebuild says that building the same candidate twice has changed this
	// figure as much.
	WithinRebuild bool `json:"within_rebuild,omitempty"`
}

// Verdict is what the interval of a change says.
type Verdict string

// The verdicts. The margin is Guard.Margin.
const (
	Changed      Verdict = "changed"      // the interval clears the margin
	Equivalent   Verdict = "equivalent"   // the interval lies inside the margin: two one-sided tests
	Inconclusive Verdict = "inconclusive" // neither
)

// Of returns the change of a quantity, false when there is none.
func (c *Comparison) Of(quantity string) (Change, bool) {
	if c == nil {
		return Change{}, false
	}
	i := slices.IndexFunc(c.Changes, func(x Change) bool { return x.Quantity == quantity })
	if i < 0 {
		return Change{}, false
	}
	return c.Changes[i], true
}

// partner is a loaded Partner.
type partner struct {
	Partner
	engine engine.Engine
}

// meet loads the partner's engine beside the candidate's. Whatever goes wrong
// costs the comparison alone.
func (r *run) meet(ctx context.Context) error {
	p := r.job.Partner
	if p == nil || p.Rebuild && (r.m.Plan.Reused || r.m.Plan.Duration > r.job.Guard.Rebuild) {
		return nil
	}
	r.progress(engine.Progress{Stage: "load", Message: "the engine to compare with: " + p.name()})
	e, err := r.loadPartner(ctx, *p)
	if err == nil && !slices.EqualFunc(e.Inputs(), r.inputs, alike) {
		err = fmt.Errorf("its inputs are %v and the candidate's are %v", e.Inputs(), r.inputs)
		_ = e.Close()
	}
	if err == nil {
		inputs, failed := r.timed(r.batches[0])
		if err = failed; err == nil {
			_, err = e.Time(ctx, inputs, engine.TimeOptions{Concurrency: 1, Queries: 1, Duration: r.job.Options.WarmUp, MaxDuration: r.job.Options.MaxWindow})
		}
		if err != nil {
			_ = e.Close()
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		r.warn("not measured in turns with %s: %v", p.name(), err)
		return nil
	}
	r.partner = &partner{*p, e}
	return nil
}

func (p Partner) name() string {
	if p.Rebuild {
		return "a second build of the same candidate"
	}
	return "version " + p.Version
}

// alike tells whether two inputs take the same tensors.
func alike(a, b engine.TensorInfo) bool {
	return a.Name == b.Name && a.DType == b.DType && slices.EqualFunc(a.Dims, b.Dims, func(x, y engine.Dim) bool { return x.Size == y.Size })
}

func (r *run) loadPartner(ctx context.Context, p Partner) (engine.Engine, error) {
	if p.Plan != nil {
		if _, err := os.Stat(p.Plan.Path); err == nil {
			return r.backend.Load(ctx, *p.Plan, r.loadOptions())
		}
	}
	if p.ModelPath == "" {
		return nil, fmt.Errorf("its engine is not kept, and the repository no longer holds the candidate")
	}
	return r.buildBeside(ctx, p.ModelPath, "partner", func(req *engine.BuildRequest) {
		req.CalibrationPath, req.Digest = p.CalibrationPath, p.Digest
		if p.Rebuild {
			req.Kept.Plans = "" // or it would be the same engine
		}
	})
}

// part closes the partner's engine.
func (r *run) part() error {
	if r.partner == nil {
		return nil
	}
	p := r.partner
	r.partner = nil
	return p.engine.Close()
}

// compare records what the turns say of the change.
func (r *run) compare(rounds []round) {
	if r.partner == nil {
		return
	}
	c := r.comparison(rounds)
	if x, ok := r.throughputChange(); ok {
		c.Changes = append(c.Changes, x)
	}
	r.weigh(c)
	if r.partner.Rebuild {
		if !c.Disturbed {
			r.m.Rebuild = c
		}
		return
	}
	r.m.Comparison = c
}

// comparison is what the turns of the latency show: the quiet ones, or all where there
// are none.
func (r *run) comparison(rounds []round) *Comparison {
	quiet := pairs(rounds, true)
	c := &Comparison{Version: r.partner.Version, Digest: r.partner.Digest, Iteration: r.partner.Iteration}
	if len(quiet) == 0 {
		quiet, c.Disturbed = pairs(rounds, false), true
	}
	c.Windows = len(quiet)
	c.Changes = r.changes(quiet)
	return c
}

// weigh takes the verdict back from changes that were disturbed, and says which lie
// within what a rebuild changes.
func (r *run) weigh(c *Comparison) {
	for i := range c.Changes {
		x := &c.Changes[i]
		if c.Disturbed {
			x.Verdict = Inconclusive
		}
		drawn, ok := r.job.Rebuild.Of(x.Quantity)
		far := math.Abs(math.Log(x.Ratio))
		x.WithinRebuild = ok && !r.partner.Rebuild && x.Verdict == Changed && far <= max(math.Abs(math.Log(drawn.Low)), math.Abs(math.Log(drawn.High)))
	}
}

// changes compares the turns of rounds, figure by figure.
func (r *run) changes(rounds []round) []Change {
	var own, other [][]float64
	for _, x := range rounds {
		for i, w := range x.partner {
			own, other = append(own, x.own[i].Latencies), append(other, w.Latencies)
		}
	}
	var out []Change
	add := func(quantity string, figure func([]float64) float64, least int) {
		if c, ok := r.job.Guard.change(quantity, own, other, figure, least); ok {
			out = append(out, c)
		}
	}
	add("mean", func(v []float64) float64 { return stat.Mean(v, nil) }, 1)
	for _, q := range Percentiles {
		add(QuantityOf(q), func(v []float64) float64 { return NearestRank(slices.Sorted(slices.Values(v)), q) }, leastQueries(q))
	}
	return out
}

// leastQueries is how many queries a section takes for a percentile: two beyond it.
func leastQueries(q float64) int { return int(math.Ceil(2 / (1 - q))) }

// sections is how many turns of that many queries make a section of least queries.
func sections(least, queries int) int {
	queries = max(queries, 1)
	return (max(least, 1) + queries - 1) / queries
}

// change is the Ratio of a figure with its verdict.
func (g Guard) change(quantity string, own, other [][]float64, figure func([]float64) float64, least int) (Change, bool) {
	ratio, low, high, ok := Ratio(own, other, figure, least)
	return Change{Quantity: quantity, Ratio: ratio, Low: low, High: high, Verdict: g.verdict(low, high)}, ok
}

// QuantityOf names a percentile as history.Quantities do: "p99".
func QuantityOf(q float64) string { return fmt.Sprintf("p%v", math.Round(1000*q)/10) }

// verdict holds an interval against the margin.
func (g Guard) verdict(low, high float64) Verdict {
	upper := 1 + g.Margin
	lower := 1 / upper
	switch {
	case low > upper || high < lower:
		return Changed
	case low >= lower && high <= upper:
		return Equivalent
	}
	return Inconclusive
}

// fewestSections is the least number of pairs of sections for which a signed-rank
// interval has IntervalConfidence.
const fewestSections = 5

// Ratio is a figure of own over that of other, with the interval in which it
// lies with IntervalConfidence. Both are turns that alternated: own[i] and
// other[i] were timed one after the other. Neighboring turns are joined until
// each section has least queries; ok is false with fewer than five sections.
//
// Each pair of sections gives a ratio of its own. What slows the machine down
// for longer than a pair meets both, and cancels; a burst, or a change of speed
// within a pair, makes a few ratios wrong by any amount and, as the order
// alternates, to either side. So the ratio is the Hodges-Lehmann estimate of
// their center (the median of all means of two, on a logarithmic scale), and
// the interval is Wilcoxon's signed-rank test turned round: it takes no normal
// distribution, only a symmetric one.
//
// Source: Hodges and Lehmann, "Estimates of Location Based on Rank Tests",
// Annals of Mathematical Statistics 34 (1963); Hollander, Wolfe and Chicken,
// "Nonparametric Statistical Methods" (2014), 3.2 and 3.3.
func Ratio(own, other [][]float64, figure func([]float64) float64, least int) (ratio, low, high float64, ok bool) {
	size := shortest(own, other)
	if len(own) == 0 || size == 0 {
		return 0, 0, 0, false
	}
	group := sections(least, size)
	own, other = joinedTurns(own, group), joinedTurns(other, group)
	n := len(own)
	if n < fewestSections {
		return 0, 0, 0, false
	}
	logs := make([]float64, n)
	for i := range own {
		logs[i] = math.Log(figure(own[i]) / figure(other[i]))
	}
	means := make([]float64, 0, n*(n+1)/2)
	for i := range logs {
		for k := i; k < n; k++ {
			means = append(means, (logs[i]+logs[k])/2)
		}
	}
	slices.Sort(means)
	outside := signedRank(n)
	center := (means[(len(means)-1)/2] + means[len(means)/2]) / 2
	return math.Exp(center), math.Exp(means[outside]), math.Exp(means[len(means)-1-outside]), true
}

// signedRank is how many of the n(n+1)/2 means of two lie beyond each end of the
// interval: the largest k for which Wilcoxon's statistic of n differences is
// below k+1 with a probability of at most half of what IntervalConfidence leaves.
func signedRank(n int) int {
	most := n * (n + 1) / 2
	chance := make([]float64, most+1) // of each sum of ranks with a positive sign
	chance[0] = 1
	for rank := 1; rank <= n; rank++ {
		for sum := most; sum >= 0; sum-- {
			chance[sum] /= 2
			if sum >= rank {
				chance[sum] += chance[sum-rank] / 2
			}
		}
	}
	k, below := -1, 0.0
	for below+chance[k+1] <= (1-IntervalConfidence)/2 {
		k++
		below += chance[k]
	}
	return max(k, 0)
}

func shortest(lists ...[][]float64) int {
	least := math.MaxInt
	for _, list := range lists {
		for _, v := range list {
			least = min(least, len(v))
		}
	}
	return least
}

// joinedTurns joins each group of neighbors; what is left over joins the last.
func joinedTurns(list [][]float64, group int) [][]float64 {
	var out [][]float64
	for i := 0; i+group <= len(list); i += group {
		end := i + group
		if end+group > len(list) {
			end = len(list)
		}
		out = append(out, slices.Concat(list[i:end]...))
	}
	return out
}

// student is the quantile of Student's distribution that IntervalConfidence takes.
func student(freedom int) float64 {
	return distuv.StudentsT{Sigma: 1, Nu: float64(freedom)}.Quantile((1 + IntervalConfidence) / 2)
}

// undecided tells whether more turns are to be taken with the partner: the
// comparison is open after one quiet round of them, or after more where the
// windows that are left could decide it. The interval shrinks with the root of
// their number. A comparison costs no window more than the latency then.
func (r *run) undecided(rounds []round) bool {
	if r.partner == nil {
		return false
	}
	quiet := pairs(rounds, true)
	if len(quiet) == 0 || r.partner.Rebuild {
		return len(quiet) < 2
	}
	quantity := QuantityOf(r.job.Guard.Decisive())
	changes := r.changes(quiet)
	i := slices.IndexFunc(changes, func(c Change) bool { return c.Quantity == quantity })
	switch {
	case i >= 0 && changes[i].Verdict != Inconclusive:
		return false
	case len(quiet) < 2:
		return true
	case i < 0:
		return false
	}
	have := 0
	for _, x := range quiet {
		have += len(x.partner)
	}
	most := have / len(quiet) * (len(quiet) + r.job.Options.MaxWindows - len(rounds))
	c := changes[i]
	half := math.Log(c.High/c.Low) / 2 * math.Sqrt(float64(have)/float64(most))
	return r.job.Guard.verdict(c.Ratio*math.Exp(-half), c.Ratio*math.Exp(half)) != Inconclusive
}

// pairs are the rounds in which both engines were timed; quiet leaves out those
// that were disturbed.
func pairs(rounds []round, quiet bool) []round {
	return slices.DeleteFunc(slices.Clone(rounds), func(x round) bool { return len(x.partner) == 0 || quiet && x.suffered })
}
