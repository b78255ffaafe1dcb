package spool

import (
	"log/slog"
	"math"
	"math/bits"
	"time"
)

// Options are the operator's decisions about the buffer; the zero value is a
// buffer with the defaults.
type Options struct {
	// MaxBytes is the disk space for events that wait: 1 GiB unless given, and
	// never more than 256 MiB on a 32-bit gateway. Events are dropped from nine
	// tenths of it on. It is at least four times FileBytes.
	MaxBytes int64
	// MaxAge is how old an event may become, by its own time; 0 is no bound. One
	// from before Oldest, which a clock stamped that was not set or a recording,
	// has no age.
	MaxAge time.Duration
	// Reserve is disk space that is left to others, in bytes: events are dropped
	// when less is free. 0 leaves none.
	Reserve int64
	// FileBytes is about where a new file begins: 16 MiB unless given.
	FileBytes int64
	// Log says what was dropped and what was cured; none unless given.
	Log *slog.Logger
	// Clock is the wall clock for MaxAge and says whether it is trusted: while it
	// is not, nothing is too old. time.Now, trusted, unless given.
	Clock func() (now time.Time, trusted bool)
	// Oldest is a time that no right clock was ever before.
	Oldest time.Time
	// NoSync leaves out fsync. It exists so that power-loss tests can prove that
	// they would notice: a power cut then loses and damages what was stored.
	NoSync bool
}

const (
	defaultBytes     = 1 << 30
	defaultBytes32   = 256 << 20 // a 32-bit process has 2–3 GB of addresses for everything
	defaultFileBytes = 16 << 20
	minFileBytes     = 64 << 10
)

// Bound changes MaxBytes and MaxAge. What is beyond them is dropped when the
// next events are stored.
func (s *Spool) Bound(maxBytes int64, maxAge time.Duration) {
	<-s.gate
	defer s.leave()
	s.o.MaxBytes, s.o.MaxAge = maxBytes, maxAge
	s.o = s.o.withDefaults()
	s.aged = time.Time{}
}

func (o Options) withDefaults() Options {
	most := int64(1) << 50
	if bits.UintSize == 32 {
		most = defaultBytes32
	}
	if o.MaxBytes <= 0 {
		o.MaxBytes = defaultBytes
	}
	if o.FileBytes <= 0 {
		o.FileBytes = defaultFileBytes
	}
	o.MaxBytes = max(min(o.MaxBytes, most), 4*minFileBytes)
	o.FileBytes = max(min(o.FileBytes, o.MaxBytes/4), minFileBytes)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = func() (time.Time, bool) { return time.Now(), true }
	}
	if o.Oldest.IsZero() {
		o.Oldest = time.Unix(0, math.MinInt64)
	}
	return o
}
