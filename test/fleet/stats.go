package main

import (
	"math"
	"slices"
	"time"
)

// quantile is the value below which that share of the sorted values lies, by the nearest rank.
func quantile[T any](sorted []T, share float64) T {
	rank := int(math.Ceil(share*float64(len(sorted)))) - 1
	return sorted[min(max(rank, 0), len(sorted)-1)]
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if n := len(sorted); n%2 == 0 {
		return (sorted[n/2-1] + sorted[n/2]) / 2
	}
	return sorted[len(sorted)/2]
}

// pace is how fast a fleet went, in sessions a second.
type pace struct {
	// Overall is from the start to the last session, and Middle over the 80 % of them between the tenth and the ninetieth percentile.
	Overall, Middle float64
}

// paceOf takes the times at which the sessions were done, sorted.
func paceOf(start time.Time, done []time.Time) pace {
	n := float64(len(done))
	from, to := quantile(done, 0.1), quantile(done, 0.9)
	return pace{
		Overall: n / done[len(done)-1].Sub(start).Seconds(),
		Middle:  (math.Ceil(0.9*n) - math.Ceil(0.1*n)) / to.Sub(from).Seconds(),
	}
}

// slope is by how much y grows with each x, and at0 what it is at zero, by least squares.
func slope(x, y []float64) (each, at0 float64) {
	n := float64(len(x))
	var sumX, sumY, sumXX, sumXY float64
	for i := range x {
		sumX, sumY = sumX+x[i], sumY+y[i]
		sumXX, sumXY = sumXX+x[i]*x[i], sumXY+x[i]*y[i]
	}
	each = (n*sumXY - sumX*sumY) / (n*sumXX - sumX*sumX)
	return each, (sumY - each*sumX) / n
}

// busiest is how many of the sorted times lie within one second, where they are most.
func busiest(times []time.Time) (most int) {
	first := 0
	for last := range times {
		for times[last].Sub(times[first]) >= time.Second {
			first++
		}
		most = max(most, last-first+1)
	}
	return most
}

// unevenness is the standard deviation of how many of the sorted times lie in each of so many equal slices of the time from the first to
// the last, as a share of the mean: 0 is perfectly even, and with everything in one slice it is the root of one less than the slices.
func unevenness(times []time.Time, slices int) float64 {
	whole := times[len(times)-1].Sub(times[0])
	counts := make([]float64, slices)
	for _, t := range times {
		i := slices - 1
		if whole > 0 {
			i = min(int(int64(slices)*int64(t.Sub(times[0]))/int64(whole)), slices-1)
		}
		counts[i]++
	}
	mean, sum := float64(len(times))/float64(slices), 0.0
	for _, c := range counts {
		sum += (c - mean) * (c - mean)
	}
	return math.Sqrt(sum/float64(slices)) / mean
}
