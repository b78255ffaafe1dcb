package alarms

import (
	"bytes"
	"strconv"
	"time"

	"tocsin/agent/clock"
	"tocsin/uplink"
)

// wrong is by how much a time must differ from what is known now to be
// corrected.
const wrong = time.Second

// Restamper corrects the times of events that were made while the gateway's
// clock was not set, once it is: when they are sent, so that what is on disk
// stays as it was committed.
type Restamper struct {
	Boot  string // id of this boot: events of an earlier one stay as they are, and say so
	Clock *clock.Clock
}

// Records returns the records with corrected times. It changes none of those
// given: where nothing is to be corrected it returns them, else a copy. An event
// is corrected when it is of this boot, its clock is better trusted now than it
// was then, and its time is wrong by more than a second.
func (s *Restamper) Records(records []uplink.Record) []uplink.Record {
	now := s.Clock.Read()
	if now.Trust == clock.Unset || s.Boot == "" {
		return records
	}
	copied := false
	for i := range records {
		r, ok := s.restamp(&records[i], now)
		if !ok {
			continue
		}
		if !copied {
			records, copied = append([]uplink.Record(nil), records...), true
		}
		records[i] = r
	}
	return records
}

// stamps is where the parts of a body stand that tell when.
type stamps struct {
	time, since, clock, boot, uptime span
}

type span struct{ from, to int }

func (p span) of(b []byte) string { return string(b[p.from:p.to]) }

// find finds them in a body that appendBody wrote, in its order. A quote inside a
// JSON string has a backslash before it, so that a key with its quotes and the
// comma before them stands nowhere but where it is one.
func find(body []byte) (p stamps, ok bool) {
	from := 0
	for _, part := range []struct {
		key, end string
		at       *span
	}{
		{`,"time":"`, `"`, &p.time}, {`,"since":"`, `"`, &p.since}, {`,"clock":"`, `"`, &p.clock},
		{`,"boot":"`, `"`, &p.boot}, {`,"uptime":`, `,`, &p.uptime},
	} {
		i := bytes.Index(body[from:], []byte(part.key))
		if i < 0 {
			return p, false
		}
		from += i + len(part.key)
		n := bytes.Index(body[from:], []byte(part.end))
		if n < 0 {
			return p, false
		}
		*part.at = span{from, from + n}
		from += n
	}
	return p, true
}

func (s *Restamper) restamp(r *uplink.Record, now clock.Reading) (uplink.Record, bool) {
	p, ok := find(r.Body)
	if !ok || p.boot.of(r.Body) != s.Boot || !better(now.Trust, p.clock.of(r.Body)) {
		return uplink.Record{}, false
	}
	uptime, ok := parseSeconds(p.uptime.of(r.Body))
	if !ok {
		return uplink.Record{}, false
	}
	right := now.WallAt(uptime)
	late := right - r.Time
	if time.Duration(late).Abs() <= wrong {
		return uplink.Record{}, false
	}
	since := p.since.of(r.Body)
	// An alarm that an earlier boot raised keeps its beginning, which another clock told.
	if at, err := time.Parse(time.RFC3339Nano, since); err == nil {
		if began := at.UnixNano(); began <= r.Time && r.Time-began <= int64(uptime) {
			since = formatTime(began + late)
		}
	}
	body := make([]byte, 0, len(r.Body)+len(restamped))
	from := 0
	for _, change := range []struct {
		at span
		to string
	}{{p.time, formatTime(right)}, {p.since, since}, {p.clock, restamped}} {
		body = append(append(body, r.Body[from:change.at.from]...), change.to...)
		from = change.at.to
	}
	out := *r
	out.Time, out.Body = right, append(body, r.Body[from:]...)
	return out, true
}

// better reports whether the clock is better trusted now than the word of a body
// says it was.
func better(now clock.Trust, was string) bool {
	switch was {
	case clock.Unset.String():
		return now > clock.Unset
	case clock.Unsynced.String():
		return now > clock.Unsynced
	}
	return false
}

// parseSeconds reads what appendSeconds writes.
func parseSeconds(s string) (time.Duration, bool) {
	const decimals = 9
	dot := len(s) - decimals - 1
	if dot < 1 || s[dot] != '.' {
		return 0, false
	}
	ns, err := strconv.ParseInt(s[:dot]+s[dot+1:], 10, 64)
	return time.Duration(ns), err == nil
}
