package trt

import (
	"errors"
	"strings"
	"testing"
)

func TestClassify(t *testing.T) {
	for _, tc := range []struct {
		log  string
		kind error
		node string
	}{
		{"IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Serialization assertion stdVersionRead == kSERIALIZATION_VERSION failed.Version tag does not match. Note: Current Version: 239, Serialized Engine Version: 236)", ErrIncompatiblePlan, ""},
		{"IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Serialization assertion plan->header.pad == expectedPlatformTag failed.Platform specific tag mismatch detected. TensorRT plan files are only supported on the target runtime platform they were created on.)", ErrIncompatiblePlan, ""},
		{"IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Serialization assertion plan->header.size == blobSize failed.)", ErrCorruptPlan, ""},
		{"The engine plan file is generated on an incompatible device, expecting compute 9.0 got compute 8.9, please rebuild.", ErrIncompatiblePlan, ""},
		{"IRuntime::deserializeCudaEngine: Error Code 1: Serialization (Serialization assertion magicTagRead == kMAGIC_TAG failed.Magic tag does not match)", ErrCorruptPlan, ""},
		{"Error Code 10: Internal Error (Could not find any implementation for node /layer1/conv + /relu due to insufficient workspace. See verbose log for requested sizes.)", ErrNoImplementation, "/layer1/conv + /relu"},
		{"Error Code 10: Internal Error (Could not find any implementation for node {ForeignNode[a...b]}.)", ErrNoImplementation, "{ForeignNode[a...b]}"},
		{"Error Code 2: OutOfMemory (Requested size was 4294967296 bytes.)", ErrOutOfMemory, ""},
		{"something else", nil, ""},
	} {
		e := (&Error{Op: "x", Log: []LogLine{{SeverityError, tc.log}}}).classify()
		if !errors.Is(e.Kind, tc.kind) || e.Node != tc.node {
			t.Errorf("%s: got %v at %q, want %v at %q", tc.log, e.Kind, e.Node, tc.kind, tc.node)
		}
	}
	e := (&Error{Op: "load plan", Log: []LogLine{{SeverityError, "expecting compute 9.0 got compute 8.9, please rebuild."}}, Kind: ErrIncompatiblePlan}).classify()
	if want := "it was built for a GPU of compute capability 8.9, this one has 9.0"; !strings.Contains(e.Error(), want) {
		t.Errorf("got %v, want %q", e, want)
	}
	e = (&Error{Kind: ErrNoDevice, Text: "cuInit: CUDA_ERROR_NO_DEVICE"}).classify()
	if !errors.Is(e, ErrNoDevice) {
		t.Errorf("a known kind is kept: %v", e.Kind)
	}
}

// The header is that of a plan of 10.6.0.26.
func TestPlansOfAnotherVersionAreRefusedByName(t *testing.T) {
	plan := []byte("ftrt\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\xc4\x38\x06\x00\x00\x00\x00\x00\x0a\x06\x00\x1artrtNGNE")
	if v := planVersion(plan); v != "10.6.0.26" {
		t.Fatalf("version %q", v)
	}
	_, err := (&Runtime{version: "10.7.0.23"}).Load(plan)
	if !errors.Is(err, ErrIncompatiblePlan) || !strings.Contains(err.Error(), "built by TensorRT 10.6.0.26, this is 10.7.0.23") {
		t.Errorf("got %v", err)
	}
	for name, other := range map[string][]byte{
		"too short": plan[:27], "no plan": append([]byte("xtrt"), plan[4:]...), "another layout": append([]byte("ftrt\x01"), plan[5:]...),
	} {
		if v := planVersion(other); v != "" {
			t.Errorf("%s: version %q", name, v)
		}
	}
}
