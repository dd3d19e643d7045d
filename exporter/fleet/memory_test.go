package fleet

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/plancast/plancast/terms"
	"github.com/plancast/plancast/tsdb"
	"github.com/plancast/plancast/tsdb/iterations"
)

// A fleet daemon holds the histories of thousands of models. Answers are decoded one by
// one, so that no text of a model is another's.
func TestAnIterationTakesLittleMemory(t *testing.T) {
	const models, results, most = 300, 50, 300
	var e evidence
	before := heap()
	for n := range models {
		e.take(measured(n, results))
	}
	if got := (heap() - before) / (models * results); got > most {
		t.Errorf("an iteration takes %d bytes, more than %d", got, most)
	}
	runtime.KeepAlive(&e)
}

// heap is how many bytes are alive.
func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// measured is a model of a fleet as a store has it.
func measured(n, results int) tsdb.Measured {
	text := func(format string, args ...any) string { return fmt.Sprintf(format, args...) }
	name, host, fingerprint := text("model-%d", n%100), text("host-%d:9833", n/100), text("3fa91c07b2de")
	e := tsdb.Engine{Precision: text("fp16"), Backend: text("tensorrt"), Device: text("NVIDIA H100")}
	for k := range terms.Quantities() {
		var list []iterations.Iteration
		for i := range results {
			at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC).Add(time.Duration(i)*48*time.Hour + time.Duration(n)*time.Second)
			list = append(list, iterations.Iteration{Number: float64(i + 1), Time: at, Known: at, Value: float64(k + i + 1), Valid: true, Environment: fingerprint})
		}
		e.Criteria = append(e.Criteria, list)
	}
	return tsdb.Measured{
		Subject: tsdb.Subject{
			Name: name + "@" + host, Labels: map[string]string{"model": name, "instance": host, "device": e.Device, "backend": e.Backend},
			Environment: fingerprint, Live: map[string]tsdb.Candidate{e.Precision: {Version: text("%d", results), Digest: text("%064d", n)}},
		},
		Engines: []tsdb.Engine{e}, Quantities: terms.Quantities(),
		Environments: map[string]model.Metric{fingerprint: {"backend": "tensorrt", "device": "NVIDIA H100", "driver": "580.1", "cuda": "13.0"}},
	}
}
