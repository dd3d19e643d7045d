package daemon_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/plancast/plancast/exporter/change"
	"github.com/plancast/plancast/exporter/daemon"
	"github.com/plancast/plancast/exporter/daemon/daemontest"
	"github.com/plancast/plancast/exporter/engine/fake"
)

// What a change.yml says is shown everywhere, an edited one as well, and no edit
// measures anything again.
func TestAChangeLeadsToItsResultEverywhere(t *testing.T) {
	s := daemontest.New(t, launchTarget)
	s.Push("net", "1", fake.Script{Latency: daemontest.Milliseconds(4)})
	s.Change("net", "1", "author: Ann\nlink: https://ann:hunter2@example.org/pull/7\nkinds: [fusion]\n", 0)
	d := s.Open()
	places := []struct{ target, text string }{
		{"/", "fusion by AUTHOR"}, {"/", `href="https://example.org/pull/7"`},
		{"/api/v1/report", `"author": "AUTHOR"`}, {"/api/v1/report?format=markdown", "fusion by AUTHOR <https://example.org/pull/7>"},
		{"/metrics", `plancast_candidate_change{author="AUTHOR",branch="",commit="",kinds="fusion",link="https://example.org/pull/7",model="net",version="1"} 1`},
	}
	shows := func(author string) {
		t.Helper()
		if err := d.Pass(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		for _, p := range places {
			_, body := get(t, d.Handler(), "GET", p.target)
			if want := strings.ReplaceAll(p.text, "AUTHOR", author); !strings.Contains(body, want) {
				t.Errorf("%s lacks %q", p.target, want)
			}
			if strings.Contains(body, "hunter2") {
				t.Errorf("%s has the password", p.target)
			}
		}
	}
	shows("Ann")
	s.Change("net", "1", "author: Bob\nlink: https://example.org/pull/7\nkinds: [fusion]\n", 1)
	shows("Bob")
	s.Change("net", "1", "author: Eve\nbranche: x", 2) // with a mistake: what was known stays
	shows("Bob")
	if got, want := s.Records(), []string{"net/1 1 measured"}; !slices.Equal(got, want) {
		t.Errorf("records %v; want %v", got, want)
	}
}

// A file that was edited while no plancast ran is recorded by the next one, and
// one that is older than the backlog as well.
func TestAChangeOfAnOldVersionIsRecorded(t *testing.T) {
	s := daemontest.New(t, "")
	for _, version := range []string{"1", "2"} {
		s.Push("net", version, fake.Script{})
	}
	d := s.Open()
	if err := d.Pass(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	s.Edit("backlog: 100", "backlog: 0")
	s.Change("net", "1", "author: Ann", 0)
	s.Change("net", "2", "author: Bob", 0)
	o := s.Options()
	o.Change = change.Change{Branch: "main"} // which is about what is measured, and that is nothing
	d, err := daemon.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Pass(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := s.Changes(), []string{"by Ann", "by Bob"}; !slices.Equal(got, want) {
		t.Errorf("by %v; want %v", got, want)
	}
}
