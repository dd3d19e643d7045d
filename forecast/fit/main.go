// Command fit learns the coefficients of the forecast from histories of other
// projects, and says how well they carry over: every repository is scored with
// coefficients fitted without it.
//
//	go run ./forecast/fit [-folds FILE] series.jsonl.gz
//
// A line of the file is one history: "id", "source": {"repo"}, "direction"
// ("lower" or "higher" is better), "points" [[unix time, value], ...]. The
// questions are those of the walk-forward score: seeing only the first points,
// is the best so far improved by a share of 2 to 40 % within 3 to 20 more?
package main

import (
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"slices"

	"gonum.org/v1/gonum/optimize"

	"github.com/plancast/plancast/forecast/internal/law"
)

var (
	shares = []float64{0.02, 0.05, 0.10, 0.20, 0.40}
	steps  = []int{3, 5, 10, 20}
)

type history struct {
	ID     string
	Source struct{ Repo string }
	// Direction is "lower" or "higher".
	Direction string
	Points    [][2]float64
}

// cut is what is known of a history at one moment.
type cut struct {
	series, repo int
	n            float64
	spread       float64
	errors       law.Errors
	centre       []float64
	weight       float64
	questions    []question
	ahead        []ahead
}

type question struct {
	gap, share float64
	steps      int
	target     float64 // on the scale
	hit        bool
}

// ahead is the outcome of a band: the value some steps later.
type ahead struct {
	steps       int
	z           float64
	value, last float64
}

type sample struct {
	histories []history
	repos     []string
	cuts      []*cut
	engines   []*law.Engine // of each cut
	scales    []law.Scale
}

func main() {
	folds := flag.String("folds", "", "write the coefficients fitted without each repository to this `file` (JSON)")
	only := flag.Bool("score", false, "only score the built-in coefficients on all histories")
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(flag.Arg(0), *folds, *only, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "fit:", err)
		os.Exit(1)
	}
}

func run(path, folds string, only bool, w io.Writer) error {
	s, err := load(path)
	if err != nil {
		return err
	}
	rate := baseRate(s)
	if only {
		d := law.Default()
		s.report(w, "built-in coefficients, in sample", rate, func(int) *law.Coefficients { return &d })
		return nil
	}
	all := s.fit(func(*cut) bool { return true })
	fmt.Fprintf(w, "fitted on everything: %+v\n", all)
	without := make([]law.Coefficients, len(s.repos))
	for r := range s.repos {
		without[r] = s.fit(func(c *cut) bool { return c.repo != r })
		fmt.Fprintf(os.Stderr, "\r%d of %d repositories left out", r+1, len(s.repos))
	}
	fmt.Fprintln(os.Stderr)
	s.report(w, "in sample", rate, func(int) *law.Coefficients { return &all })
	s.report(w, "each repository left out", rate, func(r int) *law.Coefficients { return &without[r] })
	if folds != "" {
		m := map[string]law.Coefficients{}
		for r, name := range s.repos {
			m[name] = without[r]
		}
		b, err := json.MarshalIndent(m, "", " ")
		if err != nil {
			return err
		}
		return os.WriteFile(folds, b, 0o644)
	}
	return nil
}

func load(path string) (*sample, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	zr, err := gzip.NewReader(f)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	s := &sample{}
	index := map[string]int{}
	dec := json.NewDecoder(bufio.NewReader(zr))
	for {
		var h history
		if err := dec.Decode(&h); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read %s, history %d: %w", path, len(s.histories)+1, err)
		}
		r, ok := index[h.Source.Repo]
		if !ok {
			r = len(s.repos)
			index[h.Source.Repo] = r
			s.repos = append(s.repos, h.Source.Repo)
		}
		s.histories = append(s.histories, h)
		s.add(len(s.histories)-1, r, &h)
	}
	perRepo := make([]map[int]bool, len(s.repos))
	perSeries := map[int]float64{}
	for _, c := range s.cuts {
		if perRepo[c.repo] == nil {
			perRepo[c.repo] = map[int]bool{}
		}
		perRepo[c.repo][c.series] = true
		perSeries[c.series] += float64(len(c.questions))
	}
	for _, c := range s.cuts { // a large repository counts as the root of its series
		c.weight = 1 / perSeries[c.series] / math.Sqrt(float64(len(perRepo[c.repo])))
	}
	return s, nil
}

// add cuts a history where the walk-forward score does: geometrically spaced
// with a jitter that depends on its name alone.
func (s *sample) add(i, repo int, h *history) {
	const cuts, first = 8, 8
	last := len(h.Points) - slices.Min(steps)
	if last < first {
		return
	}
	at := map[int]bool{}
	for k := range cuts {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s|%d", h.ID, k))
		u := float64(binary.BigEndian.Uint32(sum[:4])) / (1 << 32)
		at[min(last, int(first*math.Pow(float64(last)/first, (float64(k)+u)/cuts)))] = true
	}
	lower := h.Direction == "lower"
	values := make([]float64, len(h.Points))
	for k, p := range h.Points {
		values[k] = p[1]
	}
	for n := first; n <= last; n++ {
		if !at[n] {
			continue
		}
		scale, _ := law.ScaleOf(values[:n], lower, 0, nil)
		e := &law.Engine{}
		for _, v := range values[:n] {
			e.Append(scale.To(v))
		}
		c := &cut{series: i, repo: repo}
		var best float64
		var length int
		length, best, c.spread, c.errors, c.centre = e.Features(slices.Max(steps))
		c.n = float64(length)
		b := scale.From(best)
		for _, st := range steps {
			if n+st > len(values) {
				continue
			}
			next := scale.To(values[n])
			for _, v := range values[n : n+st] {
				next = math.Min(next, scale.To(v))
			}
			for _, k := range shares {
				target := b * (1 - k)
				if !lower {
					target = b * (1 + k)
				}
				t := scale.To(target)
				c.questions = append(c.questions, question{gap: best - t, share: k, steps: st, target: t, hit: next <= t})
			}
			v := values[n+st-1]
			c.ahead = append(c.ahead, ahead{steps: st, z: scale.To(v), value: v, last: values[n-1]})
		}
		s.cuts = append(s.cuts, c)
		s.engines = append(s.engines, e)
		s.scales = append(s.scales, scale)
	}
}

// baseRate is the hit rate of the same share and steps over all other
// repositories, every history weighing the same.
func baseRate(s *sample) func(repo int, q *question) float64 {
	type key struct {
		share float64
		steps int
	}
	type tally struct{ hits, n float64 }
	perSeries := map[int]map[key]*tally{}
	repoOf := map[int]int{}
	for _, c := range s.cuts {
		repoOf[c.series] = c.repo
		if perSeries[c.series] == nil {
			perSeries[c.series] = map[key]*tally{}
		}
		for _, q := range c.questions {
			k := key{q.share, q.steps}
			if perSeries[c.series][k] == nil {
				perSeries[c.series][k] = &tally{}
			}
			t := perSeries[c.series][k]
			t.n++
			if q.hit {
				t.hits++
			}
		}
	}
	total, own := map[key]*tally{}, map[int]map[key]*tally{}
	series := make([]int, 0, len(perSeries))
	for i := range perSeries {
		series = append(series, i)
	}
	slices.Sort(series)
	for _, i := range series {
		for k, t := range perSeries[i] {
			if total[k] == nil {
				total[k] = &tally{}
			}
			r := repoOf[i]
			if own[r] == nil {
				own[r] = map[key]*tally{}
			}
			if own[r][k] == nil {
				own[r][k] = &tally{}
			}
			for _, x := range []*tally{total[k], own[r][k]} {
				x.hits += t.hits / t.n
				x.n++
			}
		}
	}
	return func(repo int, q *question) float64 {
		k := key{q.share, q.steps}
		t, o := *total[k], tally{}
		if x := own[repo][k]; x != nil {
			o = *x
		}
		return (t.hits - o.hits + 0.5) / (t.n - o.n + 1)
	}
}

func (s *sample) fit(use func(*cut) bool) law.Coefficients {
	c := law.Default()
	s.fitRecord(&c, use)
	s.fitBands(&c, use)
	return c
}

// fitRecord maximises the likelihood of the record law, with a ridge on the
// standardised coefficients.
func (s *sample) fitRecord(c *law.Coefficients, use func(*cut) bool) {
	const ridge, k = 0.006, 5
	type row struct {
		x      [k]float64
		hit    bool
		weight float64
	}
	var rows []row
	var mean, sd [k]float64
	total, hits := 0.0, 0.0
	for _, ct := range s.cuts {
		if !use(ct) {
			continue
		}
		for _, q := range ct.questions {
			r := row{x: law.RecordFeatures(q.gap, q.steps, int(ct.n), ct.spread), hit: q.hit, weight: ct.weight}
			total += r.weight
			if q.hit {
				hits += r.weight
			}
			rows = append(rows, r)
		}
	}
	for j := range k {
		for _, r := range rows {
			mean[j] += r.x[j] / float64(len(rows))
		}
		for _, r := range rows {
			sd[j] += (r.x[j] - mean[j]) * (r.x[j] - mean[j]) / float64(len(rows))
		}
		sd[j] = math.Sqrt(sd[j])
	}
	for i := range rows {
		for j := range k {
			rows[i].x[j] = (rows[i].x[j] - mean[j]) / sd[j]
		}
	}
	loss := func(b, grad []float64) float64 {
		f := 0.0
		for j := range grad {
			grad[j] = 0
		}
		for i := range rows {
			r := &rows[i]
			eta := b[0]
			for j := range k {
				eta += b[j+1] * r.x[j]
			}
			hazard := math.Exp(math.Min(eta, 4))
			d := hazard
			if r.hit {
				p := math.Max(-math.Expm1(-hazard), 1e-12)
				f -= r.weight * math.Log(p)
				d -= hazard / p
			} else {
				f += r.weight * hazard
			}
			if grad != nil {
				grad[0] += r.weight * d
				for j := range k {
					grad[j+1] += r.weight * d * r.x[j]
				}
			}
		}
		f /= total
		for j := range grad {
			grad[j] /= total
		}
		for j := 1; j <= k; j++ {
			f += ridge / 2 * b[j] * b[j]
			if grad != nil {
				grad[j] += ridge * b[j]
			}
		}
		return f
	}
	start := make([]float64, k+1)
	start[0] = math.Log(-math.Log1p(-hits / total))
	res, err := optimize.Minimize(optimize.Problem{
		Func: func(b []float64) float64 { return loss(b, nil) },
		Grad: func(grad, b []float64) { loss(b, grad) },
	}, start, nil, &optimize.LBFGS{})
	if err != nil && res == nil {
		panic(err)
	}
	b := res.X
	c.Intercept = b[0]
	var v [k]float64
	for j := range k {
		v[j] = b[j+1] / sd[j]
		c.Intercept -= v[j] * mean[j]
	}
	c.LogGap, c.Gap, c.LogSteps, c.LogLength, c.LogSpread = -v[0], -v[1], v[2], v[3], v[4]
	if c.LogGap < 0 || c.Gap < 0 || c.LogSteps < 0 {
		panic("the record law is not monotone; use fewer coefficients")
	}
}

// pinball is the loss of an interval's ends, as a share of the last value.
func pinball(scale law.Scale, a *ahead, points [3]float64, lower bool) float64 {
	sum := 0.0
	for k, p := range []float64{0.1, 0.5, 0.9} {
		if !lower {
			p = 1 - p
		}
		d := a.value - scale.From(points[k])
		sum += math.Min(math.Max(p*d, (p-1)*d)/math.Abs(a.last), 10)
	}
	return sum / 3
}

func (s *sample) fitBands(c *law.Coefficients, use func(*cut) bool) {
	loss := func(x []float64) float64 {
		d := *c
		d.Low, d.High, d.Error, d.BandSteps, d.BandLength, d.OwnShift = x[0], x[1], x[2], x[3], x[4], x[5]
		f, n := 0.0, 0.0
		for i, ct := range s.cuts {
			if !use(ct) {
				continue
			}
			lower := s.histories[ct.series].Direction == "lower"
			for k := range ct.ahead {
				a := &ct.ahead[k]
				lo, hi := d.Spread(&ct.errors, a.steps)
				m := ct.centre[a.steps-1]
				w := ct.weight
				f += w * pinball(s.scales[i], a, [3]float64{m - lo, m, m + hi}, lower)
				n += w
			}
		}
		return 100*f/n + 0.02*x[5]*x[5]
	}
	d := law.Default()
	res, err := optimize.Minimize(optimize.Problem{Func: loss},
		[]float64{d.Low, d.High, d.Error, d.BandSteps, d.BandLength, d.OwnShift},
		&optimize.Settings{FuncEvaluations: 600}, &optimize.NelderMead{SimplexSize: 0.2})
	if err != nil && res == nil {
		panic(err)
	}
	x := res.X
	c.Low, c.High, c.Error, c.BandSteps, c.BandLength, c.OwnShift = x[0], x[1], x[2], x[3], x[4], x[5]
}

// report prints the score of coefficients that may depend on the repository.
func (s *sample) report(w io.Writer, name string, rate func(int, *question) float64, of func(repo int) *law.Coefficients) {
	var brier, base, n, pin, naive, in, bands float64
	var bins [10][3]float64
	p := make([]float64, slices.Max(steps))
	var l law.Law
	bySlice := [4][3]float64{}
	shifts := make([][][2]float64, len(s.repos)) // log odds and outcomes of each repository
	for i, c := range s.cuts {
		s.engines[i].Law(of(c.repo), len(p), &l)
		k := 0
		for k < 3 && c.n >= []float64{16, 32, 100}[k] {
			k++
		}
		for j := range c.questions {
			q := &c.questions[j]
			l.Reached(q.target, p)
			v, y := p[q.steps-1], 0.0
			if q.hit {
				y = 1
			}
			r := rate(c.repo, q)
			brier += (v - y) * (v - y)
			base += (r - y) * (r - y)
			n++
			bin := &bins[min(9, int(v*10))]
			bin[0]++
			bin[1] += v
			bin[2] += y
			bySlice[k][0] += (v - y) * (v - y)
			bySlice[k][1] += (r - y) * (r - y)
			bySlice[k][2]++
			shifts[c.repo] = append(shifts[c.repo], [2]float64{math.Log(v / (1 - v)), y})
		}
		lower := s.histories[c.series].Direction == "lower"
		for j := range c.ahead {
			a := &c.ahead[j]
			lo, m, hi := l.Band(a.steps)
			z := s.scales[i].To(a.last)
			pin += pinball(s.scales[i], a, [3]float64{lo, m, hi}, lower)
			naive += pinball(s.scales[i], a, [3]float64{z, z, z}, lower)
			if lo <= a.z && a.z <= hi {
				in++
			}
			bands++
		}
	}
	calibration := 0.0
	for _, b := range bins {
		calibration += math.Abs(b[1]-b[2]) / n
	}
	fmt.Fprintf(w, "%s: %.0f questions, Brier %.4f, base rate %.4f, skill %+.4f, calibration error %.4f, 80%% interval covers %.3f, pinball/naive %.3f\n",
		name, n, brier/n, base/n, 1-brier/base, calibration, in/bands, pin/naive)
	sum, square := 0.0, 0.0
	for _, rows := range shifts {
		d := shift(rows)
		sum += d
		square += d * d
	}
	m := float64(len(shifts))
	fmt.Fprintf(w, "  log odds of a repository differ from the forecast by %.2f on average, standard deviation %.2f\n", sum/m, math.Sqrt(square/m-sum/m*sum/m))
	for k, t := range []string{"8-15", "16-31", "32-99", "100+"} {
		fmt.Fprintf(w, "  history %-6s n %6.0f skill %+.3f\n", t, bySlice[k][2], 1-bySlice[k][0]/bySlice[k][1])
	}
}

// shift is the constant that, added to the log odds, fits the outcomes best;
// a weak normal prior keeps it finite where nothing was ever hit.
func shift(rows [][2]float64) float64 {
	d := 0.0
	for range 50 {
		grad, curve := -d/4, 1.0/4
		for _, r := range rows {
			p := 1 / (1 + math.Exp(-r[0]-d))
			grad += r[1] - p
			curve += p * (1 - p)
		}
		d += grad / curve
	}
	return d
}
