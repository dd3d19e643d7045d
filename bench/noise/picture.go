package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/plancast/plancast/bench/loaded"
	"github.com/plancast/plancast/exporter/bench"
	"github.com/plancast/plancast/exporter/engine"
	"github.com/plancast/plancast/exporter/host"
	"github.com/plancast/plancast/exporter/tensorio"
)

// panel is one window of the picture.
type panel struct {
	title, text string
	window      engine.Window
}

// draw times a window of 2 s alone and one beside a neighbor on each core, and
// writes both as an SVG.
func draw(o options, path string) (err error) {
	dir, err := os.MkdirTemp("", "noise-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	file, err := model(dir, o.width, "net")
	if err != nil {
		return err
	}
	e, release, err := loaded.Engine(ctx, file, o.threads)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	inputs, err := tensorio.Generate(e.Inputs(), [][]int64{{1, 256}}, 1)
	if err != nil {
		return err
	}
	var panels []panel
	for _, n := range []int{0, 2} {
		end, err := neighbors(n, time.Second, time.Second)
		if err != nil {
			return err
		}
		time.Sleep(500 * time.Millisecond) // until they run
		var h host.Host
		stop := h.Start()
		w, err := e.Time(ctx, inputs, engine.TimeOptions{Concurrency: 1, Queries: 662, Duration: 2 * time.Second, WarmUp: 500 * time.Millisecond})
		load := stop()
		end()
		if err != nil {
			return err
		}
		l := bench.Summarize(1, w.Latencies)
		p50, _ := l.At(0.5)
		p99, _ := l.At(0.99)
		title := "alone"
		if n > 0 {
			title = fmt.Sprintf("beside %d busy processes", n)
		}
		panels = append(panels, panel{title, fmt.Sprintf("P50 %s, P99 %s; other processes took %.0f %% of a core, the timed thread waited %.1f %% of its time",
			us(p50.Value), us(p99.Value), 100*load.Others/load.Duration, 100*load.Waited/max(load.Ran+load.Waited, 1e-9)), w})
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(svg(panels)), 0o644)
}

// svg draws each window as a scatter of latency, logarithmic, over time. Of
// each column of pixels only the queries that differ are drawn.
func svg(panels []panel) string {
	const width, height, left, top, gap = 860, 190, 70, 34, 62
	least, most := math.Inf(1), 0.0
	for _, p := range panels {
		least, most = min(least, slices.Min(p.window.Latencies)), max(most, slices.Max(p.window.Latencies))
	}
	low, high := math.Floor(math.Log10(least)*2)/2, math.Ceil(math.Log10(most)*2)/2
	y := func(v float64) float64 { return height * (high - math.Log10(v)) / (high - low) }
	var b strings.Builder
	total := top + len(panels)*(height+gap)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13" fill="#333">`+"\n", left+width+20, total)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="#fff"/>`+"\n")
	for i, p := range panels {
		oy := top + i*(height+gap)
		fmt.Fprintf(&b, `<g transform="translate(%d %d)"><text y="-20" font-weight="bold">%s</text><text y="-4">%s</text><rect width="%d" height="%d" fill="none" stroke="#999"/>`+"\n", left, oy, p.title, p.text, width, height)
		for _, tick := range []float64{1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1} {
			if at := y(tick); at >= 0 && at <= height {
				fmt.Fprintf(&b, `<path d="M0 %.1fH%d" stroke="#ddd"/><text x="-8" y="%.1f" text-anchor="end">%s</text>`+"\n", at, width, at+4, time.Duration(tick*1e9).String())
			}
		}
		drawn := map[[2]int]bool{}
		at, sum := 0.0, 0.0
		for _, v := range p.window.Latencies {
			sum += v
		}
		fmt.Fprintf(&b, `<path stroke="%s" stroke-width="2" stroke-linecap="round" d="`, []string{"#2a7f4f", "#b3261e"}[i%2])
		for _, v := range p.window.Latencies {
			point := [2]int{int(width * at / sum), int(y(v))}
			if at += v; !drawn[point] {
				drawn[point] = true
				fmt.Fprintf(&b, "M%d %dh0", point[0], point[1])
			}
		}
		fmt.Fprintf(&b, "\"/>\n<text x=\"%d\" y=\"%d\" text-anchor=\"end\">2 s of queries, one after the other</text></g>\n", width, height+18)
	}
	b.WriteString("</svg>\n")
	return b.String()
}
