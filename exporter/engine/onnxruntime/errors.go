package onnxruntime

import (
	"regexp"
	"strings"

	"github.com/plancast/plancast/exporter/engine"
)

// ONNX Runtime reports status codes as text once they pass the binding, so
// kinds are recognized by its own stable phrases.
var (
	// "Fatal error: com.example:Frobnicate(-1) is not a registered function/op"
	notRegistered = regexp.MustCompile(`([\w.]*):(\w+)\(-?\d+\) is not a registered function/op`)
	// `In Node, ("node", Frobnicate, "", -1) : ... Error No Op registered for Frobnicate with domain_version of 17`
	noOp   = regexp.MustCompile(`No Op registered for (\w+) with domain_version of \d+`)
	inNode = regexp.MustCompile(`In Node, \("([^"]*)", (\w+), "([^"]*)", -?\d+\)`)
	// "Could not find an implementation for ConvInteger(10) node with name 'conv'"
	noKernel = regexp.MustCompile(`Could not find an implementation for (?:([\w.]+)\.)?(\w+)\(\d+\) node with name '([^']*)'`)
	// "Non-zero status code returned while running Relu node. Name:'relu' Status Message: ..."
	running = regexp.MustCompile(`while running (\w+) node\. Name:'([^']*)'`)

	// What stands before the reason: the node, which the failure names as well, and
	// the place in ONNX Runtime's source, a file and a function's signature.
	preamble = regexp.MustCompile(`^(Non-zero status code returned while running \w+ node\. Name:'[^']*' Status Message: )+`)
	place    = regexp.MustCompile(`/onnxruntime_src/\S+:\d+ [^()]*\([^()]*\)( const|::<lambda\(\)>)* (\[ONNXRuntimeError\] : \d+ : \w+ : )?`)
)

// failure turns what ONNX Runtime said into an engine.Error; kind is the kind
// of whatever has no more exact one.
func failure(kind engine.Kind, op, subject string, err error) *engine.Error {
	text := strings.TrimSpace(err.Error())
	for _, prefix := range []string{"Error creating C session from file: ", "Error creating C session: ", "Error running network: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	e := engine.Errorf(kind, op, subject, "%s", text)
	if m := inNode.FindStringSubmatch(text); m != nil {
		e.Node, e.Operator = m[1], operator(m[3], m[2])
	}
	if m := running.FindStringSubmatch(text); m != nil {
		e.Operator, e.Node = m[1], m[2]
	}
	unsupported := func(domain, typ, node string) {
		e.Kind, e.Operator = engine.KindUnsupportedOperator, operator(domain, typ)
		if node != "" {
			e.Node = node
		}
		e.Hint = "export the model with operators that this version of ONNX Runtime has"
	}
	switch m := notRegistered.FindStringSubmatch(text); {
	case m != nil:
		unsupported(m[1], m[2], "")
	case noKernel.MatchString(text):
		m := noKernel.FindStringSubmatch(text)
		unsupported(m[1], m[2], m[3])
	case noOp.MatchString(text):
		domain := ""
		if m := inNode.FindStringSubmatch(text); m != nil {
			domain = m[3]
		}
		unsupported(domain, noOp.FindStringSubmatch(text)[1], "")
	case containsAny(text, "bad_alloc", "Failed to allocate memory", "bad allocation", "out of memory", "Cannot allocate memory"):
		e.Kind = engine.KindOutOfMemory
		e.Hint = "raise the worker's memory limit, or lower the batch size"
	case containsAny(text, "Protobuf parsing failed", "INVALID_PROTOBUF", "Load model from", "This is an invalid model", "INVALID_GRAPH",
		"Type Error:", "ShapeInferenceError", "TypeInferenceError", "opset", "External data path", "is not a graph input, initializer, or output"):
		if kind == engine.KindBuildFailed {
			e.Kind = engine.KindInvalidModel
		}
	case containsAny(text, "Got invalid dimensions for input", "Invalid rank for input", "Unexpected input data type", "Invalid input name"):
		e.Kind = engine.KindInvalidInput
	}
	if short := place.ReplaceAllString(preamble.ReplaceAllString(e.Message, ""), ""); short != "" {
		e.Message = short
	}
	return e
}

func operator(domain, typ string) string {
	if domain == "" || domain == "ai.onnx" {
		return typ
	}
	return domain + ":" + typ
}

func containsAny(s string, parts ...string) bool {
	for _, p := range parts {
		if strings.Contains(s, p) {
			return true
		}
	}
	return false
}
