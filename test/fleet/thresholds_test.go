package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestALimitHoldsOnItsOwnSide(t *testing.T) {
	for _, c := range []struct {
		promise       string
		holds, broken float64
	}{
		{"atMost: 6", 6, 6.01},
		{"atLeast: 0.9", 0.9, 0.89},
		{"exactly: 2", 2, 2.001},
		{"exactly: 0", 0, 1},
		{"exactly: 2", 2, 1},
	} {
		limits, err := parseThresholds(fmt.Appendf(nil, "- {figure: f, %s, unit: ms}", c.promise))
		if err != nil {
			t.Fatal(err)
		}
		for value, kept := range map[float64]bool{c.holds: true, c.broken: false} {
			r := found("f", value, "ms")
			if err := r.judge(limits, true); (err == nil) != kept {
				t.Errorf("%s: of %g it is said: %v", c.promise, value, err)
			}
			if f := r.figure("f"); f.Kept == nil || *f.Kept != kept || f.Promised == "" {
				t.Errorf("%s: %g stands in the report as %+v", c.promise, value, f)
			}
		}
	}
}

func TestAPromiseThatIsNotMeasuredIsBrokenInAFullRunAlone(t *testing.T) {
	limits, err := parseThresholds([]byte("- {figure: forgotten, atMost: 1}"))
	if err != nil {
		t.Fatal(err)
	}
	r := found("f", 1, "")
	if err := r.judge(limits, true); err == nil || !strings.Contains(err.Error(), "forgotten") {
		t.Errorf("in a full run: %v, want that it names the figure", err)
	}
	if err := r.judge(limits, false); err != nil {
		t.Errorf("in a part of a run: %v", err)
	}
}

func TestAPromiseInAnotherUnitIsBroken(t *testing.T) {
	limits, err := parseThresholds([]byte("- {figure: f, atMost: 1000, unit: KiB}"))
	if err != nil {
		t.Fatal(err)
	}
	if err := found("f", 1, "MiB").judge(limits, true); err == nil {
		t.Error("MiB were taken for KiB")
	}
}

func TestThresholdsThatSayNothingClearAreRefused(t *testing.T) {
	for _, text := range []string{
		"", "- {figure: f}", "- {figure: f, atMost: 1, atLeast: 2}", "- {atMost: 1}", "- {figure: f, atmost: 1, limit: 2}",
		"- {figure: f, atMost: 1}\n- {figure: f, atMost: 2}",
	} {
		if limits, err := parseThresholds([]byte(text)); err == nil {
			t.Errorf("%q is taken as %v", text, limits)
		}
	}
}

func TestThePromisesOfThisFolderCanBeRead(t *testing.T) {
	if _, err := readThresholds("thresholds.yaml"); err != nil {
		t.Error(err)
	}
}

func found(key string, value float64, unit string) *report {
	r := newReport(options{n: 100, rounds: 1})
	r.section("phase", "Phase")
	r.add(key, "what it is", value, unit)
	return r
}
