package silence_test

import (
	"testing"
	"time"

	"tocsin/detectors"
	"tocsin/detectors/detectortest"
	"tocsin/detectors/silence"
)

func TestContract(t *testing.T) {
	detectortest.Run(t, func() detectors.Detector { return silence.New(0) })
}

func TestContractWithALimit(t *testing.T) {
	detectortest.Run(t, func() detectors.Detector { return silence.New(time.Minute) })
}

const second = int64(time.Second)

// silentAfter ticks from the newest arrival until the alarm.
func silentAfter(d *silence.Watchdog, last int64) time.Duration {
	for gap := second; gap < 1000*3600*second; gap += second {
		if v := d.Tick(last + gap); v.Score >= detectors.Line {
			if v.Reason != detectors.NothingArrives {
				return -1
			}
			return time.Duration(gap)
		}
	}
	return 0
}

// arrive feeds n readings, every so often, and returns the newest arrival.
func arrive(d *silence.Watchdog, at int64, n int, every time.Duration) int64 {
	for range n {
		at += int64(every)
		d.Judge(detectors.Window{Time: -at, Arrived: at}) // the sensor's clock runs backwards: no matter
	}
	return at
}

func within(t *testing.T, what string, got, low, high time.Duration) {
	t.Helper()
	if got < low || got > high {
		t.Errorf("%s: silent after %v, want %v to %v", what, got, low, high)
	}
}

func TestLearned(t *testing.T) {
	d := silence.New(0)
	within(t, "never heard of", silentAfter(d, 0), 0, 0)

	d = silence.New(0)
	within(t, "100 Hz", silentAfter(d, arrive(d, 0, 100, 10*time.Millisecond)), 10*time.Second, 10*time.Second)

	d = silence.New(0)
	at := arrive(d, 0, 100, time.Minute)
	within(t, "once a minute", silentAfter(d, at), 14*time.Minute, 29*time.Minute)

	at = arrive(d, at+10*3600*second, 5000, time.Millisecond)
	within(t, "after an outage and a burst", silentAfter(d, at), 14*time.Minute, 29*time.Minute)

	at = arrive(d, at, 100, 30*time.Minute)
	within(t, "after a change to every half hour", silentAfter(d, at), 7*time.Hour, 15*time.Hour)
}

func TestGivenTime(t *testing.T) {
	d := silence.New(30 * time.Second)
	within(t, "dead from the start", silentAfter(d, 0), 31*time.Second, 31*time.Second) // the first tick starts it
	v := d.Judge(detectors.Window{Arrived: 100 * second})
	if v.Score != 0 || d.Tick(129*second).Score >= detectors.Line {
		t.Error("a reading did not end the silence")
	}
	within(t, "again", silentAfter(d, 100*second), 30*time.Second, 30*time.Second)
}

// A sensor that died while the agent was down is missed after the restart.
func TestOutlivesRestart(t *testing.T) {
	d := silence.New(0)
	arrive(d, 0, 100, time.Second)
	state, err := d.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	again := silence.New(0)
	if err := again.UnmarshalBinary(state); err != nil {
		t.Fatal(err)
	}
	within(t, "after a restart", silentAfter(again, 0), 14*time.Second, 31*time.Second)
}
