package mqtt

import (
	"log/slog"
	"time"
	"unicode/utf8"

	"tocsin/sensors"
)

// quiet is how long the same reason is not logged again.
const quiet = time.Minute

// refusals logs what is refused, each reason at most once in a while.
type refusals struct {
	log  *slog.Logger
	last [sensors.Reasons]time.Time
	n    [sensors.Reasons]int // since it was logged last
}

// refuse counts readings that never became samples.
func (s *Source) refuse(reason sensors.Reason, n int, rt *route, m *message) {
	s.out.Refuse(reason, n)
	r := &s.refusals
	r.n[reason] += n
	if !r.last[reason].IsZero() && time.Since(r.last[reason]) < quiet {
		return
	}
	total := r.n[reason]
	r.last[reason], r.n[reason] = time.Now(), 0
	r.log.Warn("readings refused", "reason", reason.String(), "topic", string(m.topic), "readings", total,
		"expected", rt.wanted(), "payload", excerpt(m.payload), "cure", cures[reason])
}

var cures = [sensors.Reasons]string{
	sensors.NotFinite:      "the device sends NaN, an infinity or a number beyond 1.8e308: look at the device, or at scale",
	sensors.OutOfRange:     "",
	sensors.Malformed:      "compare payload with expected: set format, pointer or each of this topic",
	sensors.TooLarge:       "raise max_payload if the message is meant; nesting, keys, topic and readings have fixed bounds",
	sensors.BadTime:        "set time and time_format as the payload writes it",
	sensors.BadQuality:     "the device sends null: look at the device",
	sensors.UnknownChannel: "too many channels, or a topic or line that makes no name: narrow the filter or channel",
}

// wanted is what the rows of a route expect.
func (rt *route) wanted() string {
	if rt == nil {
		return ""
	}
	var r *row
	switch {
	case len(rt.bindings) > 0:
		r = rt.bindings[0].row
	case len(rt.numbers) > 0:
		r = rt.numbers[0].row
	default:
		r = rt.liners[0].row
	}
	return r.wanted()
}

// excerpt is the beginning of a payload; the log escapes what cannot be printed.
func excerpt(payload []byte) string {
	if len(payload) <= 64 {
		return string(payload)
	}
	payload = payload[:64]
	for len(payload) > 60 && !utf8.Valid(payload) {
		payload = payload[:len(payload)-1]
	}
	return string(payload) + "…"
}
