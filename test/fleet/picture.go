package main

import (
	"bytes"
	"fmt"
	"math"
)

// chart is one of the picture's: lines over the number of sessions, from zero.
type chart struct {
	title string
	lines []line
}

type line struct {
	label  string
	values []float64
}

// What the picture measures, in its own units.
const (
	chartWidth, chartHeight   = 300, 250
	left, right, above, below = 44, 20, 56, 34
	plotWidth, plotHeight     = chartWidth - left - right, chartHeight - above - below
)

// The colours are told apart on a light page and on a dark one, and by who does not see red from green.
const style = `<style>
  text { font: 11px sans-serif; fill: #57606a }
  .title { font-weight: bold; fill: #24292f }
  .grid { stroke: #8c959f; stroke-width: .5; opacity: .5 }
  .line { fill: none; stroke-width: 2 }
  .c0 { stroke: #0969da; fill: #0969da } .c1 { stroke: #bc4c00; fill: #bc4c00 } .c2 { stroke: #8250df; fill: #8250df }
  @media (prefers-color-scheme: dark) {
    text { fill: #9198a1 } .title { fill: #e6edf3 }
    .c0 { stroke: #58a6ff; fill: #58a6ff } .c1 { stroke: #f0883e; fill: #f0883e } .c2 { stroke: #bc8cff; fill: #bc8cff }
  }
  .line.c0, .line.c1, .line.c2 { fill: none }
</style>
`

// draw shows how memory, CPU and requests grow with the fleet, as SVG.
func draw(stages []stage) []byte {
	var sizes []float64
	memory := chart{"Memory of the manager, MiB", []line{{label: "RSS"}, {label: "live heap"}}}
	used := chart{"CPU a session, ms", []line{{label: "manager"}, {label: "kube-apiserver"}, {label: "etcd"}}}
	requests := chart{"API requests a session", []line{{label: "reads and writes"}}}
	for _, s := range stages {
		sizes = append(sizes, float64(s.Sessions))
		memory.add(float64(s.Resident.RSS)/mib, float64(s.Live)/mib)
		used.add(s.Manager, s.Server, s.Etcd)
		requests.add(s.Requests)
	}
	charts := []chart{memory, used, requests}
	out := &bytes.Buffer{}
	fmt.Fprintf(out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="Memory, CPU and API requests over the number of sessions">`+"\n",
		len(charts)*chartWidth, chartHeight)
	out.WriteString(style)
	for i, c := range charts {
		fmt.Fprintf(out, `<g transform="translate(%d 0)">`+"\n", i*chartWidth)
		c.draw(out, sizes)
		out.WriteString("</g>\n")
	}
	out.WriteString("</svg>\n")
	return out.Bytes()
}

func (c *chart) add(values ...float64) {
	for i, value := range values {
		c.lines[i].values = append(c.lines[i].values, value)
	}
}

func (c *chart) draw(out *bytes.Buffer, sizes []float64) {
	highest := 0.0
	for _, l := range c.lines {
		for _, value := range l.values {
			highest = max(highest, value)
		}
	}
	step := roundStep(highest)
	top := step * math.Ceil(highest/step)
	x := func(size float64) float64 { return left + plotWidth*size/sizes[len(sizes)-1] }
	y := func(value float64) float64 { return above + plotHeight*(1-value/top) }

	fmt.Fprintf(out, `<text class="title" x="%d" y="16">%s</text>`+"\n", left, c.title)
	for value := 0.0; value <= top+step/2; value += step {
		fmt.Fprintf(out, `<path class="grid" d="M%d %.1fH%d"/><text x="%d" y="%.1f" text-anchor="end">%.4g</text>`+"\n",
			left, y(value), left+plotWidth, left-6, y(value)+4, value)
	}
	for _, size := range sizes {
		fmt.Fprintf(out, `<text x="%.1f" y="%d" text-anchor="middle">%.0f</text>`+"\n", x(size), above+plotHeight+16, size)
	}
	fmt.Fprintf(out, `<text x="%d" y="%d" text-anchor="end">sessions</text>`+"\n", left+plotWidth, chartHeight-4)
	legend := left
	for i, l := range c.lines {
		fmt.Fprintf(out, `<circle class="c%d" cx="%d" cy="34" r="3"/><text x="%d" y="38">%s</text>`+"\n", i, legend+4, legend+12, l.label)
		legend += 26 + 6*len(l.label)
		path := ""
		for n, value := range l.values {
			path += fmt.Sprintf("%c%.1f %.1f", "ML"[min(n, 1)], x(sizes[n]), y(value))
			fmt.Fprintf(out, `<circle class="c%d" cx="%.1f" cy="%.1f" r="2.5"/>`+"\n", i, x(sizes[n]), y(value))
		}
		fmt.Fprintf(out, `<path class="line c%d" d="%s"/>`+"\n", i, path)
	}
}

// roundStep is a round number of which there are three to six up to the highest value.
func roundStep(highest float64) float64 {
	if highest <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(highest)))
	for _, step := range []float64{0.2, 0.25, 0.5, 1} {
		if highest/(step*power) <= 6 {
			return step * power
		}
	}
	return 2 * power
}
