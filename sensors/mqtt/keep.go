package mqtt

import (
	"math"

	"tocsin/sensors"
)

// begin opens an empty range of numbers for rows whose value has been found.
func (s *scanner) begin(rows []int) {
	for _, r := range rows {
		w := &s.scope.rows[r]
		w.found, w.from, w.to = true, len(s.numbers), len(s.numbers)
	}
}

// wrong counts an array or object where rows want a number.
func (s *scanner) wrong(rows []int) {
	s.begin(rows)
	s.refused[sensors.Malformed] += len(rows)
}

// keep files what a scalar says, for the rows that want the numbers of the array
// around it and for those whose place it is; raw is how it is written.
func (s *scanner) keep(n *node, in []int, k kind, v float64, raw []byte) fault {
	switch k {
	case text:
		raw = raw[1 : len(raw)-1]
	case escaped:
		if raw = raw[1 : len(raw)-1]; len(raw) > len(s.scratch) {
			raw = nil // no number and no time is that long
		}
		raw = unescape(s.scratch[:0], raw)
	}
	readers := len(in)
	if n != nil {
		s.begin(n.numbers)
		readers += len(n.numbers)
	}
	if readers > 0 {
		if len(s.numbers) == mostReadings {
			return tooLarge
		}
		s.numbers = append(s.numbers, s.number(readers, k, v, raw))
		s.extend(in)
	}
	if n == nil {
		return sound
	}
	s.extend(n.numbers)
	for _, r := range n.times {
		if w := &s.scope.rows[r]; k != null {
			w.at, w.timed = w.row.clock.parse(raw)
		}
	}
	return sound
}

func (s *scanner) extend(rows []int) {
	for _, r := range rows {
		s.scope.rows[r].to = len(s.numbers)
	}
}

// number gives a scalar's value. One that must be refused is counted for each of
// its readers and becomes NaN, so that its neighbours in an array keep their
// times.
func (s *scanner) number(readers int, k kind, v float64, raw []byte) float64 {
	ok := true
	switch k {
	case null: // the device itself says that it has no reading
		s.refused[sensors.BadQuality] += readers
		return math.NaN()
	case text, escaped:
		v, ok = parseText(raw)
	}
	if !ok {
		s.refused[sensors.Malformed] += readers
		return math.NaN()
	}
	if math.IsNaN(v) || math.IsInf(v, 0) {
		s.refused[sensors.NotFinite] += readers
		return math.NaN()
	}
	return v
}
