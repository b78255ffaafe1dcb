package mqtt

import (
	"fmt"
	"math"
	"time"
)

// clock reads times as one row's configuration says they are written.
type clock struct {
	unit   int64  // of a Unix time, in nanoseconds; 0: not a Unix time
	layout string // Go layout; empty: RFC 3339
}

func parseClock(format string) (clock, error) {
	switch format {
	case "", "rfc3339":
		return clock{}, nil
	case "unix":
		return clock{unit: int64(time.Second)}, nil
	case "unix_ms":
		return clock{unit: int64(time.Millisecond)}, nil
	case "unix_us":
		return clock{unit: int64(time.Microsecond)}, nil
	case "unix_ns":
		return clock{unit: 1}, nil
	}
	// A layout must at least tell two days apart.
	a := time.Date(2021, 11, 12, 13, 14, 15, 0, time.UTC)
	if b := a.AddDate(0, 0, 1); a.Format(format) == b.Format(format) {
		return clock{}, fmt.Errorf("time_format %q: write rfc3339, unix, unix_ms, unix_us, unix_ns, or a layout of Go's reference time as 2006-01-02 15:04:05", format)
	}
	return clock{layout: format}, nil
}

// parse gives nanoseconds since 1970 UTC. A layout without a zone is read in the
// gateway's own.
func (c clock) parse(b []byte) (ns int64, ok bool) {
	switch {
	case c.unit > 0:
		return parseUnix(b, c.unit)
	case c.layout == "":
		return parseRFC3339(b)
	}
	t, err := time.ParseInLocation(c.layout, string(b), time.Local)
	if err != nil {
		return 0, false
	}
	return nanoseconds(t.Unix(), int64(t.Nanosecond()))
}

// parseUnix reads a decimal number of units exactly, digit by digit: a float64
// has no room for the nanoseconds of this century.
func parseUnix(b []byte, unit int64) (ns int64, ok bool) {
	i, negative := 0, false
	if len(b) > 0 && b[0] == '-' {
		i, negative = 1, true
	}
	first := i
	for ; i < len(b) && isDigit(b[i]); i++ {
		if ns > (math.MaxInt64-9)/10 {
			return 0, false
		}
		ns = ns*10 + int64(b[i]-'0')
	}
	if i == first || ns > math.MaxInt64/unit-1 {
		return 0, false
	}
	ns *= unit
	if i < len(b) && b[i] == '.' {
		i++
		first = i
		for place := unit; i < len(b) && isDigit(b[i]); i++ {
			place /= 10
			ns += int64(b[i]-'0') * place
		}
		if i == first {
			return 0, false
		}
	}
	if i < len(b) {
		return parseUnixFloat(b, unit)
	}
	if negative {
		ns = -ns
	}
	return ns, true
}

// parseUnixFloat reads what some languages write for a large number: 1.7637e9.
func parseUnixFloat(b []byte, unit int64) (ns int64, ok bool) {
	v, end, ok := parseNumber(b, 0)
	v *= float64(unit)
	if !ok || end != len(b) || math.Abs(v) > math.MaxInt64/2 {
		return 0, false
	}
	return int64(v), true
}

// parseRFC3339 reads RFC 3339, section 5.6, where T and Z may be small and a
// blank may stand for the T. time.Parse would allocate a zone.
func parseRFC3339(b []byte) (ns int64, ok bool) {
	if len(b) < len("2006-01-02T15:04:05Z") || b[4] != '-' || b[7] != '-' || b[13] != ':' || b[16] != ':' {
		return 0, false
	}
	if b[10] != 'T' && b[10] != 't' && b[10] != ' ' {
		return 0, false
	}
	ok = true
	two := func(at, least, most int) int {
		n := int(b[at]-'0')*10 + int(b[at+1]-'0')
		ok = ok && isDigit(b[at]) && isDigit(b[at+1]) && n >= least && n <= most
		return n
	}
	year := two(0, 0, 99)*100 + two(2, 0, 99)
	month, day := two(5, 1, 12), two(8, 1, 31)
	hour, minute, second := two(11, 0, 23), two(14, 0, 59), two(17, 0, 60)
	b = b[19:]
	var fraction int64
	if b[0] == '.' {
		i, unit := 1, int64(time.Second)
		for ; i < len(b) && isDigit(b[i]); i++ {
			unit /= 10
			fraction += int64(b[i]-'0') * unit
		}
		ok = ok && i > 1
		b = b[i:]
	}
	east, zoned := parseZone(b)
	t := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	if !ok || !zoned || second < 60 && t.Day() != day {
		return 0, false
	}
	return nanoseconds(t.Unix()-east, fraction)
}

// parseZone gives the seconds east of Greenwich.
func parseZone(b []byte) (east int64, ok bool) {
	if len(b) == 1 {
		return 0, b[0] == 'Z' || b[0] == 'z'
	}
	if len(b) != 6 || b[3] != ':' || b[0] != '+' && b[0] != '-' {
		return 0, false
	}
	if !isDigit(b[1]) || !isDigit(b[2]) || !isDigit(b[4]) || !isDigit(b[5]) {
		return 0, false
	}
	hours, minutes := int64(b[1]-'0')*10+int64(b[2]-'0'), int64(b[4]-'0')*10+int64(b[5]-'0')
	if hours > 23 || minutes > 59 {
		return 0, false
	}
	if east = hours*3600 + minutes*60; b[0] == '-' {
		east = -east
	}
	return east, true
}

// nanoseconds is false for years that 64 bits cannot hold: before 1678, after 2261.
func nanoseconds(seconds, ns int64) (int64, bool) {
	const most = math.MaxInt64/int64(time.Second) - 1
	return seconds*int64(time.Second) + ns, seconds > -most && seconds < most
}

func isDigit(c byte) bool { return c-'0' <= 9 }
