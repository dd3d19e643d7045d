//go:build race

package forecast

// raceDetector says that pools are emptied at random, so that more is allocated.
const raceDetector = true
