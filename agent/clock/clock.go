// Package clock knows how far the gateway's clock can be believed: a gateway
// without a battery starts in 1970, or where it was when it was switched off,
// and jumps when the network tells it the time.
//
// Three clocks take part. The wall clock is what people read; it jumps. The
// steady clock (sensors.Steady) is what readings without a time of their own are
// stamped with; it began as the wall clock did and never jumps. The uptime
// (CLOCK_BOOTTIME) is the kernel's: with the boot id it means the same to every
// process of one boot. Nothing is judged or ordered by the wall clock. It is
// asked only where a time is told to people, or compared with one of theirs.
package clock

import (
	"log/slog"
	"math"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tocsin/sensors"
)

// Trust is how far the wall clock can be believed.
type Trust uint8

// The levels of trust.
const (
	Unset    Trust = iota // it shows a time that has passed: 1970, or before this build
	Unsynced              // it may be right, and nothing vouches for it
	Synced                // the kernel says that a time service disciplines it
)

var trustNames = [...]string{"unset", "unsynced", "synced"}

func (t Trust) String() string { return trustNames[t] }

// builtAfter is earlier than any build of tocsin.
var builtAfter = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

const (
	// slack is by how much the clocks may part before it counts as a step: a time
	// service that only hastens or slows the clock does so to wall and steady alike.
	slack = 250 * time.Millisecond
	// askEvery is how long the kernel's word on the time service is believed.
	askEvery = time.Second
)

// Options are the clocks below. The zero value is the kernel's.
type Options struct {
	Wall   func() time.Time     // default time.Now
	Steady func() int64         // default sensors.Steady
	Uptime func() time.Duration // default Uptime
	Synced func() bool          // whether a time service disciplines Wall; default: the kernel's word
	Log    *slog.Logger         // says when the clock was set; nil: nobody
}

// Clock is the process's view of the wall clock. Safe for concurrent use.
type Clock struct {
	o Options

	mu     sync.Mutex
	floor  time.Time     // no right clock is before; guarded by mu
	shift  time.Duration // what to add to the steady clock for the wall clock; guarded by mu
	boot   time.Duration // and for the uptime; guarded by mu
	synced bool          // guarded by mu
	asked  int64         // when synced was, on the steady clock; guarded by mu
	begun  bool          // there was a first look; guarded by mu
}

// New returns a clock over the kernel's.
func New() *Clock { return With(Options{}) }

// With returns a clock over others, for tests, or one that logs.
func With(o Options) *Clock {
	if o.Wall == nil {
		o.Wall = time.Now
	}
	if o.Steady == nil {
		o.Steady = sensors.Steady
	}
	if o.Uptime == nil {
		o.Uptime = Uptime
	}
	if o.Synced == nil {
		o.Synced = kernelSynced
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Clock{o: o, floor: builtAfter}
}

// Reading is the state of the clock at one moment: how times are to be told now.
type Reading struct {
	Trust  Trust
	Steady int64 // the steady clock, nanoseconds
	now    time.Time
	shift  time.Duration
	boot   time.Duration
}

// Wall is the wall time of a moment of the steady clock, as known now. Both are
// in nanoseconds since 1970 UTC.
func (r Reading) Wall(steady int64) int64 { return steady + int64(r.shift) }

// Uptime is the uptime of a moment of the steady clock.
func (r Reading) Uptime(steady int64) time.Duration { return time.Duration(steady) + r.boot }

// WallAt is the wall time, as known now, of a moment of this boot.
func (r Reading) WallAt(uptime time.Duration) int64 { return r.Wall(int64(uptime - r.boot)) }

// Read reads the clocks: some 150 ns, and once a second a system call more. It
// notes, and logs, a step that the wall clock has made since the last time.
func (c *Clock) Read() Reading {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, steady := c.both()
	if !c.begun || steady-c.asked >= int64(askEvery) {
		c.synced, c.asked = c.o.Synced(), steady
		c.follow(&c.boot, c.o.Uptime()-time.Duration(steady))
	}
	if step := c.follow(&c.shift, time.Duration(now.UnixNano()-steady)); step != 0 && c.begun {
		// A time service that set the clock vouches for it, one that did before does not.
		c.synced = c.o.Synced()
		c.o.Log.Warn("the gateway's clock was set", "by", spell(step), "now", now.UTC(), "clock", c.trust(now).String())
	}
	c.begun = true
	if c.synced && now.Before(c.floor) { // the time remembered was a wrong one
		c.floor = later(builtAfter, now)
	}
	return Reading{Trust: c.trust(now), Steady: steady, now: now, shift: c.shift, boot: c.boot}
}

// both reads wall and steady clock at one moment: again when the process stood
// still between the two, a few times at most.
func (c *Clock) both() (now time.Time, steady int64) {
	steady = c.o.Steady()
	for range 3 {
		before := steady
		now, steady = c.o.Wall().Round(0), c.o.Steady()
		if steady-before < int64(slack/2) {
			break
		}
	}
	return now, steady
}

// follow moves an offset to where it is now, unless it is there but for slack:
// so a moment is told as the same time again and again. It returns by how much.
func (c *Clock) follow(offset *time.Duration, now time.Duration) time.Duration {
	step := now - *offset
	if step.Abs() <= slack {
		return 0
	}
	*offset = now
	return step
}

func (c *Clock) trust(now time.Time) Trust {
	switch {
	case now.Before(builtAfter) || !c.synced && now.Before(c.floor):
		return Unset
	case c.synced:
		return Synced
	}
	return Unsynced
}

// Now is the wall clock and whether it can be right at all, that is, whether it
// is not Unset.
func (c *Clock) Now() (now time.Time, trusted bool) {
	r := c.Read()
	return r.now, r.Trust != Unset
}

// Vouched is the wall clock and whether it is Synced: for what would lose data
// by a clock that is wrong.
func (c *Clock) Vouched() (now time.Time, vouched bool) {
	r := c.Read()
	return r.now, r.Trust == Synced
}

// Trust is how far the clock can be believed now.
func (c *Clock) Trust() Trust { return c.Read().Trust }

// Floor is a time that no right clock was ever before: what was stamped earlier
// was stamped by a clock that was not set.
func (c *Clock) Floor() time.Time { return builtAfter }

// Remember says that the clock was Synced at that time, so that no right clock
// is before it now.
func (c *Clock) Remember(synced time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.floor = later(c.floor, synced)
}

// TLSTime is what certificates are judged by: the wall clock, or while that is
// Unset the last time it is known to have been right. So a gateway that starts
// in 1970 can connect, and a certificate that had expired when the clock was last
// known to be right stays refused.
func (c *Clock) TLSTime() time.Time {
	now, _ := c.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	return later(now, c.floor)
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// spell writes a step as people say it: "20780 days forward".
func spell(step time.Duration) string {
	by, way := step.Abs(), " forward"
	if step < 0 {
		way = " back"
	}
	if by >= 48*time.Hour {
		return strconv.Itoa(int(by.Hours()/24)) + " days" + way
	}
	return by.Round(time.Millisecond).String() + way
}

// Uptime is how long the kernel runs, sleep included (CLOCK_BOOTTIME).
func Uptime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return math.MaxInt64
	}
	return time.Duration(t.Nano())
}

// kernelSynced is adjtimex(2)'s word: the flag STA_UNSYNC is there from the
// start of the kernel until a time service takes it away, and again after
// settimeofday or hours without the service. Where the call is forbidden nobody
// vouches.
func kernelSynced() bool {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	return err == nil && state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0
}
