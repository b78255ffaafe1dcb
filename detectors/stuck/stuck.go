// Package stuck finds a sensor whose reading does not change any more.
//
// The "stuck-at" or "frozen value" fault of sensor validation (NAMUR NE 107:
// failure; K. Ni et al., ACM Trans. Sensor Networks 5 (2009) 25, "stuck-at").
package stuck

import (
	"math"
	"math/bits"
	"time"

	"tocsin/detectors"
)

const (
	name       = "stuck"
	times      = 10          // how often the longest rest seen must be passed
	shortest   = time.Minute // the least time that is called stuck, when learned
	everyTenth = 10          // a reading that normally moves changes at least this often
	many       = 24          // and takes more values than a switch or a selector has positions
)

// New makes the detector "stuck". after is how long a value may stay the same;
// 0 lets it be learned: ten times the longest rest seen, at least a minute and
// Ready readings. Only a reading that normally moves can then be stuck: never
// an on/off state or a set-point, and never at exactly 0, as a machine at
// rest reads. With after given, the person who gives it answers for that.
func New(after time.Duration, l detectors.Learning) detectors.Learner {
	return &watch{learning: l, after: after}
}

type watch struct {
	learning detectors.Learning
	after    time.Duration
	begun    bool // a reading came since the start: before that nobody looked, and no rest is known
	state
}

type state struct {
	Value   float64 // the newest
	Time    int64   // of the newest
	Rest    int64   // for how long it has been the same, ns
	Same    uint64  // and for how many readings
	Longest int64   // rest ended so far, ns
	Seen    uint64
	Changes uint64
	Values  [4]uint64 // which of 256 classes of values have been seen
	Frozen  bool
}

// Sound reports whether the state can be a watch's.
func (s *state) Sound() bool { return s.Rest >= 0 && s.Longest >= 0 }

// Traits names the method.
func (c *watch) Traits() detectors.Traits {
	return detectors.Traits{Name: name, Severity: detectors.Low, Status: detectors.Failure}
}

// Judge compares the reading with the one before.
func (c *watch) Judge(w detectors.Window) detectors.Verdict {
	v := detectors.Verdict{Low: math.Inf(-1), High: math.Inf(1)}
	dt := w.Time - c.Time
	same := c.Seen > 0 && w.Value == c.Value
	if !same {
		c.moved(w.Value)
	} else if c.Same++; c.begun && dt > 0 && c.Rest < math.MaxInt64-dt { // time may step back
		c.Rest += dt
	}
	c.Value, c.Time, c.begun = w.Value, w.Time, true
	c.Seen++
	limit := c.limit()
	if !same || limit == 0 {
		return v
	}
	v.Score = float64(c.Rest) / (float64(c.Rest) + float64(limit))
	if v.Score >= detectors.Line {
		v.Reason = detectors.NotChanging
	}
	return v
}

// moved ends a rest. One that was already called stuck doubles the longest at
// most, so that a habit becomes normal but a fault is not forgotten at once.
func (c *watch) moved(value float64) {
	if !c.Frozen {
		rest := c.Rest
		if limit := c.limit(); limit > 0 && rest >= limit {
			rest = min(rest, 2*max(c.Longest, limit/times))
		}
		c.Longest = max(c.Longest, rest)
		c.Changes++
		class := math.Float64bits(value) * 0x9e3779b97f4a7c15 >> 56 // Fibonacci hashing
		c.Values[class/64] |= 1 << (class % 64)
	}
	c.Rest, c.Same = 0, 1
}

// limit is the rest that is called stuck, ns; 0 while none is.
func (c *watch) limit() int64 {
	if c.after > 0 {
		return int64(c.after)
	}
	ready := uint64(max(c.learning.Ready, 1))
	if c.Same < ready || c.Value == 0 || !c.moves(ready) {
		return 0
	}
	return max(int64(shortest), times*min(c.Longest, math.MaxInt64/times))
}

// moves reports whether the channel's reading normally changes, the present
// rest aside.
func (c *watch) moves(ready uint64) bool {
	before := c.Seen - min(c.Same, c.Seen)
	values := 0
	for _, v := range c.Values {
		values += bits.OnesCount64(v)
	}
	return before >= ready && c.Changes >= before/everyTenth && values >= many
}

// Freeze ends learning.
func (c *watch) Freeze() { c.Frozen = true }

// AppendBinary appends the learned state.
func (c *watch) AppendBinary(b []byte) ([]byte, error) { return c.all().Append(b) }

// UnmarshalBinary takes a state back; after an error nothing has changed.
func (c *watch) UnmarshalBinary(data []byte) error {
	loaded := *c
	if err := loaded.all().Load(data); err != nil {
		return err
	}
	*c = loaded
	return nil
}

func (c *watch) all() detectors.State {
	return detectors.State{Method: name, Settings: []any{c.learning, c.after}, Parts: []any{&c.state}}
}
