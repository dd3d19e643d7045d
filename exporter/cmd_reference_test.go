package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/engine/fake"
	"github.com/plancast/plancast/exporter/history"
)

// references are what each version's accuracy was compared with in the newest
// environment, with the deviation: "3: 0.10 from version 2 fp32".
func (s *site) references() (out []string) {
	s.t.Helper()
	store, err := history.OpenReadOnly(filepath.Join(s.Dir, "state", "history.db"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer store.Close()
	newest := map[string]string{}
	for r, err := range store.Records(s.t.Context(), history.Filter{}) {
		switch {
		case err != nil || !r.OK():
			s.t.Fatalf("version %s: %v %v", r.Version, r.Failure, err)
		case r.Measurement.Accuracy == nil:
			newest[r.Version] = r.Version + ": " + strings.Join(r.Measurement.Warnings, "; ")
		default:
			a := r.Measurement.Accuracy
			newest[r.Version] = fmt.Sprintf("%s: %.2f from %s", r.Version, a.Deviation, a.Reference)
		}
	}
	for _, text := range newest {
		out = append(out, text)
	}
	slices.Sort(out)
	return out
}

// Each version's outputs are 10 % above those of the one before; version 3 was
// trained.
func retrained(t *testing.T, models string) *site {
	t.Helper()
	s := newSite(t, launchTarget+models)
	scale := 1.0
	for _, version := range []string{"1", "2", "3", "4"} {
		s.Push("net", version, fake.Script{Scale: new(scale)})
		scale *= 1.1
	}
	s.Change("net", "3", "kinds: [training]", 0)
	return s
}

func TestTheReferenceOfAccuracyCanBeDeclared(t *testing.T) {
	first := []string{"1: 0.00 from itself", "2: 0.10 from version 1 fp32", "3: 0.21 from version 1 fp32", "4: 0.33 from version 1 fp32"}
	for declared, want := range map[string][]string{
		"":                          first,
		"reference: auto":           first,
		"reference: version 2":      {"1: 0.09 from version 2 fp32", "2: 0.00 from version 2 fp32", "3: 0.10 from version 2 fp32", "4: 0.21 from version 2 fp32"},
		"reference: newest trained": {"1: 0.00 from itself", "2: 0.10 from version 1 fp32", "3: 0.00 from itself", "4: 0.10 from version 3 fp32"},
	} {
		t.Run(declared, func(t *testing.T) {
			models := ""
			if declared != "" {
				models = "models: [{match: net, " + declared + "}]\n"
			}
			s := retrained(t, models)
			if status, _, errs := s.plancast("run", "--config.file", s.File()); status != exitOK {
				t.Fatalf("status %d\n%s", status, errs)
			}
			if got := s.references(); !slices.Equal(got, want) {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

// A reference older than the versions that are measured is run for its outputs alone,
// once, and stays the reference when it is deleted.
func TestAReferenceNeedNotBeMeasured(t *testing.T) {
	s := retrained(t, "models: [{match: net, reference: version 2}]\n")
	s.Edit("backlog: 100", "backlog: 0")
	s.plancast("run", "--config.file", s.File())
	if err := os.RemoveAll(filepath.Join(s.Dir, "models", "net", "2")); err != nil {
		t.Fatal(err)
	}
	s.Push("net", "5", fake.Script{Scale: new(1.1)})
	s.plancast("run", "--config.file", s.File())
	want := []string{"4: 0.21 from version 2 fp32", "5: 0.00 from version 2 fp32"}
	if got := s.references(); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// The outputs that were kept are those of the model that was there before.
func TestAReferenceThatIsReplacedIsRunAgain(t *testing.T) {
	s := retrained(t, "models: [{match: net, reference: version 2}]\n")
	s.plancast("run", "--config.file", s.File())
	s.Push("net", "2", fake.Script{Scale: new(2.2)})
	s.Push("net", "5", fake.Script{Scale: new(2.2)})
	s.plancast("run", "--config.file", s.File())
	if got, want := s.references(), "5: 0.00 from version 2 fp32"; !slices.Contains(got, want) {
		t.Errorf("got %q, want %q among them", got, want)
	}
}

func TestAReferenceThatIsNotThereCostsTheAccuracy(t *testing.T) {
	for declared, says := range map[string]string{
		"version 9": "the repository does not hold version 9 fp32, the reference",
		"labels":    "there are no labels",
	} {
		s := retrained(t, "models: [{match: net, reference: "+declared+"}]\n")
		s.Edit("backlog: 100", "backlog: 0")
		s.plancast("run", "--config.file", s.File())
		if got := s.references(); len(got) != 1 || !strings.Contains(got[0], "accuracy was not measured") || !strings.Contains(got[0], says) {
			t.Errorf("%s: %q", declared, got)
		}
	}
}

func TestCheckNamesTheDeclaredReference(t *testing.T) {
	for declared, want := range map[string]string{
		"version 2":      "accuracy against version 2 fp32",
		"newest trained": "accuracy against version 3 fp32",
		"labels":         "accuracy against labels",
		"version 9":      "Attention: models[0].reference: net has no version 9: its accuracy is measured only while that version's outputs are kept.",
	} {
		s := retrained(t, "models: [{match: net, reference: "+declared+"}]\n")
		if _, out, errs := s.plancast("check", "--config.file", s.File()); !strings.Contains(out, want) {
			t.Errorf("%s: check lacks %q:\n%s%s", declared, want, out, errs)
		}
	}
	s := newSite(t, "models: [{match: net, reference: newest trained}]\n")
	s.Push("net", "1", fake.Script{})
	if _, out, _ := s.plancast("check", "--config.file", s.File()); !strings.Contains(out, "Attention: models[0].reference: no change.yml of net has kinds: [training]") {
		t.Errorf("no version was trained:\n%s", out)
	}
}

// --meta says of what a run measures that it was trained, as change.yml does.
func TestARunMayDeclareATrainedVersion(t *testing.T) {
	s := newSite(t, launchTarget+"models: [{match: net, reference: newest trained}]\n")
	s.Push("net", "1", fake.Script{})
	s.plancast("run", "--config.file", s.File())
	s.Push("net", "2", fake.Script{Scale: new(2.0)})
	s.plancast("run", "--config.file", s.File(), "--meta", "kinds=training")
	s.Push("net", "3", fake.Script{Scale: new(2.2)})
	s.plancast("run", "--config.file", s.File())
	want := []string{"1: 0.00 from itself", "2: 0.00 from itself", "3: 0.10 from version 2 fp32"}
	if got := s.references(); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
