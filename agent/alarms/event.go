package alarms

import (
	_ "embed"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"tocsin/agent/clock"
	"tocsin/detectors"
	"tocsin/sensors"
	"tocsin/uplink"
)

//go:embed event.schema.json
var schema []byte

// Schema is the JSON Schema (draft 2020-12) of an event's body.
func Schema() []byte { return schema }

// appendBody writes the event's JSON body. It is written by hand because a site
// in trouble makes thousands a second; a test holds it to the schema.
func (b *Bell) appendBody(to []byte, now clock.Reading, r *uplink.Record, c *Channel, class Class, a *Alarm, f Finding) []byte {
	text := func(key, value string) {
		to = appendString(appendKey(to, key), value)
	}
	to = append(to, '{')
	text("alarm_id", uplink.ID(a.device, a.epoch, a.id))
	text("state", r.State.String())
	text("class", class.String())
	text("severity", a.severity.String())
	text("site", b.origin.Site)
	text("machine", c.Machine)
	text("channel", c.Name)
	to = appendNumber(appendKey(to, "value"), f.Value)
	text("unit", c.Unit)
	to = append(appendKey(to, "expected"), '{')
	to = appendNumber(appendKey(to, "low"), f.Verdict.Low)
	to = appendNumber(appendKey(to, "high"), f.Verdict.High)
	to = append(to, '}')
	to = appendNumber(appendKey(to, "score"), f.Verdict.Score)
	text("detector", f.Traits.Name)
	to = appendTime(appendKey(to, "time"), r.Time)
	to = appendTime(appendKey(to, "since"), a.since.wall(now))
	text("quality", f.Quality.String())
	status := f.Traits.Status
	if r.State == uplink.Cleared {
		status = detectors.Normal
	}
	text("ne107", status.String())
	text("message", message(r.State, c, f, r.Time-a.since.wall(now)))
	told, happened := now.Trust.String(), now.Uptime(f.Time)
	if f.Own {
		told, happened = byDevice, now.Uptime(now.Steady)
	}
	text("clock", told)
	text("boot", b.origin.Boot)
	to = appendSeconds(appendKey(to, "uptime"), happened)
	text("device", r.Device)
	to = append(appendHex(append(appendKey(to, "epoch"), '"'), r.Epoch), '"')
	to = strconv.AppendUint(appendKey(to, "seq"), r.Seq, 10)
	if a.suppressed > 0 {
		to = strconv.AppendUint(appendKey(to, "suppressed"), uint64(a.suppressed), 10)
	}
	text("version", b.origin.Version)
	return append(to, '}')
}

// What "clock" says beside how far the gateway's clock could be believed.
const (
	byDevice  = "device"
	restamped = "restamped"
)

func formatTime(ns int64) string { return time.Unix(0, ns).UTC().Format(time.RFC3339Nano) }

func appendTime(to []byte, ns int64) []byte {
	return append(time.Unix(0, ns).UTC().AppendFormat(append(to, '"'), time.RFC3339Nano), '"')
}

func appendHex(to []byte, n uint64) []byte {
	const digits = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		to = append(to, digits[n>>shift&15])
	}
	return to
}

// appendSeconds writes a duration as a decimal number, exactly.
func appendSeconds(to []byte, d time.Duration) []byte {
	if d < 0 {
		to, d = append(to, '-'), -d
	}
	to = append(strconv.AppendInt(to, int64(d/time.Second), 10), '.')
	for ns, unit := d%time.Second, time.Second/10; unit > 0; unit /= 10 {
		to = append(to, '0'+byte(ns/unit%10))
	}
	return to
}

// appendKey writes a key of ours, which needs no escaping, with the comma before it.
func appendKey(to []byte, key string) []byte {
	if to[len(to)-1] != '{' {
		to = append(to, ',')
	}
	return append(append(append(to, '"'), key...), '"', ':')
}

// appendNumber writes null for a side that is open: JSON has no infinity.
func appendNumber(to []byte, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(to, "null"...)
	}
	return strconv.AppendFloat(to, v, 'g', -1, 64)
}

// appendString writes a JSON string (RFC 8259, 7); bytes that are not UTF-8
// become U+FFFD.
func appendString(to []byte, s string) []byte {
	to = append(to, '"')
	n := 0
	for n < len(s) && s[n] >= 0x20 && s[n] < 0x7f && s[n] != '"' && s[n] != '\\' {
		n++
	}
	to, s = append(to, s[:n]...), s[n:] // nearly always all of it
	for i, r := range s {
		switch {
		case r == '"' || r == '\\':
			to = append(to, '\\', byte(r))
		case r < 0x20 || r == 0x7f:
			to = append(append(to, `\u00`...), "0123456789abcdef"[r>>4], "0123456789abcdef"[r&15])
		case r < utf8.RuneSelf:
			to = append(to, s[i])
		default:
			to = utf8.AppendRune(to, r)
		}
	}
	return append(to, '"')
}

// message says in one sentence what happened, how far from normal it is, and for
// how long the alarm has lasted, in nanoseconds.
func message(s uplink.State, c *Channel, f Finding, lasts int64) string {
	unit := ""
	if c.Unit != "" {
		unit = " " + c.Unit
	}
	value := Number(f.Value) + unit
	switch {
	case s == uplink.Cleared && f.Quality == sensors.BadOutOfService:
		return c.Name + " is not judged any more, its alarm is withdrawn after " + spell(lasts)
	case s == uplink.Cleared:
		return c.Name + " is back to normal: " + value + " after " + spell(lasts)
	}
	reason := f.Verdict.Reason
	text := c.Name + " " + reason.Phrase() + ": "
	low, high := f.Verdict.Low, f.Verdict.High
	switch {
	case reason == detectors.NothingArrives:
		text += "nothing for " + spell(f.Time-f.Seen)
		if !math.IsNaN(f.Value) {
			text += ", the last reading was " + value
		}
		return text
	case reason == detectors.NotChanging:
		text += "it stays at " + value
	default:
		text += value
	}
	finite := func(v float64) bool { return !math.IsInf(v, 0) && !math.IsNaN(v) }
	switch {
	case reason == detectors.AboveHighHigh || reason == detectors.AboveHigh:
		text += ", the limit is " + Number(high) + unit
	case reason == detectors.BelowLow || reason == detectors.BelowLowLow:
		text += ", the limit is " + Number(low) + unit
	case finite(low) && finite(high):
		text += ", expected " + Number(low) + " to " + Number(high) + unit
	case finite(high):
		text += ", expected at most " + Number(high) + unit
	case finite(low):
		text += ", expected at least " + Number(low) + unit
	}
	if s == uplink.Updated && lasts > 0 {
		text += ", for " + spell(lasts)
	}
	return text
}

// spell writes a duration as people do: no more than two units of it matter.
func spell(ns int64) string {
	d := time.Duration(max(ns, 0))
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	case d < 48*time.Hour:
		return d.Round(time.Second).String()
	}
	return strconv.Itoa(int(d.Hours()/24)) + " days"
}

// Number writes a reading with four significant digits and no exponent where a
// person would use none.
func Number(v float64) string {
	if m := math.Abs(v); m != 0 && (m < 1e-4 || m >= 1e7) {
		return strconv.FormatFloat(v, 'g', 4, 64)
	}
	decimals := 0
	v += 0 // no minus zero
	for m := math.Abs(v); m < 1000 && decimals < 7 && m != 0; m *= 10 {
		decimals++
	}
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	if decimals > 0 {
		for s[len(s)-1] == '0' {
			s = s[:len(s)-1]
		}
		if s[len(s)-1] == '.' {
			s = s[:len(s)-1]
		}
	}
	return s
}
