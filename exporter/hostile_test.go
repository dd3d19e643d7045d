package main

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plancast/plancast/bench/torture/dose"
	"github.com/plancast/plancast/exporter/engine/onnxruntime/runtimetest"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
)

// daemonLimit is what the process that people run may hold, whatever a model says.
const daemonLimit = 100 << 20

// sane are models that ONNX Runtime measures, to be mutated.
func sane() [][]byte {
	return [][]byte{
		onnxtest.Classifier(8, 16, 4).Bytes(), onnxtest.Convolution(8).Bytes(), onnxtest.Quantized(8, 4).Bytes(),
		onnxtest.Branches().Bytes(), onnxtest.NonZero(8).Bytes(), onnxtest.LogOf(4).Bytes(),
	}
}

// mutated is a model of which something is wrong: flipped bits, bytes that are cut
// out, moved, given twice or replaced by large numbers, or an end too soon.
func mutated(model []byte, random *rand.Rand) []byte {
	m := bytes.Clone(model)
	for range 1 + random.IntN(2) {
		at := random.IntN(len(m))
		end := at + random.IntN(min(64, len(m)-at))
		switch random.IntN(9) {
		default:
			m[at] ^= 1 << random.IntN(8)
		case 1:
			m = append(m[:at:at], m[end:]...)
		case 2:
			m = append(m[:end:end], m[at:]...)
		case 3:
			copy(m[at:], bytes.Repeat([]byte{0xff}, end-at))
		case 4:
			copy(m[at:], m[random.IntN(len(m)):])
		case 5:
			m = m[:max(at, 1)]
		}
		if len(m) == 0 {
			return []byte{0}
		}
	}
	return m
}

// Each hostile model is a record or a rejection, costs its own job alone, and leaves
// the process that people run small.
func TestMutatedModelsCostTheirOwnJobAlone(t *testing.T) {
	runtimetest.Need(t)
	n := dose.Of(t, "models", 12)
	random := rand.New(rand.NewPCG(3, 5))
	s := newSite(t, "backend: onnxruntime\n")
	s.Edit("timeout: 20s", "timeout: 60s")
	s.Edit("min_queries: 662", "min_queries: 7")
	push := func(name string, model []byte) {
		dir := filepath.Join(s.Dir, "models", name, "1")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		file, old := filepath.Join(dir, "model.onnx"), time.Now().Add(-time.Hour)
		if err := os.WriteFile(file, model, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, old, old); err != nil {
			t.Fatal(err)
		}
	}
	models := sane()
	for i := range n {
		push(fmt.Sprintf("m%04d", i), mutated(models[i%len(models)], random))
	}
	push("zz-good", models[0])

	cmd := exec.Command(os.Args[0], "run", "--once", "--config.file", s.File(), "--output", filepath.Join(s.Dir, "report.txt"))
	cmd.Env = append(os.Environ(), actAsProgram+"="+realBackends)
	log, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || !cmd.ProcessState.Exited() {
		t.Fatalf("plancast did not end by itself: %v\n%s", err, log)
	}
	kinds := map[string]int{}
	store, err := history.OpenReadOnly(filepath.Join(s.Dir, "state", "history.db"))
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	defer store.Close()
	recorded := map[string]bool{}
	for r, err := range store.Records(t.Context(), history.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		recorded[r.Model] = true
		kind := "measured"
		if !r.OK() {
			kind = string(r.Failure.Kind)
		}
		kinds[kind]++
	}
	if !recorded["zz-good"] || kinds["measured"] == 0 {
		t.Errorf("the good model beside them was not measured: %v\n%s", kinds, log)
	}
	waits := 0
	for i := range n {
		name := fmt.Sprintf("m%04d", i)
		switch {
		case recorded[name]:
		case bytes.Contains(log, []byte(name)):
			waits++ // it looks as if it were still being copied, or is rejected by name
		default:
			t.Errorf("%s has no record and is not mentioned", name)
		}
	}
	var peak int64
	if _, text, ok := bytes.Cut(log, []byte(peakLine)); ok {
		if _, err := fmt.Sscan(string(text), &peak); err != nil {
			t.Fatal(err)
		}
	}
	if peak == 0 {
		t.Errorf("plancast did not say how much memory it held\n%s", log)
	}
	if peak > daemonLimit && !raceDetector {
		t.Errorf("plancast held %d MB; it may hold %d", peak>>20, daemonLimit>>20)
	}
	words := []string{fmt.Sprintf("%d rejected or waited for", waits)}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		words = append(words, fmt.Sprintf("%d %s", kinds[kind], kind))
	}
	dose.Done(t, "models", n, "%s (with the good one beside them); plancast held %d MB at most", strings.Join(words, ", "), peak>>20)
}
