package law

// Coefficients are what was learned from other histories. Every probability
// and band is a function of one history, of what is known around it and of
// these numbers. Command fit estimates Record, Work, State and Bands.
type Coefficients struct {
	Record Record
	Work   Work
	State  State
	Trend  Trend
	Bands  Bands

	// Persistence is how far the steps of one future count as separate
	// chances, from 0 to 1, where the target was reached before.
	Persistence float64

	// Doubt is the standard deviation, in log odds, by which the rate of one
	// project differs from its forecast; SteadyDoubt replaces it as far as a
	// history follows its trend.
	Doubt, SteadyDoubt float64
}

// Record is the law of a history that nobody works on: the cumulative hazard
// of a gain g within h steps after n results whose interquartile range is q and
// whose usual step from one to the next is d is
//
//	exp(Intercept - LogGap*log(g+0.02) - Gap*g + LogSteps*log(h) + LogLength*log(n)
//	    + LogSpread*log(q+0.05) + LogNoise*log((d+0.003)/0.033) + Newest*b + Siblings*s)
//
// where b, from 0 to 1, says whether the newest result is the best so far, and
// s is what the other series of the project showed (see Shift). LogGap, Gap,
// LogSteps, Newest and Siblings are at least 0.
type Record struct {
	Intercept, LogGap, Gap, LogSteps, LogLength, LogSpread, LogNoise, Newest, Siblings float64
}

// Work is the law of a history that people work on: it goes on making the gains
// it made. The hazard of a gain g in one step is the share of the newest steps
// that made it, each counting a*a/(a*a + g*g*h^(-2*Reach)) for a gain a, drawn
// with the weight of exp(LogMass) steps towards exp(Intercept -
// LogGap*log(g+0.02) - Gap*g); within h steps it is that times
//
//	exp(Level + Siblings*s + Newest*b + Quiet*(share of steps up to the last gain that repeat the result before)
//	    + Pace*u) * h^LogSteps
//
// where u, within -3 and 3, is how many of its own standard deviations a random
// walk with the drift of the newest steps would be beyond the target after h.
// LogGap, Gap, LogSteps, Siblings, Newest and Pace are at least 0.
type Work struct {
	LogMass, Intercept, LogGap, Gap, LogSteps, Level, Siblings, Newest, Quiet, Pace, Reach float64
}

// State gives the log odds that people work on a history, from its results
// before the newest:
//
//	Intercept + Records*(share of results that were the best so far)
//	    + Order*(rank correlation of time and value, newest 40)
//	    + Beaten*(share of the newer half that beats all of the older)
//	    + Stretches*(rank correlation of time and the medians of six stretches)
//	    + LogLength*log(n/10)
//	    + Improving*(newest steps that improved less those that did not)
//	    + Quiet*(share of the newest steps up to the last gain that repeat the result before)
//	    + Line*(log likelihood ratio of a straight line against a level, newest 40, see straight)
type State struct {
	Intercept, Records, Order, Beaten, Stretches, LogLength, Improving, Quiet, Line float64
}

// Trend gives the log odds that a history steadily approaches a limit: its
// Intercept, Evidence for every unit of the log likelihood ratio against one
// step, Decisive more for every unit beyond decisive, and Order where the
// stretches improve in perfect order. With few results, which cannot show it, an
// approach counts Early times (4/n)^2 of the rest.
type Trend struct {
	Intercept, Evidence, Decisive, Order, Early float64
}

// Bands says that the 10 % and 90 % points h steps ahead lie exp(Low+s) below
// and exp(High+s) above the centre, s = Error*log(e+0.002) + LogSteps*log(h) +
// LogLength*log(n/30), where e is the mean absolute error one step ahead, see
// oneStep; the history's own error quantiles count exp(-OwnAfter/n) against that.
// OwnAfter was set by hand.
type Bands struct {
	Low, High, Error, LogSteps, LogLength, OwnAfter float64
}

// Default returns the coefficients that the forecast uses. Record, Work and
// State were fitted together, and Bands after them, by command fit on public
// histories: 192 of benchmarks that nobody was optimising, 53 of people and
// agents who worked towards a goal, and 20 of their accepted steps. Trend and
// what follows were set by hand so that histories which steadily approach a
// limit are forecast well too (TestSynthetic). docs/forecasting.md has the
// scores on repositories left out of the fit.
func Default() Coefficients {
	return Coefficients{
		Record: Record{
			Intercept: -1.692, LogGap: 0.439, Gap: 1.878, LogSteps: 0.768, LogLength: -0.773, LogSpread: 0.293, LogNoise: 0.236,
			Newest: 0.159, Siblings: 0.179,
		},
		Work: Work{
			LogMass: -0.156, Intercept: -2.283, LogGap: 0.09, Gap: 1.791, LogSteps: 0.697, Level: 0.001, Siblings: 0.155,
			Newest: 0.153, Quiet: 1.967, Pace: 0.146, Reach: 0.3,
		},
		State: State{
			Intercept: -6.583, Records: 2.84, Order: 1.167, Beaten: 2.044, Stretches: 1.144, LogLength: 0.234,
			Improving: 2.777, Quiet: 2.438, Line: 0.935,
		},
		Trend: Trend{Intercept: -2.8, Evidence: 0.1, Decisive: 0.9, Order: 1, Early: 0.3},
		Bands: Bands{Low: 0.405, High: -0.974, Error: 0.741, LogSteps: 0.368, LogLength: -0.286, OwnAfter: 60},

		Persistence: 0.17,
		Doubt:       1, SteadyDoubt: 0.5,
	}
}
