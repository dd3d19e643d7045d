// Package dose says how often a test that hurts plancast does so: seldom in every
// run of the tests, often when bench/torture asks for it, which also collects what
// came of it.
package dose

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// Variables that bench/torture sets: how often what is done, as "kills=500 flips=500",
// and the file that results are added to.
const (
	Variable = "PLANCAST_TORTURE"
	Results  = "PLANCAST_TORTURE_RESULTS"
)

// Result is what came of one kind of torture: a line of JSON in the file of results.
type Result struct {
	What    string `json:"what"`
	Times   int    `json:"times"`
	Outcome string `json:"outcome"` // in words
}

// Of is how often a test does what it does: short, unless bench/torture says otherwise.
func Of(t testing.TB, what string, short int) int {
	t.Helper()
	for setting := range strings.FieldsSeq(os.Getenv(Variable)) {
		name, text, _ := strings.Cut(setting, "=")
		if name != what {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("%s is %q: write a number", Variable, setting)
		}
		return n
	}
	return short
}

// Done notes, at the end of a test that has not failed, how often it was done and
// what came of it.
func Done(t testing.TB, what string, times int, format string, args ...any) {
	t.Helper()
	r := Result{what, times, fmt.Sprintf(format, args...)}
	t.Logf("%s, %d times: %s", r.What, r.Times, r.Outcome)
	name := os.Getenv(Results)
	if name == "" || t.Failed() {
		return
	}
	line, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
