package threshold_test

import (
	"math"
	"testing"
	"time"

	"tocsin/detectors"
	"tocsin/detectors/detectortest"
	"tocsin/detectors/threshold"
)

var four = threshold.Limits{HighHigh: 90, High: 80, Low: 20, LowLow: 10, Hysteresis: 2}

func TestContract(t *testing.T) {
	open := threshold.Limits{HighHigh: math.Inf(1), High: math.Inf(1), Low: math.Inf(-1), LowLow: math.Inf(-1)}
	delayed := open
	delayed.High, delayed.OnDelay, delayed.OffDelay = 5, time.Second, time.Minute
	for name, create := range map[string]func() detectors.Detector{
		"open":    func() detectors.Detector { return threshold.New(open) },
		"delayed": func() detectors.Detector { return threshold.New(delayed) },
		"range":   func() detectors.Detector { return threshold.NewRange(-1, 1) },
	} {
		t.Run(name, func(t *testing.T) { detectortest.Run(t, create) })
	}
}

// step is a reading at a second and what it should lead to; Unnamed: no alarm.
type step struct {
	at     int
	value  float64
	reason detectors.Reason
}

func play(t *testing.T, l threshold.Limits, steps []step) {
	t.Helper()
	d := threshold.New(l)
	for _, s := range steps {
		v := d.Judge(detectortest.At(s.at, s.value))
		if (v.Score >= detectors.Line) != (s.reason != detectors.Unnamed) || v.Reason != s.reason {
			t.Errorf("%g at %d s: score %g %q, want %q", s.value, s.at, v.Score, v.Reason.Phrase(), s.reason.Phrase())
		}
	}
}

func TestDeadBandAndEscalation(t *testing.T) {
	play(t, four, []step{
		{0, 50, 0}, {1, 80, 0}, {2, 80.1, detectors.AboveHigh}, {3, 79, detectors.AboveHigh}, {4, 78, 0}, {5, 79, 0},
		{6, 85, detectors.AboveHigh}, {7, 91, detectors.AboveHighHigh}, {8, 89, detectors.AboveHighHigh},
		{9, 88, detectors.AboveHigh}, {10, 50, 0},
		{11, 19, detectors.BelowLow}, {12, 9, detectors.BelowLowLow}, {13, 11, detectors.BelowLowLow},
		{14, 21, detectors.BelowLow}, {15, 22, 0},
	})
}

func TestDelays(t *testing.T) {
	l := four
	l.OnDelay, l.OffDelay = 5*time.Second, 3*time.Second
	play(t, l, []step{
		{0, 85, 0}, {4, 85, 0}, {4, 70, 0}, // came back inside: the delay starts anew
		{5, 85, 0}, {9, 85, 0}, {10, 85, detectors.AboveHigh},
		{11, 70, detectors.AboveHigh}, {13, 79, detectors.AboveHigh}, // inside the dead-band is not inside
		{14, 70, detectors.AboveHigh}, {16, 70, detectors.AboveHigh}, {17, 70, 0},
		{20, 85, 0}, {3, 85, 0}, {7, 85, 0}, {8, 85, detectors.AboveHigh}, // the clock stepped back: the delay starts anew
	})
}

func TestVerdict(t *testing.T) {
	v := threshold.New(four).Judge(detectortest.At(0, 95))
	if v.Severity != detectors.Critical || v.Low != 20 || v.High != 90 {
		t.Errorf("high_high: %+v", v)
	}
	if v = threshold.New(four).Judge(detectortest.At(0, 15)); v.Severity != detectors.High {
		t.Errorf("low: %+v", v)
	}
	low := four
	low.Severity = detectors.Low
	if v = threshold.New(low).Judge(detectortest.At(0, 95)); v.Severity != detectors.Low {
		t.Errorf("with a severity of the site: %+v", v)
	}
	outer := threshold.Limits{HighHigh: 90, High: math.Inf(1), Low: math.Inf(-1), LowLow: 10}
	if v = threshold.New(outer).Judge(detectortest.At(0, 50)); v.Low != 10 || v.High != 90 || v.Score != 0 {
		t.Errorf("outer limits alone: %+v", v)
	}
}

func TestRange(t *testing.T) {
	d := threshold.NewRange(-40, 125)
	if got := d.Traits(); got != (detectors.Traits{Name: "range", Severity: detectors.Low, Status: detectors.OutOfSpecification}) {
		t.Errorf("traits %+v", got)
	}
	for value, alarm := range map[float64]bool{-40: false, 125: false, -40.1: true, 125.1: true, 0: false} {
		if v := d.Judge(detectortest.At(0, value)); v.Score >= detectors.Line != alarm || alarm && v.Reason != detectors.OutsideRange {
			t.Errorf("%g: %+v", value, v)
		}
	}
}
