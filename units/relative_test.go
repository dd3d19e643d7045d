package units

import (
	"math"
	"testing"
	"time"
)

func TestChangeSaysTheDirection(t *testing.T) {
	for v, want := range map[float64]string{
		-0.38: "down 38 %", 0.05: "up 5 %", -0.004: "down 0.4 %", 0.0004: "unchanged", 0: "unchanged",
		2.2: "up 220 %", -0.0996: "down 10 %", -0.9996: "down 100 %",
	} {
		if got := Change(v); got != want {
			t.Errorf("Change(%v) = %q; want %q", v, got, want)
		}
	}
	if got := Change(math.NaN()); got != "n/a" {
		t.Errorf("Change(NaN) = %q", got)
	}
}

func TestChangesHaveTheirInterval(t *testing.T) {
	for _, c := range []struct {
		ratio, low, high float64
		want             string
	}{
		{-0.38, -0.4, -0.36, "down 38 % (36-40 %)"}, {0.05, 0.042, 0.061, "up 5 % (4.2-6.1 %)"}, {2.2, 2, 2.4, "up 220 % (200-240 %)"},
	} {
		if got := ChangeWithin(c.ratio, c.low, c.high); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestAgoRoundsDown(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "just now", 59 * time.Second: "just now", 119 * time.Second: "1 min ago", 119 * time.Minute: "119 min ago",
		47 * time.Hour: "47 h ago", 49 * time.Hour: "2 d ago",
	} {
		if got := Ago(d); got != want {
			t.Errorf("Ago(%v) = %q; want %q", d, got, want)
		}
	}
	if got := Count(1, "model") + ", " + Count(1200, "model"); got != "1 model, 1,200 models" {
		t.Errorf("Count: %q", got)
	}
}
