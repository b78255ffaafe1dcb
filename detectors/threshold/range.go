package threshold

import "tocsin/detectors"

// NewRange makes the detector "range": readings outside what the sensor can
// physically read judge the sensor, not the process (NAMUR NE 107: out of
// specification).
func NewRange(low, high float64) detectors.Detector { return physical{low, high} }

type physical struct{ low, high float64 }

// Traits names the method.
func (physical) Traits() detectors.Traits {
	return detectors.Traits{Name: "range", Severity: detectors.Low, Status: detectors.OutOfSpecification}
}

// Judge compares; it remembers nothing.
func (d physical) Judge(w detectors.Window) detectors.Verdict {
	v := detectors.Verdict{Low: d.low, High: d.high}
	if w.Value < d.low || w.Value > d.high {
		v.Score, v.Reason = 1, detectors.OutsideRange
	}
	return v
}
