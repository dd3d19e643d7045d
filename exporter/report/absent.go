package report

import (
	"fmt"
	"time"

	"github.com/plancast/plancast/exporter/outside"
	"github.com/plancast/plancast/exporter/standing"
)

// Unmatched is a target or milestone that selects no model: most likely a name is misspelt.
type Unmatched struct {
	Kind standing.Kind `json:"kind"`
	Name string        `json:"name"`
}

// String reads "target launch selects no model".
func (u Unmatched) String() string {
	return fmt.Sprintf("%s %s selects no model", u.Kind, u.Name)
}

// Absent is a model that a target or milestone is about and the repository lacks.
type Absent struct {
	Kind   standing.Kind `json:"kind"`
	Name   string        `json:"name"` // of the target or milestone
	Model  string        `json:"model"`
	Counts bool          `json:"counts"` // the milestone counts it as not ready
	Since  *time.Time    `json:"since,omitempty"`
	Text   string        `json:"text"`
}

// AbsenceText reads "milestone launch lists b, which the repository does not
// hold: it counts as not ready until you remove it from the milestone".
func AbsenceText(a standing.Absence) string {
	if a.Model == "" {
		return Unmatched{a.Kind, a.Threshold}.String() + ": check the spelling"
	}
	return absent(a, false).Text
}

func (v *View) absent(a standing.Absence) {
	if a.Model == "" {
		v.Unmatched = append(v.Unmatched, Unmatched{a.Kind, a.Threshold})
		return
	}
	v.Absent = append(v.Absent, absent(a, v.Fleet))
}

func absent(a standing.Absence, fleet bool) Absent {
	lacks, left, on := "the repository does not hold", "left the repository", " on "
	if fleet {
		lacks, left, on = "no exporter publishes", "no exporter publishes any more", ", since "
	}
	x := Absent{Kind: a.Kind, Name: a.Threshold, Model: outside.Line(a.Model, 100), Counts: a.Counts}
	x.Text = fmt.Sprintf("%s %s", a.Kind, a.Threshold)
	if a.Listed {
		x.Text += fmt.Sprintf(" lists %s, which %s", x.Model, lacks)
	} else {
		x.Text += fmt.Sprintf(" matched %s, which %s", x.Model, left)
	}
	if !a.Since.IsZero() {
		x.Since = new(a.Since.UTC())
		if a.Listed {
			x.Text += " since " + a.Since.UTC().Format("2 January 2006")
		} else {
			x.Text += on + a.Since.UTC().Format("2 January 2006")
		}
	}
	switch {
	case a.Kind == standing.KindTarget:
		x.Text += ": correct the name, or remove it from the target"
	case a.Counts && a.Listed:
		x.Text += ": it counts as not ready until you remove it from the milestone"
	case a.Counts && a.Since.IsZero():
		x.Text += fmt.Sprintf(": it counts as not ready for %d days; list the models that matter by name", int(standing.Keep.Hours()/24))
	case a.Counts:
		x.Text += fmt.Sprintf(": it counts as not ready until %s; list the models that matter by name", a.Since.Add(standing.Keep).UTC().Format("2 January 2006"))
	default:
		x.Text += ": it no longer counts; list it by name if it still matters"
	}
	return x
}
