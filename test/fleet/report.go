package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"text/tabwriter"
	"time"
)

// report is what a run has found.
type report struct {
	At       time.Time `json:"at"`
	Machine  machine   `json:"machine"`
	Sessions int       `json:"sessions"`
	Rounds   int       `json:"rounds"`
	Phases   []section `json:"phases"`
	// Growth is how cost grew with the fleet.
	Growth []stage `json:"growth,omitempty"`
}

type machine struct {
	System string `json:"system"`
	CPUs   int    `json:"cpus"`
	Go     string `json:"go"`
}

// section is what one phase has found.
type section struct {
	Name    string    `json:"name"`
	Title   string    `json:"title"`
	Figures []*figure `json:"figures"`
}

// figure is one value. Key is what thresholds.yaml names it by.
type figure struct {
	Key   string  `json:"key"`
	Label string  `json:"label"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit,omitempty"`
	// Each has the values of which Value is the median, or as its label says the most, where there are several.
	Each []float64 `json:"each,omitempty"`
	// Promised is the limit, and Kept whether it is kept, where there is one.
	Promised string `json:"promised,omitempty"`
	Kept     *bool  `json:"kept,omitempty"`
}

func newReport(o options) *report {
	return &report{
		At: time.Now().UTC().Truncate(time.Second), Machine: machine{runtime.GOOS + "/" + runtime.GOARCH, runtime.NumCPU(), runtime.Version()},
		Sessions: o.n, Rounds: o.rounds,
	}
}

// section begins what a phase finds.
func (r *report) section(name, title string) {
	r.Phases = append(r.Phases, section{Name: name, Title: title})
}

func (r *report) add(key, label string, value float64, unit string) *figure {
	f := &figure{Key: key, Label: label, Value: value, Unit: unit}
	last := &r.Phases[len(r.Phases)-1]
	last.Figures = append(last.Figures, f)
	return f
}

// median adds the median of the values of several rounds.
func (r *report) median(key, label, unit string, each []float64) {
	r.add(key, label, median(each), unit).Each = each
}

func (r *report) figure(key string) *figure {
	for _, s := range r.Phases {
		for _, f := range s.Figures {
			if f.Key == key {
				return f
			}
		}
	}
	return nil
}

func (r *report) write(path string) error {
	text := &bytes.Buffer{}
	encoder := json.NewEncoder(text)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false) // else limits are hard to read
	if err := encoder.Encode(r); err != nil {
		return fmt.Errorf("describing the run: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	if err := os.WriteFile(path, text.Bytes(), 0o644); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// print shows everything as a table.
func (r *report) print(out io.Writer) {
	fmt.Fprintf(out, "\n%d sessions, %d rounds, %d CPUs\n", r.Sessions, r.Rounds, r.Machine.CPUs)
	for _, s := range r.Phases {
		fmt.Fprintf(out, "\n%s\n", s.Title)
		table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		for _, f := range s.Figures {
			fmt.Fprintf(table, "  %s\t%s\t%s\t%s\n", f.Label, f.value(), f.Promised, f.verdict())
		}
		table.Flush()
	}
}

func (f *figure) value() string {
	text := strconv.FormatFloat(f.Value, 'f', digits(f.Value), 64)
	if f.Unit != "" {
		text += " " + f.Unit
	}
	return text
}

// digits is how many behind the point are shown: none where nothing is lost, else so many that there are three figures.
func digits(value float64) int {
	switch {
	case value == float64(int64(value)), value >= 100, value <= -100:
		return 0
	case value >= 10 || value <= -10:
		return 1
	case value >= 0.1 || value <= -0.1:
		return 2
	}
	return 4
}

func (f *figure) verdict() string {
	switch {
	case f.Kept == nil:
		return ""
	case *f.Kept:
		return "kept"
	}
	return "NOT KEPT"
}
