package rate_test

import (
	"testing"
	"time"

	"tocsin/detectors"
	"tocsin/detectors/detectortest"
	"tocsin/detectors/rate"
)

func TestContract(t *testing.T) {
	detectortest.RunLearned(t, func(l detectors.Learning) detectors.Learner { return rate.New(l, 0) })
}

func TestContractWithALimit(t *testing.T) {
	detectortest.Run(t, func() detectors.Detector { return rate.New(detectortest.Learning(), 2) })
}

// warm is a detector with a limit of 2 per second that has seen a constant 10
// for 20 s.
func warm() detectors.Detector {
	d := rate.New(detectortest.Learning(), 2)
	for i := range 20 {
		d.Judge(detectortest.At(i, 10))
	}
	return d
}

func TestLimitIsPerSecond(t *testing.T) {
	for _, c := range []struct {
		seconds int
		value   float64
		alarm   bool
	}{
		{1, 12, false}, {1, 12.1, true}, {1, 7.9, true}, {5, 19, false}, {5, 21, true},
	} {
		v := warm().Judge(detectortest.At(19+c.seconds, c.value))
		if got := v.Score >= detectors.Line; got != c.alarm {
			t.Errorf("10 to %g in %d s: score %g, alarm %t", c.value, c.seconds, v.Score, got)
		}
		if v.Low != 10-2*float64(c.seconds) || v.High != 10+2*float64(c.seconds) {
			t.Errorf("in %d s: expected %g to %g", c.seconds, v.Low, v.High)
		}
		if c.alarm && v.Reason != detectors.TooFast {
			t.Errorf("reason %q", v.Reason.Phrase())
		}
	}
}

// Readings that the gateway stamped itself come in bursts: a millisecond
// between two of them says nothing of the machine.
func TestBurstIsNotFast(t *testing.T) {
	d := warm()
	w := detectortest.At(20, 10)
	d.Judge(w)
	for i := range 5 {
		w.Time += int64(time.Millisecond)
		w.Value = 10 + float64(i%2)
		if v := d.Judge(w); v.Score >= detectors.Line {
			t.Fatalf("a change of 1 within a burst: score %g", v.Score)
		}
	}
	w.Value = 1000 // of the same time as the one before: not comparable
	if v := d.Judge(w); v.Score != 0 {
		t.Errorf("two readings of one time: score %g", v.Score)
	}
}
