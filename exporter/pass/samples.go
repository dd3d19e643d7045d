package pass

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
)

// keptSamples is how many of the newest results of each model and precision keep
// the latency of each query.
const keptSamples = 3

const samplesSuffix = ".csv.gz"

// SamplesFile is where the latencies of a result's queries lie, as
// bench.WriteSamples writes them, as long as it is one of the newest.
func SamplesFile(state, model string, p engine.Precision, id int64) string {
	return filepath.Join(state, samplesDir, model, fmt.Sprintf("%s-%d%s", p, id, samplesSuffix))
}

// samplesPath is where a job writes them in its work folder.
func samplesPath(dir string) string { return filepath.Join(dir, "samples.csv.gz") }

// keepSamples keeps what a job wrote, and deletes older ones.
func (r *Runner) keepSamples(rec history.Record, written string) error {
	if !rec.OK() {
		return nil
	}
	file := SamplesFile(r.Config.State, rec.Model, rec.Precision, rec.ID)
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.Rename(written, file); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	errs := []error{err}
	var ids []int64
	for _, e := range entries {
		name, ok := strings.CutPrefix(strings.TrimSuffix(e.Name(), samplesSuffix), string(rec.Precision)+"-")
		if id, err := strconv.ParseInt(name, 10, 64); ok && err == nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for _, id := range ids[:max(0, len(ids)-keptSamples)] {
		errs = append(errs, os.Remove(SamplesFile(r.Config.State, rec.Model, rec.Precision, id)))
	}
	return errors.Join(errs...)
}
