package detectors

import "time"

// Learning says how a learned detector learns a channel and how rarely it may
// be wrong about it.
type Learning struct {
	Ready int // samples seen before it may alarm
	// Its line is set for at most one false alarm in FalseAlarmRows samples or in
	// FalseAlarmEvery of the channel's time, whichever is rarer.
	FalseAlarmRows  float64
	FalseAlarmEvery time.Duration
}
