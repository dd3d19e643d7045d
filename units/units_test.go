package units

import (
	"math"
	"strings"
	"testing"
)

func TestParseReadsWhatPeopleWrite(t *testing.T) {
	for _, c := range []struct {
		text string
		unit Unit
		want float64
	}{
		{"50ms", Seconds, 0.050},
		{"1.5 s", Seconds, 1.5},
		{"250us", Seconds, 250e-6},
		{"250µs", Seconds, 250e-6},
		{"10min", Seconds, 600},
		{"0.5%", Ratio, 0.005},
		{"0.005", Ratio, 0.005},
		{"80 %", Ratio, 0.8},
		{"1GiB", Bytes, 1 << 30},
		{"512 MiB", Bytes, 512 << 20},
		{"1kB", Bytes, 1000},
		{"1800/s", PerSec, 1800},
		{"1800QPS", PerSec, 1800},
		{"1800", PerSec, 1800},
		{"60/min", PerSec, 1},
		{"0", Seconds, 0},
		{"0", Bytes, 0},
		{"-3", None, -3},
	} {
		got, err := Parse(c.text, c.unit)
		if err != nil || math.Abs(got-c.want) > 1e-12*math.Max(1, math.Abs(c.want)) {
			t.Errorf("Parse(%q, %q) = %v, %v; want %v", c.text, c.unit, got, err, c.want)
		}
	}
}

func TestParseRefusesAndSaysWhatWouldBeRight(t *testing.T) {
	for _, c := range []struct {
		text string
		unit Unit
		want string
	}{
		{"50", Seconds, `"50" is not a time such as "50ms"`},
		{"fast", Seconds, `"fast" is not a time`},
		{"1GiB", Seconds, `"1GiB" is not a time`},
		{"50ms", Ratio, `is not a share such as "0.5%"`},
		{"10", Bytes, `is not a size such as "512MiB"`},
		{"", Ratio, `"" is not a share`},
		{"NaN", Ratio, `"NaN" is not a share`},
		{"Inf%", Ratio, `is not a share`},
		{"0x10", None, `is not a number`},
		{"1", "furlongs", `"furlongs" is not a unit`},
	} {
		_, err := Parse(c.text, c.unit)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("Parse(%q, %q) error %v; want one with %q", c.text, c.unit, err, c.want)
		}
	}
}

func TestFormatReadsLikeASentence(t *testing.T) {
	for _, c := range []struct {
		v    float64
		unit Unit
		want string
	}{
		{0.042, Seconds, "42 ms"},
		{0.0641, Seconds, "64.1 ms"},
		{0.0009999, Seconds, "1 ms"},
		{0.9999, Seconds, "1 s"},
		{0.000512, Seconds, "512 µs"},
		{90, Seconds, "90 s"},
		{1800, Seconds, "30 min"},
		{0, Seconds, "0 s"},
		{0.005, Ratio, "0.5 %"},
		{0, Ratio, "0 %"},
		{1.2 * (1 << 30), Bytes, "1.2 GiB"},
		{1 << 20, Bytes, "1 MiB"},
		{12, Bytes, "12 B"},
		{1800, PerSec, "1,800/s"},
		{1234567, PerSec, "1,234,567/s"},
		{-1234.5, None, "-1,234"},
		{1.8, None, "1.8"},
		{math.NaN(), Seconds, "n/a"},
		{math.Inf(1), Seconds, "∞"},
		{math.Inf(-1), Bytes, "-∞"},
	} {
		if got := Format(c.v, c.unit); got != c.want {
			t.Errorf("Format(%v, %q) = %q; want %q", c.v, c.unit, got, c.want)
		}
	}
}

func TestPercentNeverClaimsCertainty(t *testing.T) {
	for v, want := range map[float64]string{0: "0 %", 1: "100 %", 0.996: "> 99 %", 0.999999: "> 99 %", 0.004: "< 1 %", 0.834: "83 %", 0.5: "50 %"} {
		if got := Percent(v); got != want {
			t.Errorf("Percent(%v) = %q; want %q", v, got, want)
		}
	}
	if got := Percent(math.NaN()); got != "n/a" {
		t.Errorf("Percent(NaN) = %q; want n/a", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"50ms", "0.5%", "1GiB", "1800/s", "", "1e400s", "µs"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, u := range []Unit{None, Seconds, Ratio, Bytes, PerSec} {
			v, err := Parse(s, u)
			if err == nil && math.IsNaN(v) {
				t.Fatalf("Parse(%q, %q) accepted NaN", s, u)
			}
		}
	})
}
