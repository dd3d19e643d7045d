package workload

import (
	"time"

	"github.com/plancast/plancast/exporter/engine"
)

// Simulate serves requests on a virtual clock: in their order, by that many lanes, each
// of which takes the next request when it is free. service is how long a request
// takes.
func Simulate(requests []engine.Request, lanes int, service func(engine.Request) time.Duration) []engine.Answer {
	free := make([]time.Duration, max(1, lanes))
	out := make([]engine.Answer, len(requests))
	for i, r := range requests {
		lane := 0
		for k, at := range free {
			if at < free[lane] {
				lane = k
			}
		}
		a := engine.Answer{Taken: free[lane], Start: max(free[lane], r.At)}
		a.End = a.Start + service(r)
		free[lane], out[i] = a.End, a
	}
	return out
}

// Served is how the requests of a window were served; times are in seconds.
type Served struct {
	Latencies []float64 // from when each request was due until its answer
	Waits     []float64 // of those, until an engine was free for it
	Services  []float64 // from the start of the call to its end
	// Lateness is by how much calls began later than they could have: the request was
	// due and an engine was free.
	Lateness []float64
	Elapsed  float64 // from the window's origin to the last answer
	// Behind is how long the last request waited, as a share of the window: what is
	// left of the queue. It stays when requests come faster than they are served.
	Behind float64
}

// Serve reads the answers to requests, which may be fewer. In a closed loop a request
// is due when its turn comes.
func Serve(requests []engine.Request, answers []engine.Answer, open bool) Served {
	n := len(answers)
	all := make([]float64, 4*n)
	s := Served{Latencies: all[:n:n], Waits: all[n : 2*n : 2*n], Services: all[2*n : 3*n : 3*n], Lateness: all[3*n:]}
	var end time.Duration
	for i, a := range answers {
		due := a.Taken
		if open {
			due = requests[i].At
		}
		ready := max(due, a.Taken)
		s.Latencies[i] = (a.End - due).Seconds()
		s.Waits[i] = (ready - due).Seconds()
		s.Services[i] = (a.End - a.Start).Seconds()
		s.Lateness[i] = (a.Start - ready).Seconds()
		end = max(end, a.End)
	}
	s.Elapsed = end.Seconds()
	if n > 0 && end > 0 {
		s.Behind = s.Waits[n-1] / s.Elapsed
	}
	return s
}

// fallsBehind is from which share of the window on a queue that is left at its end is
// one that grows.
const fallsBehind = 0.1

// FallsBehind reports whether requests that come at a rate, on average, come faster than
// they are served. A queue alone does not show it: a window may end in a burst.
func (s Served) FallsBehind(rate float64) bool { return s.Behind > fallsBehind && s.Rate() < rate }

// Rate is how many requests were answered in a second.
func (s Served) Rate() float64 {
	if !(s.Elapsed > 0) {
		return 0
	}
	return float64(len(s.Latencies)) / s.Elapsed
}

// Good is how many requests were answered within a time.
func (s Served) Good(within time.Duration) (n int) {
	for _, l := range s.Latencies {
		if l <= within.Seconds() {
			n++
		}
	}
	return n
}
