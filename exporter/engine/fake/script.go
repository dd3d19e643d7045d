package fake

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/plancast/plancast/exporter/engine"
)

// Script says how a model behaves. The zero value is a healthy model of 1 ms
// with one input x float32[N,4] and one output y = x.
type Script struct {
	// Fault is what goes wrong, if anything, and At is where: "build" (when
	// empty), "load", "infer", "time" or "layers".
	Fault Fault  `json:"fault,omitempty"`
	At    string `json:"at,omitempty"`

	Latency   Duration   `json:"latency,omitempty"`   // of a query; 1ms when zero
	Latencies []Duration `json:"latencies,omitempty"` // one a window, cyclically, instead of Latency
	Jitter    float64    `json:"jitter,omitempty"`    // standard deviation as a share of the latency
	PerSample bool       `json:"per_sample,omitempty"`
	Sleep     bool       `json:"sleep,omitempty"` // spend the window's time
	BuildTime Duration   `json:"build_time,omitempty"`

	Precisions []engine.Precision  `json:"precisions,omitempty"` // supported; all when empty
	Inputs     []engine.TensorInfo `json:"inputs,omitempty"`
	// Ranges are the shapes that the engine was built for before; all when empty.
	Ranges    map[string]engine.Profile `json:"ranges,omitempty"`
	Scale     *float64                  `json:"scale,omitempty"` // y = Scale x; 1 when nil
	NaN       bool                      `json:"nan,omitempty"`   // y is NaN
	Layers    []engine.Layer            `json:"layers,omitempty"`
	PeakBytes int64                     `json:"peak_bytes,omitempty"`
	Message   string                    `json:"message,omitempty"` // of a fault that is an error
}

// Fault is something that goes wrong.
type Fault string

// The faults. The first group returns an *engine.Error of the kind named, the
// second does to the process what native code can do to it.
const (
	InvalidModel        Fault = "invalid_model"
	UnsupportedOperator Fault = "unsupported_operator"
	BuildFailed         Fault = "build_failed"
	RunFailed           Fault = "run_failed"
	OutOfMemory         Fault = "out_of_memory"

	Hang    Fault = "hang"    // never returns, whatever the context says
	Crash   Fault = "crash"   // dies of a signal, as a segmentation fault does
	Exit    Fault = "exit"    // ends with status 3 and a line on stderr
	Garbage Fault = "garbage" // writes nonsense on stdout, then goes on
	Flood   Fault = "flood"   // writes 64 MiB on stderr, then goes on
	Eat     Fault = "eat"     // allocates and touches memory until stopped
	Panic   Fault = "panic"
)

// Duration is a time.Duration written as "1.5ms" in JSON.
type Duration time.Duration

// MarshalJSON writes "1.5ms".
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(d).String()) }

// UnmarshalJSON reads "1.5ms".
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	v, err := time.ParseDuration(s)
	*d = Duration(v)
	return err
}

// Write writes script as a model file at name.
func Write(name string, script Script) error {
	b, err := json.Marshal(script)
	if err != nil {
		return err
	}
	return os.WriteFile(name, b, 0o600)
}

func readScript(name string) (Script, error) {
	var s Script
	b, err := os.ReadFile(name)
	if err != nil {
		return s, engine.Errorf(engine.KindInvalidModel, "read script", name, "%v", err)
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, engine.Errorf(engine.KindInvalidModel, "read script", name, "%v", err)
	}
	if s.Latency == 0 {
		s.Latency = Duration(time.Millisecond)
	}
	if s.At == "" {
		s.At = "build"
	}
	if len(s.Inputs) == 0 {
		s.Inputs = []engine.TensorInfo{{Name: "x", DType: engine.Float32, Dims: []engine.Dim{{Size: -1, Name: "N"}, {Size: 4}}}}
	}
	return s, nil
}

// strike does the scripted fault when it is due at stage.
func (s Script) strike(stage string) error {
	if s.Fault == "" || s.At != stage {
		return nil
	}
	switch s.Fault {
	case InvalidModel, UnsupportedOperator, BuildFailed, RunFailed, OutOfMemory:
		message := s.Message
		if message == "" {
			message = "as the script says"
		}
		e := engine.Errorf(engine.Kind(s.Fault), stage, "fake engine", "%s", message)
		if s.Fault == UnsupportedOperator {
			e.Node, e.Operator = "node_1", "Frobnicate"
		}
		return e
	case Hang:
		select {} // with timers elsewhere this is no deadlock; a lone worker has its pipe readers
	case Crash:
		crash()
	case Exit:
		fmt.Fprintln(os.Stderr, "fake: leaving with status 3, as the script says")
		os.Exit(3)
	case Garbage:
		_, _ = os.Stdout.WriteString("\x00\xff{not json\nnor this}\n")
	case Flood:
		line := strings.Repeat("flood ", 170) + "\n"
		for range 64 << 10 {
			_, _ = os.Stderr.WriteString(line)
		}
	case Eat:
		var kept [][]byte
		for {
			block := make([]byte, 16<<20)
			for i := 0; i < len(block); i += 4096 {
				block[i] = 1
			}
			kept = append(kept, block) //nolint:staticcheck // SA4010: it is kept to be held
		}
	case Panic:
		panic("fake: as the script says")
	default:
		return engine.Errorf(engine.KindInternal, stage, "fake engine", "there is no fault %q", s.Fault)
	}
	return nil
}
