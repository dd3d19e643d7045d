package daemon

import "testing"

func TestRequestsBetweenPassesAreOnePass(t *testing.T) {
	q := newRequests()
	q.add("a")
	q.add("b")
	<-q.wake
	only := q.take()
	if !only("a") || !only("b") || only("c") {
		t.Error("the selection is not what was requested")
	}
	q.add("a")
	q.add("")
	if q.take() != nil {
		t.Error("all is less than everything")
	}
}
