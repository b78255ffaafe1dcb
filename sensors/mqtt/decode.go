package mqtt

import (
	"math"

	"tocsin/sensors"
)

// decoder turns a payload into samples, for all rows that its topic is for. Its
// buffers are used again: one goroutine, one message at a time.
type decoder struct {
	scanner
	routes  *routes
	samples []sensors.Sample
	route   *route // whose payload is being scanned
	now     int64
}

func newDecoder(rs *routes) *decoder {
	d := &decoder{routes: rs}
	d.emit = d.rows
	return d
}

// decode fills d.samples, which are valid until the next call, and d.refused. A
// payload without a number gives no sample and is counted. now is what the
// readings without a time of their own get, in nanoseconds since 1970 UTC.
func (d *decoder) decode(rt *route, payload []byte, now int64) {
	d.samples = d.samples[:0]
	d.refused = [sensors.Reasons]int{}
	d.route, d.now = rt, now
	f := sound
	if rt.json != nil {
		f = d.scan(payload, rt.json)
	}
	if f != sound { // nothing of it is worth believing
		d.samples = d.samples[:0]
		d.refused = [sensors.Reasons]int{}
		d.refused[f.reason()] += rt.scanned
	}
	for _, b := range rt.numbers {
		d.single(b, payload)
	}
	if len(rt.liners) > 0 {
		if f := d.lines(rt, payload, now); f != sound {
			d.refused[f.reason()]++
		}
	}
}

func (f fault) reason() sensors.Reason {
	if f == tooLarge {
		return sensors.TooLarge
	}
	return sensors.Malformed
}

// single decodes a payload that is one number.
func (d *decoder) single(b binding, payload []byte) {
	v, ok := parseText(payload)
	switch {
	case !ok:
		d.refused[sensors.Malformed]++
	case math.IsNaN(v) || math.IsInf(v, 0):
		d.refused[sensors.NotFinite]++
	default:
		d.put(b, d.now, sensors.Good, v)
	}
}

// rows makes the samples of a scope whose value was read.
func (d *decoder) rows(sc *scope) fault {
	for _, inner := range sc.inner {
		if !inner.found { // no array where each should be
			d.refused[sensors.Malformed] += len(inner.rows)
		}
	}
	for i := range sc.rows {
		w := &sc.rows[i]
		if !w.found {
			d.refused[sensors.Malformed]++
			continue
		}
		if len(d.samples)+w.to-w.from > mostReadings {
			return tooLarge
		}
		d.series(w)
	}
	return sound
}

// series makes the samples of one row; the last number is the newest.
func (d *decoder) series(w *want) {
	at, by, b := d.now, sensors.Good, d.route.bindings[w.target]
	if w.row.time != nil {
		at, by = w.at, sensors.DeviceTime
	}
	at -= int64(w.to-w.from-1) * w.row.interval
	for _, v := range d.numbers[w.from:w.to] {
		switch {
		case v != v: // counted where it was found
		case w.row.time != nil && !w.timed:
			d.refused[sensors.BadTime]++
		default:
			d.put(b, at, by, v)
		}
		at += w.row.interval
	}
}

// put adds a sample in the channel's unit; by is DeviceTime where the device has
// stamped it.
func (d *decoder) put(b binding, at int64, by sensors.Quality, v float64) {
	v = float64(v*b.row.scale) + b.row.offset
	switch {
	case b.unknown:
		d.refused[sensors.UnknownChannel]++
	case v-v != 0: // not finite any more
		d.refused[sensors.NotFinite]++
	default:
		d.samples = append(d.samples, sensors.Sample{Time: at, Value: v, Channel: b.id, Quality: by})
	}
}
