// Package mad is the robust z score: how far a reading lies from the median of
// the last 256, in median absolute deviations. It finds single readings that
// do not belong.
//
// F. R. Hampel, J. Am. Stat. Assoc. 69 (1974) 383; B. Iglewicz and D. C.
// Hoaglin, "How to detect and handle outliers" (1993), with their mean
// deviation where more than half of the readings are equal. The limit is
// learned (detectors.Calibration), and never below the Gaussian one.
package mad

import (
	"math"

	"tocsin/detectors"
)

const (
	name     = "robust_z"
	toSigma  = 1.4826 // of the median absolute deviation, for Gaussian readings
	meanToSD = 1.2533 // of the mean deviation
)

// New makes the detector "robust_z".
func New(l detectors.Learning) detectors.Learner {
	return &chart{calibration: detectors.NewCalibration(l, detectors.Gaussian)}
}

type chart struct {
	calibration detectors.Calibration
	frozen      bool
	window      window
}

// state is the window in the order in which the readings came, oldest first.
type state struct {
	Frozen   bool
	N        uint16
	Readings [length]float64
}

// Traits names the method.
func (c *chart) Traits() detectors.Traits {
	return detectors.Traits{Name: name, Severity: detectors.Medium}
}

// Judge holds the reading against those before it, then takes it in.
func (c *chart) Judge(w detectors.Window) detectors.Verdict {
	v := detectors.Verdict{Low: math.Inf(-1), High: math.Inf(1)}
	if c.window.n > 0 {
		m, scale := c.usual()
		z := 0.0
		if w.Value != m {
			z = math.Abs(w.Value-m) / scale
		}
		v.Score = c.calibration.Score(w.Time, z)
		if line := c.calibration.Limit(); line > 0 {
			v.Low, v.High = detectors.Around(m, line*scale)
		}
		if v.Score >= detectors.Line {
			v.Reason = detectors.Unusual
		}
	}
	if !c.frozen {
		c.window.push(w.Value)
	}
	return v
}

// usual is the window's middle and its robust standard deviation.
func (c *chart) usual() (m, scale float64) {
	m = c.window.median()
	if scale = toSigma * c.window.deviation(m); scale > 0 {
		return m, scale
	}
	return m, meanToSD * c.window.meanDeviation(m)
}

// Ready reports whether enough was seen to have a line.
func (c *chart) Ready() bool { return c.calibration.Limit() > 0 }

// Freeze ends learning; the window stays as it is.
func (c *chart) Freeze() {
	c.calibration.Freeze()
	c.frozen = true
}

// AppendBinary appends the learned state.
func (c *chart) AppendBinary(b []byte) ([]byte, error) {
	s := state{Frozen: c.frozen, N: uint16(c.window.n)}
	for i, x := range c.window.sorted[:c.window.n] {
		s.Readings[c.window.age(i)] = x
	}
	return c.all(&s).Append(b)
}

// UnmarshalBinary takes a state back; after an error nothing has changed.
func (c *chart) UnmarshalBinary(data []byte) error {
	loaded, s := &chart{calibration: c.calibration}, state{}
	if err := loaded.all(&s).Load(data); err != nil {
		return err
	}
	if s.N > length {
		return detectors.ErrForeignState
	}
	for _, x := range s.Readings[:s.N] {
		loaded.window.push(x)
	}
	loaded.frozen = s.Frozen
	*c = *loaded
	return nil
}

func (c *chart) all(s *state) detectors.State {
	return detectors.State{Method: name, Settings: []any{c.calibration.Learning()}, Parts: c.calibration.State(s)}
}
