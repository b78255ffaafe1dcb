package detectors_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"tocsin/detectors"
)

// What every plant has and nobody wants to be told of.
func TestQuietOnRegularSeries(t *testing.T) {
	total := 0.0
	quiet := map[string]series{
		"constant":           exactly(func(int) float64 { return 5 }),
		"counter":            exactly(func(i int) float64 { return float64(i) }),
		"counter that wraps": exactly(func(i int) float64 { return float64(i % 65536) }),
		"energy counter": func(r *rand.Rand) func(int) float64 {
			total = 0
			return func(int) float64 { total += r.Float64(); return total }
		},
	}
	quiet["slow cycle with noise"] = noisy(sine(10_000), .1)
	for _, period := range []int{10, 14, 30, 100} {
		suffix := " of " + time.Duration(period).String()
		quiet["noiseless square"+suffix] = exactly(square(period))
		quiet["noiseless sine"+suffix] = exactly(sine(period))
		quiet["noiseless load"+suffix] = exactly(load(period))
		for _, sigma := range []float64{.01, .1, .5} {
			more := suffix + " with noise"
			quiet["sine"+more] = noisy(sine(period), sigma)
			quiet["load"+more] = noisy(load(period), sigma)
		}
	}
	n := rows(t, 100_000)
	for name, s := range quiet {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if found := run(defaults, recorded(s, 1, n), n, time.Second); len(found) > 0 {
				t.Errorf("%d false alarms in %d rows: %v", len(found), n, found[:min(len(found), 10)])
			}
		})
	}
}

// Cycles longer than what was learned before the first of them alarm at first,
// but not for long.
func TestLongCyclesBecomeNormal(t *testing.T) {
	n := rows(t, 100_000)
	for seed := range uint64(3) {
		episodes := map[string]int{}
		for _, a := range run(defaults, recorded(noisy(load(1000), .1), seed, n), n, time.Second) {
			episodes[a.detector]++
		}
		for detector, count := range episodes {
			if count > 4 {
				t.Errorf("seed %d: %s alarmed in %d of %d cycles", seed, detector, count, n/1000)
			}
		}
	}
}

// At the promised rate of one a month and channel, no alarm is due within a
// day at 1 Hz, nor within a quarter of an hour at 100 Hz.
func TestFalseAlarmRate(t *testing.T) {
	n := rows(t, 100_000)
	for name, s := range map[string]series{"white": white, "AR(1) 0.95": autoregressive(.95)} {
		for _, every := range []time.Duration{time.Second, 10 * time.Millisecond} {
			t.Run(name+" every "+every.String(), func(t *testing.T) {
				t.Parallel()
				for seed := range uint64(2) {
					if found := run(defaults, recorded(s, seed, n), n, every); len(found) > 0 {
						t.Errorf("seed %d: %v", seed, found)
					}
				}
			})
		}
	}
}

// One in 20,000 rows is what a detector without a clock promises.
func TestFalseAlarmRateInRows(t *testing.T) {
	n := rows(t, 200_000)
	l := detectors.Learning{Ready: 300, FalseAlarmRows: 20000}
	for name, s := range map[string]series{"white": white, "AR(1) 0.95": autoregressive(.95)} {
		found := map[string]int{}
		for _, a := range run(l, recorded(s, 5, n), n, time.Second) {
			found[a.detector]++
		}
		t.Logf("%s: %v in %d rows", name, found, n)
		for detector, count := range found {
			if most := n/20000 + 3*int(math.Sqrt(float64(n)/20000)) + 1; count > most { // three standard deviations of chance
				t.Errorf("%s: %s raised %d false alarms in %d rows, want at most %d", name, detector, count, n, most)
			}
		}
	}
}

// Tails as heavy as Student's t with three degrees of freedom defeat an
// exponential tail; the promise then holds for rows, not for months.
func TestHeavyTailsAreBounded(t *testing.T) {
	n := rows(t, 200_000)
	found := map[string]int{}
	for _, a := range run(defaults, recorded(student3, 1, n), n, time.Second) {
		found[a.detector]++
	}
	t.Logf("%v in %d rows", found, n)
	for detector, count := range found {
		if most := max(n/20000, 1); count > most {
			t.Errorf("%s raised %d false alarms in %d rows, want at most %d", detector, count, n, most)
		}
	}
}

// A normal period that was commissioned and frozen tells the level only as well
// as its wander allows; the CUSUM chart, which adds up, must know that.
func TestFrozenOnWanderingReadings(t *testing.T) {
	const learned, n, seeds = 400, 20_000, 8
	wandering := func(r *rand.Rand) func(int) float64 {
		level := autoregressive(.99)(r)
		return func(i int) float64 { return level(i) + float64(1.7*r.NormFloat64()) }
	}
	alarmed := 0
	for seed := range uint64(seeds) {
		d := set(detectors.Learning{Ready: 300, FalseAlarmRows: 20000})["cusum"]
		value := recorded(wandering, seed, n)
		for i := range n {
			if i == learned {
				d.Freeze()
			}
			if d.Judge(detectors.Window{Time: int64(i) * 1e9, Value: value(i)}).Score >= detectors.Line {
				alarmed++
			}
		}
	}
	if share := float64(alarmed) / (seeds * n); share > 0.02 { // 0.15 without the allowance
		t.Errorf("alarm in %.1f %% of normal rows", 100*share)
	}
}
