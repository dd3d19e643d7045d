package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/history"
	"github.com/plancast/plancast/exporter/onnx/onnxtest"
	"github.com/plancast/plancast/exporter/report/reporttest"
)

const models = 300

// newest is when the newest record finished: a daemon counts results of a year.
var newest = time.Now().UTC().Truncate(24 * time.Hour)

func modelName(m int) string { return fmt.Sprintf("model-%03d", m) }

// tiny is the newest version of a model: a perceptron like no other.
func tiny(m int) []byte {
	x := onnxtest.Classifier(8, 16, 4)
	x.Graph.Name = modelName(m)
	return x.Bytes()
}

// repository writes the newest version of each model.
func (b *bench) repository(dir string) error {
	for m := range models {
		version := filepath.Join(dir, modelName(m), fmt.Sprint(b.days))
		if err := os.MkdirAll(version, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(version, "model.onnx"), tiny(m), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// prepare makes the history, unless it is there.
func (b *bench) prepare() error {
	if _, err := os.Stat(b.file); err == nil {
		return nil
	}
	part := b.file + ".part"
	s, err := history.Open(part)
	if err != nil {
		return err
	}
	start := time.Now()
	for day := range b.days {
		if _, err := s.AppendAll(context.Background(), b.day(day)); err != nil {
			return errors.Join(err, s.Close())
		}
	}
	last := int64(b.days * models * 3)
	err = s.UpdateOutbox(context.Background(), func(tx *history.OutboxTx) error { return tx.SetObserved(last) }) // none is news
	if err := errors.Join(err, s.Close()); err != nil {
		return err
	}
	fmt.Printf("made in %.0f s\n", time.Since(start).Seconds())
	return os.Rename(part, b.file)
}

// day is a candidate of each model, one in 40 of them failed. Those of the last day
// are what repository writes.
func (b *bench) day(day int) iter.Seq2[history.Record, error] {
	env := reporttest.Environment("1.32.0")
	fingerprint, err := engine.Fingerprint(env, engine.Settings{}, nil)
	return func(yield func(history.Record, error) bool) {
		for m := range models {
			digest := fmt.Sprintf("%032x%032x", m, day)
			if day == b.days-1 {
				sum := sha256.Sum256(tiny(m))
				digest = hex.EncodeToString(sum[:])
			}
			for k, p := range engine.Precisions {
				at := newest.AddDate(0, 0, day+1-b.days).Add(time.Duration(m*3+k) * time.Second)
				r := history.Record{
					Model: modelName(m), Version: fmt.Sprint(day + 1), Digest: digest, Precision: p,
					Backend: env.Backend, Device: env.Device, Environment: env, Fingerprint: fingerprint,
					CandidateTime: at.Add(-time.Hour), Started: at.Add(-time.Minute), Finished: at,
				}
				if (m+day)%40 == 0 {
					reporttest.Failed(*engine.Errorf(engine.KindCrashed, "run worker", "", "it died"))(&r)
				} else {
					reporttest.Measured((0.03 + 0.0002*float64(m)) * (1 + 2/float64(day+2)) * []float64{1, 0.7, 0.5}[k])(&r)
				}
				if !yield(r, err) {
					return
				}
			}
		}
	}
}
