// Package detectortest is the contract suite of detectors: what every Detector
// owes the judge, whatever its method. The test of each method calls it.
package detectortest

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"tocsin/detectors"
)

// Run holds the detectors that create makes, each of them fresh, to the
// contract of detectors.Detector, and to those of Ticker and Learner where they
// are such.
func Run(t *testing.T, create func() detectors.Detector) {
	t.Helper()
	t.Run("traits", func(t *testing.T) { traits(t, create()) })
	t.Run("first reading is silent", func(t *testing.T) {
		if v := create().Judge(detectors.Window{Time: 1, Arrived: 1, Value: 0}); v.Score >= detectors.Line {
			t.Errorf("score %g for a reading of 0, the first ever", v.Score)
		}
	})
	t.Run("hostile readings", func(t *testing.T) { hostile(t, create()) })
	t.Run("no allocation", func(t *testing.T) { allocations(t, create()) })
	if _, ok := create().(detectors.Learner); ok {
		learner := func() detectors.Learner { return create().(detectors.Learner) }
		t.Run("state", func(t *testing.T) { roundTrip(t, learner) })
		t.Run("foreign state", func(t *testing.T) { foreign(t, learner) })
		t.Run("frozen state", func(t *testing.T) { frozen(t, learner) })
	}
}

// RunLearned does what Run does and checks that nothing alarms before it has
// learned: create makes a detector whose every limit is learned.
func RunLearned(t *testing.T, create func(detectors.Learning) detectors.Learner) {
	t.Helper()
	learning := Learning()
	Run(t, func() detectors.Detector { return create(learning) })
	t.Run("silent before ready", func(t *testing.T) {
		for _, ready := range []int{30, 300, 2000} {
			learning.Ready = ready
			d, r := create(learning), rand.New(rand.NewPCG(1, 1))
			for i := range ready - 1 {
				x := r.NormFloat64()
				if i%17 == 0 {
					x *= 1000
				}
				if v := d.Judge(At(i, x)); v.Score >= detectors.Line {
					t.Fatalf("score %g at reading %d of %d", v.Score, i+1, ready)
				}
			}
		}
	})
	t.Run("other settings", func(t *testing.T) {
		state, err := create(Learning()).AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		other := Learning()
		other.FalseAlarmRows *= 2
		if err := create(other).UnmarshalBinary(state); !errors.Is(err, detectors.ErrForeignState) {
			t.Errorf("a state learned with other settings: %v", err)
		}
	})
}

// Learning is what a new site runs with.
func Learning() detectors.Learning {
	return detectors.Learning{Ready: 300, FalseAlarmRows: 20000, FalseAlarmEvery: 30 * 24 * time.Hour}
}

// At is the i-th reading of a channel read once a second.
func At(i int, value float64) detectors.Window {
	return detectors.Window{Time: 1e18 + int64(i)*int64(time.Second), Arrived: int64(i) * int64(time.Second), Value: value}
}

// Check reports what in a verdict breaks the contract, or nothing.
func Check(v detectors.Verdict) string {
	switch {
	case !(v.Score >= 0 && v.Score <= 1):
		return "its score is not in [0,1]"
	case math.IsNaN(v.Low) || math.IsNaN(v.High):
		return "a bound is not a number"
	case v.Low > v.High:
		return "its low bound is above the high one"
	case v.Severity > detectors.Critical:
		return "its severity does not exist"
	}
	return ""
}

func traits(t *testing.T, d detectors.Detector) {
	is := d.Traits()
	if is.Name == "" || is.Severity == detectors.None || is.Severity > detectors.Critical {
		t.Errorf("traits %+v: a name and a severity are missing", is)
	}
	if is.Status > detectors.Normal && is.Severity != detectors.Low {
		t.Errorf("traits %+v: a sensor's own fault has the severity low", is)
	}
}

// Hostile is readings as a broken sensor and a broken clock give them.
func Hostile() []detectors.Window {
	values := []float64{0, 1e308, -1e308, math.MaxFloat64, -math.MaxFloat64, 5e-324, -5e-324, 1, math.Copysign(0, -1), 1e-300, 3}
	times := []int64{0, 0, 1, -1, math.MaxInt64, math.MinInt64, 1e18, 1e18, 1e18 + 1e9, 5}
	r := rand.New(rand.NewPCG(3, 4))
	all := make([]detectors.Window, 3000)
	for i := range all {
		w := At(i, r.NormFloat64())
		if i%3 == 0 {
			w.Value = values[r.IntN(len(values))]
		}
		if i%5 == 0 {
			w.Time = times[r.IntN(len(times))]
		}
		all[i] = w
	}
	return all
}

func hostile(t *testing.T, d detectors.Detector) {
	for i, w := range Hostile() {
		if wrong := Check(d.Judge(w)); wrong != "" {
			t.Fatalf("verdict on %+v, the %d-th: %s", w, i, wrong)
		}
		if ticker, ok := d.(detectors.Ticker); ok {
			if wrong := Check(ticker.Tick(w.Time)); wrong != "" {
				t.Fatalf("verdict on a tick at %d: %s", w.Time, wrong)
			}
		}
	}
}

func allocations(t *testing.T, d detectors.Detector) {
	i, r := 0, rand.New(rand.NewPCG(5, 6))
	if n := testing.AllocsPerRun(3000, func() {
		i++
		d.Judge(At(i, r.NormFloat64()))
	}); n != 0 {
		t.Errorf("%g allocations a reading", n)
	}
	if ticker, ok := d.(detectors.Ticker); ok {
		if n := testing.AllocsPerRun(100, func() { ticker.Tick(int64(i)) }); n != 0 {
			t.Errorf("%g allocations a tick", n)
		}
	}
}

// roundTrip takes the state at several ages and holds the copy's later verdicts
// against the original's.
func roundTrip(t *testing.T, create func() detectors.Learner) {
	original, r := create(), rand.New(rand.NewPCG(7, 8))
	copied := create()
	for i := range 4000 {
		x := 20 + r.NormFloat64()
		if i > 2000 && i%100 == 0 {
			x += 30
		}
		if i == 0 || i == 10 || i == 200 || i == 1000 || i == 2101 {
			state, err := original.AppendBinary([]byte("kept"))
			if err != nil {
				t.Fatal(err)
			}
			if string(state[:4]) != "kept" {
				t.Fatal("AppendBinary does not append")
			}
			if len(state) > 16<<10 {
				t.Fatalf("the state takes %d bytes, more than 16 KiB", len(state))
			}
			copied = create()
			if err := copied.UnmarshalBinary(state[4:]); err != nil {
				t.Fatalf("its own state, after %d readings: %v", i, err)
			}
		}
		if a, b := original.Judge(At(i, x)), copied.Judge(At(i, x)); a != b {
			t.Fatalf("reading %d: %+v, after a round trip %+v", i, a, b)
		}
	}
}

func foreign(t *testing.T, create func() detectors.Learner) {
	teacher, d, twin := create(), create(), create()
	for i := range 500 {
		teacher.Judge(At(i, float64(i%7)))
		d.Judge(At(i, float64(i%5)))
		twin.Judge(At(i, float64(i%5)))
	}
	state, err := teacher.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	refused := [][]byte{nil, {1}, state[:len(state)-1], append(append([]byte(nil), state...), 0), make([]byte, len(state))}
	for at := 0; at < len(state); at += 1 + len(state)/50 {
		flipped := append([]byte(nil), state...)
		flipped[at] ^= 0x10
		refused = append(refused, flipped)
	}
	for i, bytes := range refused {
		if err := d.UnmarshalBinary(bytes); !errors.Is(err, detectors.ErrForeignState) {
			t.Fatalf("damaged state %d of %d bytes: %v, want ErrForeignState", i, len(bytes), err)
		}
	}
	for i := range 500 {
		if a, b := d.Judge(At(500+i, float64(i%9))), twin.Judge(At(500+i, float64(i%9))); a != b {
			t.Fatalf("a refused state changed the detector: %+v, want %+v", a, b)
		}
	}
}

// frozen checks that Freeze outlives a restart, and that a detector may be
// frozen at any age, even twice.
func frozen(t *testing.T, create func() detectors.Learner) {
	for _, age := range []int{0, 20, 400, 3000} {
		d, r := create(), rand.New(rand.NewPCG(9, 9))
		for i := range age {
			d.Judge(At(i, r.NormFloat64()))
		}
		d.Freeze()
		d.Freeze()
		state, err := d.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		copied := create()
		if err := copied.UnmarshalBinary(state); err != nil {
			t.Fatal(err)
		}
		for i := range 2000 {
			w := At(age+i, 3+r.NormFloat64())
			a, b := d.Judge(w), copied.Judge(w)
			if wrong := Check(a); wrong != "" || a != b {
				t.Fatalf("frozen after %d readings: %+v, after a round trip %+v; %s", age, a, b, wrong)
			}
		}
	}
}
