package candidate

import (
	"path"
	"strings"
	"testing"
	"time"
)

// A file that is named nearly like one that is read has a note; the one that is
// read has none.
func TestNearlyRightNamesHaveANote(t *testing.T) {
	for _, known := range besideFiles {
		stem := strings.TrimSuffix(known, path.Ext(known))
		variants := []string{stem + ".other", strings.ToUpper(stem) + path.Ext(known), stem + "s" + path.Ext(known)}
		if single, ok := strings.CutSuffix(stem, "s"); ok {
			variants = append(variants, single+path.Ext(known))
		}
		for _, file := range append(variants, known, "readme.md") {
			l := &lister{notes: map[string]Note{}}
			l.noteMisnamed("m/"+file, file)
			if note, want := l.notes["m/"+file], file != known && file != "readme.md"; (note.Text != "") != want || want && !strings.Contains(note.Text, known) {
				t.Errorf("%s beside %s: %q", file, known, note.Text)
			}
		}
	}
}

// A repository in which everything is rejected is not taken for an unmounted one.
func TestRejectedFoldersAreNoEmptyListing(t *testing.T) {
	r := &Repository{opts: Options{Now: time.Now}, facts: map[string]fact{"m/1": {}}}
	if err := r.guardEmpty(&lister{}); err == nil {
		t.Errorf("an empty listing: %v", err)
	}
	if err := r.guardEmpty(&lister{refused: map[string]Refusal{"m/v1": {}}}); err != nil {
		t.Errorf("a rejected folder: %v", err)
	}
}
