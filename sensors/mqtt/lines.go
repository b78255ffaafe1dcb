package mqtt

import (
	"bytes"
	"math"
	"unicode/utf8"

	"tocsin/sensors"
)

// eachLine calls f for the fields of each line "name value [time]"; fields are
// separated by blanks, and a time may hold one. Empty lines mean nothing. It
// returns how many lines were no such thing.
func eachLine(payload []byte, f func(name, value, at []byte) fault) (bad int, _ fault) {
	for len(payload) > 0 {
		line := payload
		if i := bytes.IndexByte(payload, '\n'); i >= 0 {
			line, payload = payload[:i], payload[i+1:]
		} else {
			payload = nil
		}
		name, rest := field(line)
		if len(name) == 0 {
			continue
		}
		value, rest := field(rest)
		if len(value) == 0 || len(name) > mostKeyBytes || !utf8.Valid(name) {
			bad++
			continue
		}
		if f := f(name, value, bytes.TrimSpace(rest)); f != sound {
			return bad, f
		}
	}
	return bad, sound
}

// field cuts off the first word.
func field(b []byte) (word, rest []byte) {
	i := 0
	for i < len(b) && isBlank(b[i]) {
		i++
	}
	b = b[i:]
	for i = 0; i < len(b) && !isBlank(b[i]); i++ {
	}
	return b[:i], b[i:]
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }

// lines decodes a payload of lines for the rows of a route that read such. A
// line that nobody wants is passed over; a message need not hold all that are.
func (d *decoder) lines(rt *route, payload []byte, now int64) fault {
	bad, f := eachLine(payload, func(name, value, at []byte) fault {
		for _, b := range d.routes.line(rt, name) {
			if len(d.samples) >= mostReadings {
				return tooLarge
			}
			d.line(b, value, at, now)
		}
		return sound
	})
	d.refused[sensors.Malformed] += bad
	return f
}

func (d *decoder) line(b binding, value, at []byte, now int64) {
	v, ok := parseText(value)
	switch {
	case !ok:
		d.refused[sensors.Malformed]++
		return
	case math.IsNaN(v) || math.IsInf(v, 0):
		d.refused[sensors.NotFinite]++
		return
	}
	by := sensors.Good
	if len(at) > 0 {
		by = sensors.DeviceTime
		if now, ok = b.row.clock.parse(at); !ok {
			d.refused[sensors.BadTime]++
			return
		}
	}
	d.put(b, now, by, v)
}
