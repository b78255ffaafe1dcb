// Package cusum is the two-sided cumulative sum chart: it finds lasting shifts
// of the mean and says where they began.
//
// E. S. Page, "Continuous inspection schemes", Biometrika 41 (1954) 100; the
// theoretical limit after D. Siegmund, Sequential Analysis (1985), eq. 2.56.
// Readings are standardised robustly, and the limit is learned
// (detectors.Calibration), never inside the theoretical one.
package cusum

import (
	"math"

	"tocsin/detectors"
)

const (
	name    = "cusum"
	slack   = 0.5  // standard deviations that are let pass: half the shift looked for
	bound   = 4    // standard deviations a single reading counts for: a spike is no shift
	allow   = 2    // times the wander of the level that are let pass too
	highest = 4000 // where sums stop
)

// New makes the detector "cusum".
func New(l detectors.Learning) detectors.Learner {
	return &chart{calibration: detectors.NewCalibration(l, func(p float64) float64 { return math.Sqrt(siegmund(p)) })}
}

// siegmund is the limit that a two-sided chart of Gaussian readings reaches
// every 1/p readings: 1/p = (exp(b) - b - 1) / 4·slack², b = 2·slack·(h + 1.166).
func siegmund(p float64) float64 {
	b := 1.0
	for range 8 { // converges as fast as exp grows
		b = detectors.Logarithm(float64(4*slack*slack)/p + b + 1)
	}
	return b/(2*slack) - 1.166
}

type chart struct {
	state
	base        detectors.Baseline
	calibration detectors.Calibration
}

type state struct {
	Above, Below side
	Raised       bool
}

// side is one of the two sums, in standard deviations, ≥ 0.
type side struct{ Sum, Highest float64 }

// add adds one reading. A sum that has fallen by a whole limit from its highest
// starts over: the shift has ended.
func (s *side) add(z, limit float64) {
	sum := s.Sum + z
	switch {
	case sum <= 0 || limit > 0 && s.Highest-sum > limit:
		*s = side{}
	case sum > s.Highest:
		s.Sum = min(sum, highest)
		s.Highest = s.Sum
	default:
		s.Sum = sum
	}
}

// Sound reports whether the state can be a chart's.
func (s *state) Sound() bool {
	return detectors.Within(0, highest, s.Above.Sum, s.Above.Highest, s.Below.Sum, s.Below.Highest)
}

// Traits names the method.
func (c *chart) Traits() detectors.Traits {
	return detectors.Traits{Name: name, Severity: detectors.Medium}
}

// Judge takes one reading in. Low and High bound the mean that is let pass, not
// the single reading. Change is set once, when a sum reaches the line.
func (c *chart) Judge(w detectors.Window) detectors.Verdict {
	v := detectors.Verdict{Low: math.Inf(-1), High: math.Inf(1)}
	// The root of a sum has a tail like a reading's, which the sum itself has not
	// where readings are autocorrelated.
	v.Score = c.calibration.Score(w.Time, math.Sqrt(c.statistic(w.Value)))
	if c.calibration.Limit() > 0 {
		v.Low, v.High = detectors.Around(c.base.Mean, c.pass()*c.base.Spread)
	}
	raised := v.Score >= detectors.Line
	if raised {
		v.Reason = detectors.MeanHigher
		if c.Below.Sum > c.Above.Sum {
			v.Reason = detectors.MeanLower
		}
	}
	v.Change, c.Raised = raised && !c.Raised, raised
	c.base.Learn(w.Value, c.calibration.Rate())
	return v
}

// statistic is the larger of the two sums.
func (c *chart) statistic(x float64) float64 {
	z := c.base.Deviation(x, bound)
	k, limit := c.pass(), c.calibration.Limit()
	limit = float64(limit * limit)
	c.Above.add(z-k, limit)
	c.Below.add(-z-k, limit)
	return max(c.Above.Sum, c.Below.Sum)
}

// pass is how far from the usual the mean may be, in standard deviations.
func (c *chart) pass() float64 { return slack + float64(allow*c.base.Wander) }

// Ready reports whether enough was seen to have a line.
func (c *chart) Ready() bool { return c.calibration.Limit() > 0 }

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
	return detectors.State{Method: name, Settings: []any{c.calibration.Learning()}, Parts: c.calibration.State(&c.base, &c.state)}
}
