package mad

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// naive is the median and the median distance to it, by sorting.
func naive(readings []float64) (median, deviation float64) {
	s := slices.Sorted(slices.Values(readings))
	middle := func(s []float64) float64 { return s[(len(s)-1)/2]/2 + s[len(s)/2]/2 }
	median = middle(s)
	off := make([]float64, len(s))
	for i, x := range s {
		off[i] = math.Abs(x - median)
	}
	slices.Sort(off)
	return median, middle(off)
}

func TestWindowIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for name, next := range map[string]func(i int) float64{
		"noise":     func(int) float64 { return r.NormFloat64() },
		"ties":      func(int) float64 { return float64(r.IntN(4)) },
		"zeros":     func(int) float64 { return math.Copysign(float64(r.IntN(2)), float64(r.IntN(2))-.5) },
		"constant":  func(int) float64 { return 7 },
		"ramp down": func(i int) float64 { return -float64(i) },
		"steps":     func(i int) float64 { return float64(i/300%3) + r.NormFloat64()/1000 },
		"extremes":  func(i int) float64 { return math.Ldexp(r.NormFloat64(), r.IntN(2040)-1020) },
	} {
		var w window
		var all []float64
		for i := range 1500 {
			x := next(i)
			w.push(x)
			all = append(all, x)
			last := all[max(0, len(all)-length):]
			median, deviation := naive(last)
			m := w.median()
			if d := w.deviation(m); m != median || d != deviation {
				t.Fatalf("%s, reading %d: median %g, deviation %g; by sorting %g, %g", name, i, m, d, median, deviation)
			}
		}
	}
}

func TestMeanDeviationWhereMostAreEqual(t *testing.T) {
	var w window
	for i := range length {
		x := 5.0
		if i%4 == 0 {
			x = float64(i)
		}
		w.push(x)
	}
	want := 0.0
	for _, x := range w.sorted {
		want += math.Abs(x-5) / length
	}
	if got := w.meanDeviation(w.median()); math.Abs(got-want) > 1e-12*want {
		t.Errorf("mean deviation %g, want %g", got, want)
	}
}
