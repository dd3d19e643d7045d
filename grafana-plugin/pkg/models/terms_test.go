package models

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/plancast/plancast/terms"
)

var update = flag.Bool("update", false, "regenerate src/terms.json")

// The editor knows what package terms defines from a file that is written from
// it, so that neither side can change alone.
func TestTheEditorHasTheTermsOfTheBackend(t *testing.T) {
	const file = "../../src/terms.json"
	var want bytes.Buffer
	e := json.NewEncoder(&want)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(map[string]any{
		"history": fmt.Sprintf("%dd", terms.LookBack/(24*time.Hour)), "horizon": terms.Horizon, "maxHorizon": terms.MaxHorizon,
		"share": 100 * terms.Share, "ready": 100 * terms.Ready, "figures": terms.Quantities(), "workloadFigures": terms.WorkloadQuantities(),
	}); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is not what package terms says: go test ./grafana-plugin/pkg/models -update (%v)", file, err)
	}
}
