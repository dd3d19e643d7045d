// Package forecast answers "when will this be ready, and how sure are we?" from
// a short, noisy, stepwise history of results: the probability that a milestone
// is met within some iterations and by a deadline, the range in which coming
// results will lie, the date to expect, and whether the newest result is out of
// the ordinary.
//
// It promises that its answers agree with each other. A probability never falls
// when the horizon grows, the deadline moves back, the target becomes easier or
// the newest result is better; a band, a date and a probability are read off
// one law; units and time zones change nothing; the same evidence and seed give
// the same bits. Nothing is ever certain unless it is done or impossible.
//
// The package is pure: no clock, no files, no state that an answer depends on
// (memory is used again). What it learned from histories of other projects is a
// handful of coefficients, stated with their origin in internal/law and
// explained in docs/forecasting-method.md; command fit learns them again and scores
// them on projects left out.
package forecast
