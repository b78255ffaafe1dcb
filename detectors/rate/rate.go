// Package rate judges how fast a reading changes, per second.
//
// The rate-of-change alarm of ISA-18.2 / EEMUA 191, either against a limit that
// a person has set or against a learned one (detectors.Calibration).
package rate

import (
	"math"
	"time"

	"tocsin/detectors"
)

const (
	name  = "rate"
	bound = 1000  // times the usual change that one change counts for in learning it
	first = 16    // readings before the usual interval is known
	most  = 1e150 // a faster change counts as this: its square is finite
)

// New makes the detector "rate". maxPerSecond is the fastest plausible change,
// in the channel's unit per second; 0 lets it be learned.
func New(l detectors.Learning, maxPerSecond float64) detectors.Learner {
	return &chart{limit: maxPerSecond, calibration: detectors.NewCalibration(l, detectors.Gaussian)}
}

type chart struct {
	state
	limit       float64 // per second; 0: learned
	calibration detectors.Calibration
}

type state struct {
	Value    float64 // before
	Time     int64   // before
	Seen     uint64
	Interval float64 // usual, s
	Square   float64 // mean squared rate, per s
}

// Sound reports whether the state can be a chart's.
func (s *state) Sound() bool {
	return detectors.Within(0, math.MaxFloat64, s.Interval, s.Square)
}

// Traits names the method.
func (c *chart) Traits() detectors.Traits {
	return detectors.Traits{Name: name, Severity: detectors.Medium}
}

// Judge holds the reading against the one before. Readings closer together than
// is usual, as they come in bursts or jitter, count as the usual interval
// apart; those of the same time are not compared.
func (c *chart) Judge(w detectors.Window) detectors.Verdict {
	v := detectors.Verdict{Low: math.Inf(-1), High: math.Inf(1)}
	was, dt := c.Value, float64(w.Time-c.Time)/float64(time.Second)
	c.Value = w.Value
	if c.Seen++; c.Seen == 1 || !(dt > 0) {
		if dt != 0 || c.Seen == 1 {
			c.Time = w.Time
		}
		return v
	}
	c.Time = w.Time
	c.learnInterval(dt)
	dt = max(dt, c.Interval)
	rate := min(math.Abs(w.Value-was)/dt, most)
	line := c.judge(w.Time, rate, &v)
	if line > 0 {
		v.Low, v.High = detectors.Around(was, line*dt)
	}
	if v.Score >= detectors.Line {
		v.Reason = detectors.TooFast
	}
	return v
}

// judge sets the score and returns the limit per second; 0 until there is one.
func (c *chart) judge(t int64, rate float64, v *detectors.Verdict) float64 {
	if c.limit > 0 {
		if c.Seen <= first {
			return 0
		}
		v.Score = rate / (rate + c.limit)
		if rate > c.limit {
			v.Score = max(v.Score, detectors.Line)
		} else {
			v.Score = min(v.Score, math.Nextafter(detectors.Line, 0))
		}
		return c.limit
	}
	usual := math.Sqrt(c.Square)
	stat := 0.0
	if usual > 0 {
		stat = rate / usual
	}
	v.Score = c.calibration.Score(t, stat)
	if usual > 0 {
		rate = min(rate, bound*usual)
	}
	c.Square += float64(c.calibration.Rate() * (float64(rate*rate) - c.Square))
	return c.calibration.Limit() * usual
}

// learnInterval follows the usual interval; a gap counts for little.
func (c *chart) learnInterval(dt float64) {
	if c.Interval == 0 {
		c.Interval = dt
	}
	weight := 1.0 / 256
	if c.Seen < 256 {
		weight = 1 / float64(c.Seen)
	}
	c.Interval += float64(weight * (min(dt, 4*c.Interval) - c.Interval))
}

// Ready reports whether enough was seen to have a line.
func (c *chart) Ready() bool { return c.limit > 0 || c.calibration.Limit() > 0 }

// Freeze ends learning.
func (c *chart) Freeze() { c.calibration.Freeze() }

// AppendBinary appends the learned state.
func (c *chart) AppendBinary(b []byte) ([]byte, error) { return c.all().Append(b) }

// UnmarshalBinary takes a state back; after an error nothing has changed.
func (c *chart) UnmarshalBinary(data []byte) error {
	loaded := *c
	if err := loaded.all().Load(data); err != nil {
		return err
	}
	*c = loaded
	return nil
}

func (c *chart) all() detectors.State {
	return detectors.State{Method: name, Settings: []any{c.calibration.Learning(), c.limit}, Parts: c.calibration.State(&c.state)}
}
