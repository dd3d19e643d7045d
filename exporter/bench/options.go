package bench

import "time"

// DefaultOptions are the bounds of an unconfigured benchmark.
func DefaultOptions() Options {
	return Options{
		WarmUp: 500 * time.Millisecond, MinQueries: 662, MinWindow: 2 * time.Second, MaxWindow: time.Minute, MaxWindows: 5,
		ThroughputTolerance: 0.03, P99Tolerance: 0.10, Batches: []int{1}, Concurrency: []int{1, 2},
		SweepWindow: 2 * time.Second, Deviation: "auto", Seed: 1,
	}
}
