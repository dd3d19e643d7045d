package daemon

import "testing"

func TestRequestsBetweenPassesAreOnePass(t *testing.T) {
	q := newRequests()
	q.add("a")
	q.add("b")
	<-q.wake
	only, _ := q.take()
	if !only("a") || !only("b") || only("c") {
		t.Error("the selection is not what was requested")
	}
	q.add("a")
	q.add("")
	if only, _ := q.take(); only != nil {
		t.Error("all is less than everything")
	}
}
