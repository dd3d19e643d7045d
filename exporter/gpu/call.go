package gpu

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
)

// errAbsent says that the device, or its driver, does not report it.
var errAbsent = errors.New("not reported by this device")

// Error is a call into NVML that failed.
type Error struct {
	Call   string // "nvmlDeviceGetPowerUsage"
	Return nvml.Return
	Text   string // NVML's own words
}

func (e *Error) Error() string { return e.Call + ": " + e.Text }

func newError(call string, ret nvml.Return) *Error { return &Error{call, ret, ret.Error()} }

// HungError is a call into NVML that did not return in time. No further call is
// made on the same device until it does.
type HungError struct {
	Call  string
	Since time.Time
}

func (e *HungError) Error() string {
	return fmt.Sprintf("%s has not returned since %s: the driver hangs; check the kernel log, and restart the machine if necessary",
		e.Call, e.Since.UTC().Format(time.RFC3339))
}

// UnavailableError says that there is no NVML to ask.
type UnavailableError struct{ Reason string }

func (e *UnavailableError) Error() string {
	return "no GPU telemetry: " + e.Reason
}

// absent are the answers of devices and drivers that do not have a figure.
var absent = []nvml.Return{
	nvml.ERROR_NOT_SUPPORTED, nvml.ERROR_FUNCTION_NOT_FOUND, nvml.ERROR_NO_PERMISSION, nvml.ERROR_NO_DATA,
	nvml.ERROR_ARGUMENT_VERSION_MISMATCH, nvml.ERROR_DEPRECATED,
}

// line carries the calls that concern one device, one at a time and each bounded
// in time. A call cannot be taken back: one that hangs keeps its goroutine, and
// closes the line until it returns.
type line struct {
	lib   nvml.Interface
	limit time.Duration

	turn    sync.Mutex // held by the caller whose turn it is
	mu      sync.Mutex // guards the rest
	hung    *HungError
	symbols map[string]bool // whether the driver has it
}

func newLine(lib nvml.Interface, limit time.Duration) *line {
	return &line{lib: lib, limit: limit, symbols: map[string]bool{}}
}

// hangs returns the call that has not returned, or nil.
func (l *line) hangs() *HungError {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hung
}

// has reports whether the driver has a function. Calling one that it lacks would
// end the process: go-nvml's functions are bound at their first call.
func (l *line) has(symbol string) bool {
	l.mu.Lock()
	known, cached := l.symbols[symbol]
	l.mu.Unlock()
	if cached {
		return known
	}
	known = l.lib.Extensions().LookupSymbol(symbol) == nil
	l.mu.Lock()
	defer l.mu.Unlock()
	l.symbols[symbol] = known
	return known
}

// call makes one call, which is named after its function in NVML. The error is
// errAbsent, *HungError or *Error.
func call[T any](l *line, symbol string, f func() (T, nvml.Return)) (T, error) {
	var zero T
	if !l.has(symbol) {
		return zero, errAbsent
	}
	return bounded(l, symbol, l.limit, f)
}

func bounded[T any](l *line, symbol string, limit time.Duration, f func() (T, nvml.Return)) (T, error) {
	l.turn.Lock()
	defer l.turn.Unlock()
	var zero T
	if hung := l.hangs(); hung != nil {
		return zero, hung
	}
	type answer struct {
		value T
		ret   nvml.Return
	}
	begun := time.Now()
	answered := make(chan answer, 1)
	go func() {
		v, ret := f()
		answered <- answer{v, ret}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.hung != nil && l.hung.Since.Equal(begun) {
			l.hung = nil // it came back after all
		}
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	decide := func(a answer) (T, error) {
		switch {
		case a.ret == nvml.SUCCESS:
			return a.value, nil
		case slices.Contains(absent, a.ret):
			return zero, errAbsent
		}
		return zero, newError(symbol, a.ret)
	}
	select {
	case a := <-answered:
		return decide(a)
	case <-timer.C:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case a := <-answered: // at the last moment
		return decide(a)
	default:
	}
	l.hung = &HungError{symbol, begun}
	return zero, l.hung
}
