//go:build race

package main

// raceDetector says that memory is not what users see.
const raceDetector = true
