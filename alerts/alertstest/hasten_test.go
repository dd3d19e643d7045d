package alertstest

import (
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The shipped files keep all of their meaning: every value but those of the
// waiting keys.
func TestHastenChangesWaitingAlone(t *testing.T) {
	for _, name := range []string{"plancast.rules.yml", "prometheus.yml", "alertmanager.yml"} {
		text, err := os.ReadFile("../" + name)
		if err != nil {
			t.Fatal(err)
		}
		out, err := Hasten(string(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if out == string(text) {
			t.Errorf("%s: nothing became shorter", name)
		}
		if was, is := meaning(t, string(text)), meaning(t, out); !reflect.DeepEqual(was, is) {
			t.Errorf("%s: more than waiting changed:\n%v\n%v", name, was, is)
		}
	}
}

// meaning is a YAML text without its waiting.
func meaning(t *testing.T, text string) any {
	t.Helper()
	var out any
	if err := yaml.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	var strip func(any)
	strip = func(x any) {
		switch x := x.(type) {
		case map[string]any:
			for k, v := range x {
				if slices.Contains(waiting, k) {
					delete(x, k)
				}
				strip(v)
			}
		case []any:
			for _, v := range x {
				strip(v)
			}
		}
	}
	strip(out)
	return out
}

func TestHasten(t *testing.T) {
	for _, c := range []struct{ name, in, want, err string }{
		{"an hour", "for: 1h # pending\n", "for: 6s # pending\n", ""},
		{"not below a second, and none is none", "{interval: 1m, for: 0s}\n", "{interval: 1s, for: 0s}\n", ""},
		{"several on a line", "- {for: 1d, keep_firing_for: 2h, expr: 'x[5m] > 5'}\n", "- {for: 2m24s, keep_firing_for: 12s, expr: 'x[5m] > 5'}\n", ""},
		{"an unknown duration", "groups:\n- {query_offset: 5m}\n", "", `line 2: 5m is a duration under the unknown key "query_offset"`},
		{"one in a list", "mute: [5m]\n", "", `"mute"`},
		{"no duration", "for: soon\n", "", "line 1: for: not a valid duration"},
		{"quotes", "for: '5m'\n", "", "without quotes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Hasten(c.in)
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %v; want %q", err, c.err)
			}
			if err == nil && got != c.want {
				t.Errorf("%q; want %q", got, c.want)
			}
		})
	}
}
