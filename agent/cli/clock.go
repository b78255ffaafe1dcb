package cli

import (
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// builtAfter is earlier than any build of tocsin.
var builtAfter = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// clock is the wall clock and whether it can be right at all: a gateway without
// a battery starts in 1970.
func clock() (now time.Time, trusted bool) {
	now = time.Now()
	return now, now.After(builtAfter)
}

func clockTrusted() bool {
	_, trusted := clock()
	return trusted
}

// uptime is how long the kernel runs, sleep included.
func uptime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return math.MaxInt64
	}
	return time.Duration(t.Nano())
}
