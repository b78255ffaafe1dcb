// Package silence finds a sensor that sends nothing any more.
//
// The watchdog of IEC 61784 and MQTT's keep-alive alike: a reading is missed
// when none came for many times the usual interval (NAMUR NE 107: failure).
// Time runs on the arrival clock, so a sensor's wrong clock cannot silence it.
package silence

import (
	"math"
	"time"

	"tocsin/detectors"
)

const (
	name     = "silence"
	times    = 20               // usual intervals that may pass
	shortest = 10 * time.Second // the least that is called silence, when learned
	ready    = 16               // gaps seen before anything is
	octaves  = 64
	memory   = 256 // usual intervals that are remembered
)

// New makes the detector "silence". after is how long nothing may arrive; 0
// lets it be learned: 20 times the channel's usual interval, at least 10 s.
//
// The usual interval is the one in which half of the time passed: a burst after
// a reconnect holds many readings but little time, and an outage counts for no
// more than the silence that is allowed. It outlives a restart, so a sensor
// that died meanwhile is missed too.
func New(after time.Duration) *Watchdog { return &Watchdog{after: int64(after)} }

// Watchdog is the detector.
type Watchdog struct {
	after int64
	last  int64 // arrival of the newest reading, or the first Tick
	begun bool
	state
	spent detectors.Counts[float64] // ns that passed in gaps of 2^i ns and more
}

var _ interface {
	detectors.Ticker
	detectors.Learner
} = (*Watchdog)(nil)

type state struct {
	Gaps   uint64
	Time   float64 // in all octaves, ns
	Usual  int64   // interval, ns
	Frozen bool
}

// Sound reports whether the state can be a watchdog's.
func (s *state) Sound() bool {
	return s.Usual >= 0 && detectors.Within(0, math.MaxInt64, s.Time)
}

// Traits names the method.
func (d *Watchdog) Traits() detectors.Traits {
	return detectors.Traits{Name: name, Severity: detectors.Low, Status: detectors.Failure}
}

// Judge notes that a reading arrived, which ends any silence.
func (d *Watchdog) Judge(w detectors.Window) detectors.Verdict {
	if d.begun && w.Arrived > d.last && !d.Frozen && d.after == 0 {
		d.learn(w.Arrived - d.last)
	}
	d.last, d.begun = w.Arrived, true
	return detectors.Verdict{Low: math.Inf(-1), High: math.Inf(1)}
}

// Tick judges the time since the newest reading.
func (d *Watchdog) Tick(arrived int64) detectors.Verdict {
	v := detectors.Verdict{Low: math.Inf(-1), High: math.Inf(1)}
	if !d.begun {
		d.last, d.begun = arrived, true
	}
	limit, gap := d.limit(), arrived-d.last
	if limit == 0 || gap <= 0 {
		return v
	}
	v.Score = float64(gap) / (float64(gap) + float64(limit))
	if v.Score >= detectors.Line {
		v.Reason = detectors.NothingArrives
	}
	return v
}

// limit is the silence allowed, ns; 0 while unknown.
func (d *Watchdog) limit() int64 {
	if d.after > 0 {
		return d.after
	}
	if d.Gaps < ready {
		return 0
	}
	return max(int64(shortest), times*min(d.Usual, math.MaxInt64/times))
}

// learn spends a gap's time in its octave and finds the middle of all time.
func (d *Watchdog) learn(gap int64) {
	spent := float64(gap)
	if limit := d.limit(); limit > 0 {
		spent = min(spent, float64(limit))
	}
	d.Gaps++
	d.spent.Add(octave(gap), spent)
	if d.Time += spent; d.Time > float64(memory*float64(d.Usual)) && d.Gaps > memory {
		d.spent.Scale(0.5)
		d.Time /= 2
	}
	if d.Gaps > 4*ready && d.Gaps%ready != 0 {
		return // it hardly moves any more
	}
	half := 0.0
	first, octaves := d.spent.Bins()
	for i, s := range octaves {
		if half += s; 2*half >= d.Time {
			usual := int64(1) << (first + i)
			d.Usual = usual + usual/2
			return
		}
	}
}

// octave is the exponent of the greatest power of two that is not above gap.
func octave(gap int64) int {
	_, e := math.Frexp(float64(gap))
	return min(e-1, octaves-2)
}

// Freeze ends learning.
func (d *Watchdog) Freeze() { d.Frozen = true }

// AppendBinary appends the learned state.
func (d *Watchdog) AppendBinary(b []byte) ([]byte, error) { return d.all().Append(b) }

// UnmarshalBinary takes a state back; after an error nothing has changed.
func (d *Watchdog) UnmarshalBinary(data []byte) error {
	loaded := *d
	if err := loaded.all().Load(data); err != nil {
		return err
	}
	if first, spent := loaded.spent.Bins(); first+len(spent) > octaves {
		return detectors.ErrForeignState
	}
	*d = loaded
	return nil
}

func (d *Watchdog) all() detectors.State {
	return detectors.State{Method: name, Settings: []any{time.Duration(d.after)}, Parts: []any{&d.state, &d.spent}}
}
