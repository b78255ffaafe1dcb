package pipeline

import (
	"math"

	"tocsin/agent/alarms"
	"tocsin/detectors"
)

// samples is what the readings of one channel were in one window. Those that
// its sensor cannot read, a broken wire's 850 °C, are only counted.
type samples struct {
	count       uint32
	outside     uint32
	min, max    float64
	first, last float64 // in the order in which they came
	at          int64   // of last, ns since 1970 UTC
	mean        float64
	square      float64 // sum of squared distances from the mean
}

// add is B. P. Welford, "Note on a method for calculating corrected sums of
// squares and products", Technometrics 4 (1962) 419: no difference of large sums.
func (s *samples) add(at int64, v float64, inRange bool) {
	if !inRange {
		s.outside++
		return
	}
	if s.count++; s.count == 1 {
		s.min, s.max, s.first, s.last, s.at, s.mean = v, v, v, v, at, v
		return
	}
	if v < s.min {
		s.min = v
	}
	if v > s.max {
		s.max = v
	}
	s.last, s.at = v, at
	d := v - s.mean
	s.mean += d / float64(s.count)
	s.square += float64(d * (v - s.mean))
}

// deviation is the standard deviation of a sample (n − 1); 0 of one reading.
func (s *samples) deviation() float64 {
	if s.count < 2 {
		return 0
	}
	return math.Sqrt(s.square / float64(s.count-1))
}

func (s *samples) finish(*watch) {}

// scores is what the detectors said of one channel in one window.
type scores struct {
	count    uint32
	learning bool // some learned detector has no line yet
	classes  [alarms.Classes]peak
}

// peak is the highest score of one class, and how usual it was.
type peak struct {
	highest   float64
	low, high float64 // what was expected then
	sum       float64 // of all scores
	count     uint32  // readings that the class was judged by
	over      uint32  // of those, at or above the line
	detector  int32   // that gave the highest
	alarm     bool    // one was active when the window closed
}

func (s *scores) add(best *[alarms.Classes]int, verdicts *[alarms.Classes]detectors.Verdict) {
	s.count++
	for class, i := range best {
		if i < 0 {
			continue
		}
		p, v := &s.classes[class], &verdicts[class]
		if v.Score > p.highest || p.count == 0 {
			p.highest, p.low, p.high, p.detector = v.Score, v.Low, v.High, int32(i)
		}
		if v.Score >= detectors.Line {
			p.over++
		}
		p.count++
		p.sum += v.Score
	}
}

// readier is a learned detector that knows whether it has learned enough.
type readier interface{ Ready() bool }

func (s *scores) finish(w *watch) {
	for class := range s.classes {
		s.classes[class].alarm = w.alarm[class].Active()
	}
	for _, d := range w.Detectors {
		if r, ok := d.(readier); ok && !r.Ready() {
			s.learning = true
		}
	}
}
