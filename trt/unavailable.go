//go:build !tensorrt || !cgo

package trt

// Built reports whether the binding is compiled into this binary.
const Built = false

func openNative(searchPath) (nativeLibrary, error) {
	return nil, &UnavailableError{Reason: "this binary was built without it; build with cgo and -tags tensorrt"}
}
