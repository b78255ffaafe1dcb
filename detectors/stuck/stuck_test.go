package stuck_test

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"tocsin/detectors"
	"tocsin/detectors/detectortest"
	"tocsin/detectors/stuck"
)

func TestContract(t *testing.T) {
	detectortest.RunLearned(t, func(l detectors.Learning) detectors.Learner { return stuck.New(0, l) })
}

func TestContractWithALimit(t *testing.T) {
	detectortest.Run(t, func() detectors.Detector { return stuck.New(time.Minute, detectortest.Learning()) })
}

// alarmAfter feeds 5,000 readings, then the last value again until there is an
// alarm, and returns after how many seconds; -1 after a day without.
func alarmAfter(d detectors.Detector, value func(i int) float64) int {
	x := 0.0
	for i := range 5000 {
		x = value(i)
		if d.Judge(detectortest.At(i, x)).Score >= detectors.Line {
			return -5000
		}
	}
	for i := range 86400 {
		if v := d.Judge(detectortest.At(5000+i, x)); v.Score >= detectors.Line {
			if v.Reason != detectors.NotChanging {
				return -2
			}
			return i + 1
		}
	}
	return -1
}

func TestLearned(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	noise := func(int) float64 { return 20 + r.NormFloat64() }
	walk, pick := 20.0, []float64{20, 50, 80}
	for name, c := range map[string]struct {
		value func(int) float64
		most  int // seconds until the alarm; -1: never
	}{
		"noise":                  {noise, 301},
		"coarse and slow":        {func(int) float64 { walk += r.NormFloat64() / 5; return math.Round(walk*2) / 2 }, 1500},
		"on and off":             {func(int) float64 { return float64(r.IntN(2)) }, -1},
		"set-point":              {func(i int) float64 { return pick[i/1000%3] }, -1},
		"set-point, many values": {func(i int) float64 { return float64(i/100) / 7 }, -1},
		"selector that dances":   {func(int) float64 { return float64(r.IntN(12)) }, -1},
		"machine at rest reads 0": {func(i int) float64 {
			if i > 4990 {
				return 0
			}
			return noise(i)
		}, -1},
	} {
		got := alarmAfter(stuck.New(0, detectortest.Learning()), c.value)
		if (c.most == -1) != (got == -1) || got < -1 || got > c.most {
			t.Errorf("%s: alarm after %d s, want at most %d", name, got, c.most)
		}
	}
}

func TestGivenTimeRunsOnTheReadingsClock(t *testing.T) {
	d := stuck.New(10*time.Second, detectortest.Learning())
	for i, want := range []bool{false, false, false, true, true} {
		v := d.Judge(detectortest.At(i*4-i/3, 7)) // 0, 4, 8, 11, 15 s
		if got := v.Score >= detectors.Line; got != want {
			t.Errorf("reading %d: score %g", i, v.Score)
		}
	}
	if v := d.Judge(detectortest.At(20, 8)); v.Score != 0 {
		t.Errorf("the value moved: score %g", v.Score)
	}
}

// While the agent was off nobody looked: a reading that is the same afterwards,
// days later or by another clock, has not been at rest all the time.
func TestOffIsNoRest(t *testing.T) {
	for _, later := range []int{3 * 86400, 50 * 365 * 86400, -86400} {
		fresh := func() detectors.Learner { return stuck.New(10*time.Second, detectortest.Learning()) }
		before, after := fresh(), fresh()
		before.Judge(detectortest.At(0, 7))
		before.Judge(detectortest.At(6, 7))
		state, err := before.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := after.UnmarshalBinary(state); err != nil {
			t.Fatal(err)
		}
		for i, want := range []bool{false, false, true} { // 6 s before, then 0, 3 and 6
			if v := after.Judge(detectortest.At(later+3*i, 7)); (v.Score >= detectors.Line) != want {
				t.Errorf("%d s later, reading %d: score %g", later, i, v.Score)
			}
		}
	}
}

// A rest that was an alarm doubles what is learned, so a nightly stop at an odd
// value is told of a few times, not for ever, and a fault is not forgotten at once.
func TestHabitBecomesNormal(t *testing.T) {
	d, r, at := stuck.New(0, detectortest.Learning()), rand.New(rand.NewPCG(2, 2)), 0
	nights := 0
	for night := range 12 {
		for range 5000 {
			d.Judge(detectortest.At(at, r.NormFloat64()))
			at++
		}
		alarm := false
		for range 4 * 3600 {
			alarm = d.Judge(detectortest.At(at, 3.7)).Score >= detectors.Line || alarm
			at++
		}
		if alarm {
			nights++
		} else if night < 3 {
			t.Fatalf("night %d: a rest of four hours is no longer told of", night+1)
		}
	}
	if nights > 9 {
		t.Errorf("a nightly rest alarmed in %d of 12 nights", nights)
	}
}
