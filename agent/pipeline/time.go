package pipeline

import (
	"tocsin/agent/clock"
	"tocsin/sensors"
)

// Detectors and alarms live on the times that samples carry, which do not jump
// when the gateway's clock is set: those of the gateway are of the steady clock,
// those of a device are the device's. The bell makes wall times of them, and so
// does wall for the feed.

// own reports whether the reading's time is its device's.
func own(s *sensors.Sample) bool { return s.Quality&sensors.DeviceTime != 0 }

// wall is the wall time of a reading, nanoseconds since 1970 UTC, as it was
// known at the last look.
func (j *Judge) wall(s *sensors.Sample) int64 {
	if own(s) {
		return s.Time
	}
	return j.now.Wall(s.Time)
}

func (j *Judge) look() {
	if j.Clock == nil {
		j.Clock = clock.New()
	}
	j.now = j.Clock.Read()
}
