//go:build !tensorrt || !cgo

package trt

func openNative(searchPath) (nativeLibrary, error) {
	return nil, &UnavailableError{Reason: "this binary was built without it; build with cgo and -tags tensorrt"}
}
