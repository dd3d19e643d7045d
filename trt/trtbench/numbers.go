//go:build tensorrt && cgo

package main

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/plancast/plancast/trt"
)

func memory(i trt.EngineInfo) string {
	return fmt.Sprintf("plan %.1f MiB, device %.1f MiB, context %.1f MiB, %d layers", float64(i.PlanBytes)/(1<<20), float64(i.DeviceBytes)/(1<<20), float64(i.ContextBytes)/(1<<20), i.Layers)
}

func number(out []byte, re string) (float64, error) {
	m := regexp.MustCompile(re).FindSubmatch(out)
	if m == nil {
		return 0, fmt.Errorf("trtexec printed no %q:\n%s", re, out)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

// percentile is trtexec's: the largest value with at most (100-p) % above it.
func percentile(v []float64, p float64) float64 {
	s := slices.Sorted(slices.Values(v))
	exclude := int((1 - p/100) * float64(len(s)))
	return s[max(len(s)-1-exclude, 0)]
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func list(v []float64) string {
	parts := make([]string, len(v))
	for i, x := range v {
		digits := max(0, 3-int(math.Floor(math.Log10(max(x, 1e-9)))))
		parts[i] = strconv.FormatFloat(x, 'f', digits, 64)
	}
	return strings.Join(parts, " ")
}
