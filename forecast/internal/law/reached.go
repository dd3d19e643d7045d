package law

import "math"

// After a regression, half of how far it went counts as gap.
const (
	outOfReach = 1.5  // log of the factor behind the best from which a regression counts,
	farShare   = 0.5  // as so much of the distance beyond,
	reachEdge  = 0.25 // and how smoothly
)

// Reached fills p with the probabilities that one of the next 1, 2, ...,
// len(p) results is x or better (lower). len(p) is at most the horizon of Law.
func (l *Law) Reached(x float64, p []float64) {
	path := pathChance{product: 1}
	if x >= l.best {
		l.tighten(len(p))
	}
	q := l.question(x)
	most, trd := math.Inf(-1), 0.0
	for j := range p {
		v := l.hazards(&q, j)
		if x >= l.best {
			path.add((x - l.level[j]) * l.tight[j])
			v = max(v, path.chance(l.c.Persistence))
		}
		if l.trendWeight > 0 { // once reached stays reached
			if u := (x - l.trendMiddle[j]) * l.trendScale[j]; u > most {
				most, trd = u, logistic(u)
			}
		}
		p[j] = l.mix(v, trd)
	}
}

// ReachedWithin is the last of the probabilities of Reached for h steps.
func (l *Law) ReachedWithin(x float64, h int) float64 { return l.reached(x, h, Surest) }

// reached is ReachedWithin, or less where that is at least enough already: the
// expected path, which takes longest, only adds to it.
func (l *Law) reached(x float64, h int, enough float64) float64 {
	q := l.question(x)
	v, trd := l.hazards(&q, h-1), 0.0
	if l.trendWeight > 0 {
		most := math.Inf(-1)
		for j, m := range l.trendMiddle[:h] {
			if u := (x - m) * l.trendScale[j]; u > most {
				most = u
			}
		}
		trd = logistic(most)
	}
	p := l.mix(v, trd)
	if x < l.best || p >= enough {
		return p
	}
	l.tighten(h)
	path := pathChance{product: 1}
	level, tight := l.level[:h], l.tight[:h]
	for j, at := range level {
		path.add((x - at) * tight[j])
	}
	return l.mix(max(v, path.chance(l.c.Persistence)), trd)
}

// question is what the laws of records and of work need to know of a target.
type question struct {
	record float64 // hazard of one step
	prior  float64 // of the work law
	square float64 // of the gap
	away   float64 // distance from the newest result, see pace
}

func (l *Law) question(x float64) question {
	g := l.gap(x)
	log := math.Log(g + gapFloor)
	return question{
		record: math.Exp(l.steps + l.c.Record.gap(g, log)),
		prior:  l.work.prior(&l.c.Work, g, log),
		square: g * g,
		away:   l.work.away(x),
	}
}

// gap is that to the best so far; where even the expected next result lies far
// behind the best, as after an outlier or a regression, farShare of the distance
// beyond outOfReach adds to it, setting in smoothly over reachEdge.
func (l *Law) gap(x float64) float64 {
	if x <= l.best {
		return l.best - x + l.behind
	}
	return l.far(x)
}

// far is what counts of the distance of the expected next result beyond x.
func (l *Law) far(x float64) float64 {
	return farShare * reachEdge * softplus((l.level[0]-outOfReach-x)/reachEdge)
}

// softplus is a smooth max(u, 0).
func softplus(u float64) float64 {
	if u > 30 {
		return u
	}
	return math.Log1p(math.Exp(u))
}

// hazards is the chance within j+1 steps: of a record where nobody works on the
// history, and of going on as before where people do.
func (l *Law) hazards(q *question, j int) float64 {
	rec := chance(q.record * l.powers.record[j])
	if l.worked == 0 {
		return rec
	}
	root := l.powers.root[j]
	pace := l.c.Work.Pace * l.work.beyond(q.away, root)
	w := chance(l.work.hazard(q.prior, q.square*l.powers.reach[j], l.powers.work[j]) * math.Exp(pace))
	return rec + l.worked*(w-rec)
}

// chance is that of an event with this cumulative hazard. It is exact to 1e-16
// of 1, which is all that a probability of at least 1-Surest needs.
func chance(hazard float64) float64 { return 1 - math.Exp(-hazard) }

func logistic(u float64) float64 { return 1 / (1 + math.Exp(-u)) }

func (l *Law) mix(v, trd float64) float64 {
	v += l.trendWeight * (trd - v)
	return min(max(v, 1-Surest), Surest)
}

// pathChance is the chance that one of the results so far on the expected path
// is x or better, where x has been seen before. The chance of one result is
// logistic, of odds exp(u). The survival of all lies between that of the
// likeliest alone (steps that move together) and the product of all (steps on
// their own): persistence says where.
type pathChance struct {
	sum     float64 // of -log of the survival of each
	product float64 // and of 1/survival, of those not in the sum yet
	most    float64 // greatest odds
	surest  float64 // greatest u of those that are nearly certain
}

// nearlyCertain is a u above which log(1+exp(u)) is u.
const nearlyCertain = 36

func (c *pathChance) add(u float64) {
	if u > nearlyCertain {
		c.sum += u
		c.surest = max(c.surest, u)
		return
	}
	odds := math.Exp(u)
	c.most = max(c.most, odds)
	if c.product *= 1 + odds; c.product > 1e280 {
		c.sum += math.Log(c.product)
		c.product = 1
	}
}

func (c *pathChance) chance(persistence float64) float64 {
	most := c.surest
	if most == 0 {
		most = math.Log(1 + c.most)
	}
	return chance((1-persistence)*most + persistence*(c.sum+math.Log(c.product)))
}
