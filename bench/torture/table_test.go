package main

import (
	"strings"
	"testing"
)

// A run of some kinds leaves the rows of all others as they are.
func TestARunOfSomeKindsKeepsTheOtherRows(t *testing.T) {
	page, err := merge("before\n"+begin+"anything\n"+end+"after\n", []row{
		{"soak", "a soak", "1m0s", "1h0m0s", "quiet", "first"}, {"kills", "SIGKILL", "500 times", "500 times", "none was lost", "first"},
	})
	if err != nil {
		t.Fatal(err)
	}
	page, err = merge(page, []row{{"flips", "a bit", "3 times", "500 times", "harmless", "second"}, {"soak", "a soak", "1h0m0s", "1h0m0s", "quiet", "second"}})
	if err != nil {
		t.Fatal(err)
	}
	want := "before\n" + begin + `
| kind | what was injected | how often | target | result | when, which version |
| --- | --- | --- | --- | --- | --- |
| kills | SIGKILL | 500 times | 500 times | none was lost | first |
| flips | a bit | 3 times | 500 times | harmless | second |
| soak | a soak | 1h0m0s | 1h0m0s | quiet | second |

` + end + "after\n"
	if page != want {
		t.Errorf("the page is\n%s\nwant\n%s", page, want)
	}
}

func TestAPageWithoutAPlaceIsNotWritten(t *testing.T) {
	if _, err := merge("nothing", []row{{kind: "kills"}}); err == nil || !strings.Contains(err.Error(), "no place") {
		t.Errorf("error %v", err)
	}
}
