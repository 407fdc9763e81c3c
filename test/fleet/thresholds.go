package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"sigs.k8s.io/yaml"
)

// threshold is what is promised of one figure: exactly one of AtMost, AtLeast and Exactly.
type threshold struct {
	Figure  string   `json:"figure"`
	AtMost  *float64 `json:"atMost,omitempty"`
	AtLeast *float64 `json:"atLeast,omitempty"`
	Exactly *float64 `json:"exactly,omitempty"`
	// Unit has to be the figure's, so that nobody compares bytes with KiB.
	Unit string `json:"unit,omitempty"`
}

func readThresholds(path string) ([]threshold, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading what is promised: %w", err)
	}
	limits, err := parseThresholds(text)
	if err != nil {
		return nil, fmt.Errorf("reading what is promised, in %s: %w", path, err)
	}
	return limits, nil
}

func parseThresholds(text []byte) ([]threshold, error) {
	var limits []threshold
	if err := yaml.UnmarshalStrict(text, &limits); err != nil {
		return nil, err
	}
	if len(limits) == 0 {
		return nil, errors.New("there is nothing in it")
	}
	known := map[string]bool{}
	for _, t := range limits {
		given := 0
		for _, limit := range []*float64{t.AtMost, t.AtLeast, t.Exactly} {
			if limit != nil {
				given++
			}
		}
		if t.Figure == "" || given != 1 || known[t.Figure] {
			return nil, fmt.Errorf("%q: each entry names a figure of its own, and exactly one of atMost, atLeast and exactly", t.Figure)
		}
		known[t.Figure] = true
	}
	return limits, nil
}

func (t threshold) holds(value float64) bool {
	switch {
	case t.AtMost != nil:
		return value <= *t.AtMost
	case t.AtLeast != nil:
		return value >= *t.AtLeast
	}
	return value == *t.Exactly
}

func (t threshold) String() string {
	show := func(f *float64) string { return strconv.FormatFloat(*f, 'f', -1, 64) }
	switch {
	case t.AtMost != nil:
		return "<= " + show(t.AtMost)
	case t.AtLeast != nil:
		return ">= " + show(t.AtLeast)
	}
	return "= " + show(t.Exactly)
}

// judge holds every figure against what is promised of it. Where everything was measured, a promise without a figure is one that nobody
// checks. The error has a line for each promise that is not kept.
func (r *report) judge(limits []threshold, full bool) error {
	var broken []error
	for _, t := range limits {
		f := r.figure(t.Figure)
		if f == nil {
			if full {
				broken = append(broken, fmt.Errorf("%s is promised to be %s, and was not measured", t.Figure, t))
			}
			continue
		}
		if f.Unit != t.Unit {
			broken = append(broken, fmt.Errorf("%s is in %q, and what is promised in %q", t.Figure, f.Unit, t.Unit))
			continue
		}
		f.Promised, f.Kept = t.String(), new(t.holds(f.Value))
		if !*f.Kept {
			broken = append(broken, fmt.Errorf("%s (%s) is %s, and promised to be %s", f.Key, f.Label, f.value(), t))
		}
	}
	if len(broken) > 0 {
		return fmt.Errorf("not all that is promised is kept:\n%w", errors.Join(broken...))
	}
	return nil
}
