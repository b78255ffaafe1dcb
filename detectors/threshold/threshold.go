// Package threshold judges a reading against limits that a person has set.
//
// Dead-band (hysteresis) and on- and off-delays are those of ISA-18.2 / IEC
// 62682 (alarm attributes). Delays run in the time of the readings, so that a
// replayed file alarms exactly as the live sensor did.
package threshold

import (
	"math"
	"time"

	"tocsin/detectors"
)

// Limits are the limits of one channel, in its unit. -Inf (LowLow, Low) and
// +Inf (High, HighHigh) leave a side open: an open limit must be said, a zero
// is a limit at zero.
type Limits struct {
	HighHigh, High, Low, LowLow float64
	Hysteresis                  float64            // how far back inside a value must come before its alarm clears, ≥ 0
	OnDelay                     time.Duration      // how long it must stay outside before the alarm is raised
	OffDelay                    time.Duration      // how long it must stay inside before the alarm is cleared
	Severity                    detectors.Severity // of every limit; None: Critical for HighHigh and LowLow, High for High and Low
}

// Scores of a raised limit: they order the two grades, nothing more.
const (
	scoreOuter = 1.0  // high_high, low_low
	scoreInner = 0.75 // high, low
)

// New makes the detector "limit". While a graver limit is raised too, the
// verdict tells of the graver one; Low and High are the limits themselves, the
// one that is crossed where one is.
func New(l Limits) detectors.Detector {
	outer, inner := detectors.Critical, detectors.High
	if l.Severity != detectors.None {
		outer, inner = l.Severity, l.Severity
	}
	d := &limit{low: max(l.Low, l.LowLow), high: min(l.High, l.HighHigh)}
	d.on, d.off = int64(l.OnDelay), int64(l.OffDelay)
	h := math.Max(l.Hysteresis, 0)
	d.edges = [4]edge{
		{at: l.HighHigh, back: l.HighHigh - h, severity: outer, reason: detectors.AboveHighHigh},
		{at: -l.LowLow, back: -l.LowLow - h, below: true, severity: outer, reason: detectors.BelowLowLow},
		{at: l.High, back: l.High - h, severity: inner, reason: detectors.AboveHigh},
		{at: -l.Low, back: -l.Low - h, below: true, severity: inner, reason: detectors.BelowLow},
	}
	return d
}

// limit is four edges, the gravest first.
type limit struct {
	low, high float64 // the innermost limits
	calm      bool    // no edge is raised or turning
	on, off   int64
	edges     [4]edge
}

// edge is one limit with its own dead-band and delay. A lower limit is an upper
// one of the negated value.
type edge struct {
	at, back float64
	below    bool
	raised   bool
	turning  bool // on the other side than raised says, since
	severity detectors.Severity
	reason   detectors.Reason
	since    int64 // when it began to turn
}

// verdict tells of a raised edge.
func (d *limit) verdict(e *edge) detectors.Verdict {
	v := detectors.Verdict{Score: scoreInner, Low: d.low, High: d.high, Severity: e.severity, Reason: e.reason}
	switch e.reason {
	case detectors.AboveHighHigh:
		v.Score, v.High = scoreOuter, e.at
	case detectors.BelowLowLow:
		v.Score, v.Low = scoreOuter, -e.at
	}
	return v
}

// Traits names the method.
func (d *limit) Traits() detectors.Traits {
	return detectors.Traits{Name: "limit", Severity: detectors.High}
}

// Judge moves every edge and tells of the gravest that is raised.
func (d *limit) Judge(w detectors.Window) detectors.Verdict {
	v := detectors.Verdict{Low: d.low, High: d.high}
	if d.calm && w.Value >= d.low && w.Value <= d.high {
		return v // as nearly always
	}
	d.calm = true
	for i := len(d.edges) - 1; i >= 0; i-- {
		e := &d.edges[i]
		if e.judge(w, d.on, d.off) {
			v = d.verdict(e)
		}
		d.calm = d.calm && !e.raised && !e.turning
	}
	return v
}

// judge reports whether the edge is raised after this reading.
func (e *edge) judge(w detectors.Window, on, off int64) bool {
	x, delay := w.Value, on
	if e.below {
		x = -x
	}
	turn := x > e.at
	if e.raised {
		turn, delay = x <= e.back, off
	}
	switch {
	case !turn:
		e.turning = false
	case !e.turning || w.Time < e.since: // a clock that stepped back starts the delay anew
		e.turning, e.since = true, w.Time
	}
	if e.turning && uint64(w.Time-e.since) >= uint64(delay) { // right across the whole int64
		e.raised, e.turning = !e.raised, false
	}
	return e.raised
}
