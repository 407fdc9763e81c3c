package main

import (
	"math"
	"slices"
	"testing"
	"time"
)

var noon = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

// at are times after noon, in milliseconds.
func at(milliseconds ...int) (times []time.Time) {
	for _, ms := range milliseconds {
		times = append(times, noon.Add(time.Duration(ms)*time.Millisecond))
	}
	return times
}

func near(got, want float64) bool { return math.Abs(got-want) < 1e-9*max(1, math.Abs(want)) }

func TestAQuantileIsTheValueOfItsRank(t *testing.T) {
	values := make([]int, 100)
	for i := range values {
		values[i] = i + 1
	}
	for share, want := range map[float64]int{0: 1, 0.1: 10, 0.5: 50, 0.99: 99, 1: 100} {
		if got := quantile(values, share); got != want {
			t.Errorf("quantile %g is %d, want %d", share, got, want)
		}
	}
	if got := quantile([]int{7}, 0.99); got != 7 {
		t.Errorf("of one value it is %d, want that", got)
	}
}

func TestTheMedianIsInTheMiddle(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{{[]float64{3, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}, {[]float64{5}, 5}} {
		before := slices.Clone(c.values)
		if got := median(c.values); got != c.want {
			t.Errorf("the median of %v is %g, want %g", c.values, got, c.want)
		}
		if !slices.Equal(before, c.values) {
			t.Errorf("%v have become %v", before, c.values)
		}
	}
}

// TestTheMiddleLeavesOutASlowStartAndASlowEnd has 80 sessions at 100 a second between ten that took a second each.
func TestTheMiddleLeavesOutASlowStartAndASlowEnd(t *testing.T) {
	var times []time.Time
	now := 0
	for i := range 100 {
		step := 10
		if i < 10 || i >= 90 {
			step = 1000
		}
		now += step
		times = append(times, at(now)...)
	}
	got := paceOf(noon, times)
	if !near(got.Middle, 100) {
		t.Errorf("the middle went at %g a second, want 100", got.Middle)
	}
	if want := 100 / 20.8; !near(got.Overall, want) {
		t.Errorf("all went at %g a second, want %g", got.Overall, want)
	}
}

func TestASlopeIsFoundThroughNoise(t *testing.T) {
	each, at0 := slope([]float64{1, 2, 3, 4}, []float64{12, 13, 17, 18})
	if !near(each, 2.2) || !near(at0, 9.5) {
		t.Errorf("it is %g each and %g at zero, want 2.2 and 9.5", each, at0)
	}
}

func TestTheBusiestSecondIsFoundWhereverItBegins(t *testing.T) {
	if got := busiest(at(0, 900, 950, 1000, 1899, 2500)); got != 4 {
		t.Errorf("it has %d, want the 4 from 900 to 1899", got)
	}
	if got := busiest(at(0, 1000, 2000)); got != 1 {
		t.Errorf("of what is a second apart it has %d, want 1", got)
	}
}

func TestUnevennessTellsASteadyStreamFromABurst(t *testing.T) {
	var steady []time.Time
	for i := range 100 {
		steady = append(steady, at(i*10)...)
	}
	if got := unevenness(steady, 10); got > 0.1 {
		t.Errorf("of a steady stream it is %g", got)
	}
	burst := slices.Concat(slices.Repeat(at(0), 99), at(1000))
	if got := unevenness(burst, 10); got < 2.9 {
		t.Errorf("of a burst it is %g, want nearly 3", got)
	}
	if got := unevenness(at(5, 5, 5, 5), 4); !near(got, math.Sqrt(3)) {
		t.Errorf("of one moment it is %g, want that all are in one slice", got)
	}
}
