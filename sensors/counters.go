package sensors

import "sync/atomic"

// Reason says why a reading was refused instead of judged.
type Reason uint8

// The reasons, in the order in which they are printed.
const (
	NotFinite      Reason = iota // NaN, Inf, or a number too large for a float64
	OutOfRange                   // outside the sensor's physical range
	Malformed                    // the payload does not have the form the configuration says
	TooLarge                     // payload, nesting or topic over its bound
	BadTime                      // the time does not have the form the configuration says
	BadQuality                   // the device itself calls the reading bad
	UnknownChannel               // no room for another channel found by a wildcard
	QueueFull                    // the source pushes faster than the detectors judge; the oldest were dropped
	Reasons                      // how many there are
)

var reasonNames = [Reasons]string{"not_finite", "out_of_range", "malformed", "too_large", "bad_time", "bad_quality", "unknown_channel", "queue_full"}

func (r Reason) String() string { return reasonNames[r] }

// Counters is the ledger of one source: after the street is drained,
// Read = Judged + the sum of Refused. Safe for concurrent use.
type Counters struct {
	Read    atomic.Uint64
	Judged  atomic.Uint64
	Latest  atomic.Int64 // when the last batch that was judged arrived, by Now; 0: none yet
	refused [Reasons]atomic.Uint64
}

// Refuse counts n readings refused for reason; they count as read elsewhere.
func (c *Counters) Refuse(reason Reason, n int) { c.refused[reason].Add(uint64(n)) }

// Refused is how many readings were refused for reason.
func (c *Counters) Refused(reason Reason) uint64 { return c.refused[reason].Load() }

// RefusedAll is how many readings were refused, whatever the reason.
func (c *Counters) RefusedAll() (n uint64) {
	for i := range c.refused {
		n += c.refused[i].Load()
	}
	return n
}

// CarryOn adds what an earlier Writer of the same source has counted, so that
// the ledger outlives the source's settings.
func (c *Counters) CarryOn(from *Counters) {
	c.Read.Add(from.Read.Load())
	c.Judged.Add(from.Judged.Load())
	for r := range Reasons {
		c.refused[r].Add(from.Refused(r))
	}
}

// ByReason is how many readings were refused, by the names of the reasons that
// occurred; nil where none did.
func (c *Counters) ByReason() map[string]uint64 {
	var n map[string]uint64
	for r := range Reasons {
		if count := c.Refused(r); count > 0 {
			if n == nil {
				n = map[string]uint64{}
			}
			n[r.String()] = count
		}
	}
	return n
}
