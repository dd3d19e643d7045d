package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/alecthomas/kingpin/v2"
)

// A deadline without a zone means what it means in the configuration that the
// history belongs to, and UTC where there is none.
func TestADeadlineIsInTheZoneOfItsHistory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "plancast.yml")
	if err := os.WriteFile(file, []byte("repository: {url: models}\ntimezone: Asia/Tokyo\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"configuration": {[]string{"--config.file", file}, "Asia/Tokyo"},
		"CSV":           {[]string{"--config.file", file, "--csv", "-"}, "UTC"},
		"Prometheus":    {[]string{"--config.file", file, "--prometheus.url", "http://localhost:9090"}, "UTC"},
		"history alone": {[]string{"--history.file", "history.db"}, "UTC"},
	} {
		app := kingpin.New("plancast", "")
		_, command := registerForecast(app)
		if _, err := app.Parse(joinDashes(append([]string{"forecast"}, c.args...))); err != nil {
			t.Fatal(err)
		}
		zone, err := command.(*forecastCommand).zone()
		if err != nil || zone.String() != c.want {
			t.Errorf("%s: %v, %v; want %s", name, zone, err, c.want)
		}
	}
}
