package trt

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Kinds of failure, for errors.Is.
var (
	// ErrUnavailable: TensorRT cannot be used by this binary on this machine.
	ErrUnavailable = errors.New("TensorRT is not available")
	// ErrNoDevice: no NVIDIA driver, or no such GPU.
	ErrNoDevice = errors.New("no usable GPU")
	// ErrOutOfMemory: host or device memory ran out.
	ErrOutOfMemory = errors.New("out of memory")
	// ErrUnsupported: this TensorRT version, or this binding, cannot do what was asked.
	ErrUnsupported = errors.New("not supported")
	// ErrIncompatiblePlan: the plan was built by another TensorRT version or for another GPU.
	ErrIncompatiblePlan = errors.New("plan is incompatible")
	// ErrCorruptPlan: the bytes are no complete plan.
	ErrCorruptPlan = errors.New("plan is corrupt")
	// ErrNoImplementation: no kernel fits a layer, often because the workspace is too small.
	ErrNoImplementation = errors.New("no implementation for a layer")
	// ErrInvalid: an argument is refused.
	ErrInvalid = errors.New("invalid argument")
	// ErrClosed: the object was closed.
	ErrClosed = errors.New("use after Close")
)

// UnavailableError says which library is missing, where it was looked for, and
// what was found instead. It wraps ErrUnavailable.
type UnavailableError struct {
	Library  string   // file name looked for, such as "libnvinfer.so.10"; empty when the binary lacks the binding
	Searched []string // folders and loader paths, in order
	Found    []string // files of another version, with their folder
	Reason   string   // what the loader or the version check said
}

func (e *UnavailableError) Error() string {
	var b strings.Builder
	b.WriteString(ErrUnavailable.Error())
	if e.Library != "" {
		fmt.Fprintf(&b, ": cannot open %s", e.Library)
	}
	if e.Reason != "" {
		fmt.Fprintf(&b, ": %s", e.Reason)
	}
	if len(e.Searched) > 0 {
		fmt.Fprintf(&b, "; looked in %s", strings.Join(e.Searched, ", "))
	}
	if len(e.Found) > 0 {
		fmt.Fprintf(&b, "; found instead %s", strings.Join(e.Found, ", "))
	}
	if e.Library != "" {
		fmt.Fprintf(&b, "; set %s or Options.LibraryPath to the folder that holds it", LibraryPathVariable)
	}
	return b.String()
}

// Unwrap gives ErrUnavailable.
func (e *UnavailableError) Unwrap() error { return ErrUnavailable }

// Severity of a TensorRT log line.
type Severity int

// The severities, as TensorRT numbers them.
const (
	SeverityInternal Severity = iota
	SeverityError
	SeverityWarning
	SeverityInfo
	SeverityVerbose
)

func (s Severity) String() string {
	switch s {
	case SeverityInternal:
		return "internal error"
	case SeverityError:
		return "error"
	case SeverityWarning:
		return "warning"
	case SeverityInfo:
		return "info"
	case SeverityVerbose:
		return "verbose"
	}
	return fmt.Sprintf("severity(%d)", int(s))
}

// LogLine is one line that TensorRT logged.
type LogLine struct {
	Severity Severity
	Text     string
}

// Error is a failure inside TensorRT or CUDA.
type Error struct {
	Op   string    // what was attempted, such as "build engine"
	Kind error     // one of the kinds above, or nil when none fits
	Text string    // what the binding or CUDA said; may be empty
	Node string    // the layer TensorRT named, if it named one
	Log  []LogLine // lines logged meanwhile, oldest first
}

func (e *Error) Error() string {
	var parts []string
	if e.Kind != nil {
		parts = append(parts, e.Kind.Error())
	}
	if e.Node != "" {
		parts = append(parts, "layer "+e.Node)
	}
	if e.Text != "" {
		parts = append(parts, e.Text)
	}
	for _, l := range e.Log {
		if l.Severity <= SeverityError {
			parts = append(parts, l.Text)
		}
	}
	if len(parts) == 0 {
		parts = append(parts, "TensorRT gave no reason")
	}
	return "tensorrt: " + e.Op + ": " + strings.Join(parts, ": ")
}

// Unwrap gives the kind.
func (e *Error) Unwrap() error { return e.Kind }

// classify fills Kind and Node from what TensorRT logged, where the shim could
// not say. The phrases are those of TensorRT 10.
func (e *Error) classify() *Error {
	var text strings.Builder
	text.WriteString(e.Text)
	for _, l := range e.Log {
		if l.Severity <= SeverityWarning {
			text.WriteByte('\n')
			text.WriteString(l.Text)
		}
	}
	s := text.String()
	if m := noImplementation.FindStringSubmatch(s); m != nil {
		e.Node = m[1]
	}
	if m := otherGPU.FindStringSubmatch(s); m != nil {
		e.Text = fmt.Sprintf("it was built for a GPU of compute capability %s, this one has %s", m[2], m[1])
	}
	if e.Kind != nil {
		return e
	}
	for _, p := range phrases {
		if p.match.MatchString(s) {
			e.Kind = p.kind
			break
		}
	}
	return e
}

var noImplementation = regexp.MustCompile(`Could not find any implementation for node (.+?)(?: due to |\.\)|\.$|\.\s|\n|$)`)

// TensorRT expects the capability of the GPU that it runs on.
var otherGPU = regexp.MustCompile(`(?i)expecting compute (\d+\.\d+) got compute (\d+\.\d+)`)

var phrases = []struct {
	match *regexp.Regexp
	kind  error
}{
	{regexp.MustCompile(`(?i)version tag does not match|platform specific tag mismatch|incompatible device|not compatible with the (current )?(device|version)|plan file is (not compatible|generated on an incompatible)`), ErrIncompatiblePlan},
	{regexp.MustCompile(`(?i)magicTagRead|serialization assertion`), ErrCorruptPlan},
	{regexp.MustCompile(`(?i)could not find any implementation|insufficient workspace`), ErrNoImplementation},
	{regexp.MustCompile(`(?i)out of memory|OutOfMemory|memory allocation|bad_alloc`), ErrOutOfMemory},
	{regexp.MustCompile(`(?i)no CUDA-capable device|CUDA driver version is insufficient|cuInit|CUDA initialization failure`), ErrNoDevice},
}

// ParserError is one complaint of the ONNX parser.
type ParserError struct {
	Code      ParserCode
	Message   string
	NodeIndex int      // in the graph, from 0; -1 when the complaint is about no node
	NodeName  string   // may be empty: ONNX allows unnamed nodes
	Operator  string   // ONNX operator type, such as "Conv"
	Functions []string // local functions the node lies in, outermost first
	Source    string   // the parser's own file, line and function
}

func (e ParserError) String() string {
	var b strings.Builder
	b.WriteString(e.Code.String())
	if e.NodeIndex >= 0 && (e.Operator != "" || e.NodeName != "") {
		fmt.Fprintf(&b, " at node %d", e.NodeIndex)
		if e.NodeName != "" {
			fmt.Fprintf(&b, " %q", e.NodeName)
		}
		if e.Operator != "" {
			fmt.Fprintf(&b, " (%s)", e.Operator)
		}
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	return b.String()
}

// ParserCode is the ONNX parser's error code.
type ParserCode int

// The codes of NvOnnxParser.h.
const (
	ParserSuccess ParserCode = iota
	ParserInternalError
	ParserMemoryAllocationFailed
	ParserModelDeserializeFailed
	ParserInvalidValue
	ParserInvalidGraph
	ParserInvalidNode
	ParserUnsupportedGraph
	ParserUnsupportedNode
	ParserUnsupportedNodeAttribute
	ParserUnsupportedNodeInput
	ParserUnsupportedNodeDataType
	ParserUnsupportedNodeDynamic
	ParserUnsupportedNodeShape
	ParserRefitFailed
)

var parserCodes = [...]string{
	"success", "internal error", "memory allocation failed", "model deserialize failed", "invalid value",
	"invalid graph", "invalid node", "unsupported graph", "unsupported node", "unsupported node attribute",
	"unsupported node input", "unsupported node data type", "unsupported dynamic node", "unsupported node shape",
	"refit failed",
}

func (c ParserCode) String() string {
	if c >= 0 && int(c) < len(parserCodes) {
		return parserCodes[c]
	}
	return fmt.Sprintf("parser code %d", int(c))
}

// ParseError is a refused ONNX model with every complaint of the parser.
type ParseError struct {
	Model  string // file name, or "" for bytes
	Errors []ParserError
	Log    []LogLine
}

func (e *ParseError) Error() string {
	name := e.Model
	if name == "" {
		name = "model"
	}
	switch len(e.Errors) {
	case 0:
		return (&Error{Op: "parse " + name, Log: e.Log}).Error()
	case 1:
		return fmt.Sprintf("tensorrt: parse %s: %v", name, e.Errors[0])
	}
	return fmt.Sprintf("tensorrt: parse %s: %v (and %d more)", name, e.Errors[0], len(e.Errors)-1)
}

// Operators lists the operator types complained about, each once, in order.
func (e *ParseError) Operators() []string {
	var ops []string
	known := map[string]bool{}
	for _, p := range e.Errors {
		if p.Operator != "" && !known[p.Operator] {
			known[p.Operator] = true
			ops = append(ops, p.Operator)
		}
	}
	return ops
}

func invalidf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}
