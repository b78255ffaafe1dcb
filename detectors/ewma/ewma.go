// Package ewma is the exponentially weighted moving average control chart: it
// finds small lasting shifts of the mean.
//
// S. W. Roberts, "Control chart tests based on geometric moving averages",
// Technometrics 1 (1959) 239; the weight after J. M. Lucas and M. S. Saccucci,
// Technometrics 32 (1990) 1, tables 3 and 4. The control limit is not theirs
// but learned (detectors.Calibration), and never inside theirs.
package ewma

import (
	"math"

	"tocsin/detectors"
)

const (
	name   = "ewma"
	weight = 0.1 // of the newest reading: best for shifts of one standard deviation
	bound  = 8   // standard deviations a single reading counts for: spikes are another chart's business
)

// New makes the detector "ewma".
func New(l detectors.Learning) detectors.Learner {
	return &chart{narrow: math.Sqrt(float64(weight) / (2 - weight)), calibration: detectors.NewCalibration(l, detectors.Gaussian)}
}

type chart struct {
	state
	narrow      float64 // standard deviation of the average of independent readings, in those of a reading
	base        detectors.Baseline
	calibration detectors.Calibration
}

type state struct {
	Smooth float64 // the moving average, in standard deviations from the usual
}

// Sound reports whether the state can be a chart's.
func (s *state) Sound() bool {
	return detectors.Within(-bound, bound, s.Smooth)
}

// Traits names the method.
func (c *chart) Traits() detectors.Traits {
	return detectors.Traits{Name: name, Severity: detectors.Medium}
}

// Judge takes one reading in. Low and High bound the moving average, not the
// single reading.
func (c *chart) Judge(w detectors.Window) detectors.Verdict {
	v := detectors.Verdict{Low: math.Inf(-1), High: math.Inf(1)}
	v.Score = c.calibration.Score(w.Time, c.statistic(w.Value))
	if line := c.calibration.Limit(); line > 0 {
		v.Low, v.High = detectors.Around(c.base.Mean, float64(line*c.narrow)*c.base.Spread)
	}
	if v.Score >= detectors.Line {
		v.Reason = detectors.MeanHigher
		if c.Smooth < 0 {
			v.Reason = detectors.MeanLower
		}
	}
	c.base.Learn(w.Value, c.calibration.Rate())
	return v
}

// statistic is the moving average's distance from the usual, in the standard
// deviations it would have were the readings independent.
func (c *chart) statistic(x float64) float64 {
	z := c.base.Deviation(x, bound)
	c.Smooth += float64(weight * (z - c.Smooth))
	return math.Abs(c.Smooth) / c.narrow
}

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
