package engine

import "strings"

// Title is the kind in words; "" for a kind that this program does not know.
func (k Kind) Title() string {
	switch k {
	case KindInvalidModel:
		return "not a usable ONNX model"
	case KindInvalidInput:
		return "inputs do not fit the model"
	case KindUnsupportedInput:
		return "an input or output that cannot be measured"
	case KindUnsupportedOperator:
		return "unsupported operator"
	case KindUnsupportedPrecision:
		return "unsupported here"
	case KindBuildFailed:
		return "the engine could not be built"
	case KindRunFailed:
		return "the engine was built but does not run"
	case KindOutOfMemory:
		return "out of memory"
	case KindTimeout:
		return "took too long"
	case KindCrashed:
		return "the worker crashed"
	case KindAccuracy:
		return "wrong outputs"
	case KindUnavailable:
		return "the runtime cannot be used"
	case KindInternal:
		return "internal error"
	}
	return ""
}

// DeviceName is the device's name for a sentence: without trade marks and the
// word CPU.
func (e Environment) DeviceName() string {
	s := strings.NewReplacer("(R)", "", "(r)", "", "(TM)", "", "(tm)", "", " CPU", "").Replace(e.Device)
	if s = strings.Join(strings.Fields(s), " "); s == "" {
		return "an unnamed device"
	}
	return s
}
