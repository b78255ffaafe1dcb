package csv

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"time"
)

// A clock turns the text of the first column into nanoseconds since 1970 UTC.
// A time without a zone is UTC, so that a file means the same everywhere.
type clock func(text []byte) (int64, bool)

// newClock gives the clock of a time format: auto, rfc3339, unix, unix_ms,
// unix_us, unix_ns, or a layout of Go's time package.
func newClock(format string) (clock, error) {
	switch format {
	case "", "auto":
		return automatic, nil
	case "rfc3339":
		return calendar, nil
	case "unix":
		return func(text []byte) (int64, bool) { return epoch(text, 9) }, nil
	case "unix_ms":
		return func(text []byte) (int64, bool) { return epoch(text, 6) }, nil
	case "unix_us":
		return func(text []byte) (int64, bool) { return epoch(text, 3) }, nil
	case "unix_ns":
		return func(text []byte) (int64, bool) { return epoch(text, 0) }, nil
	}
	if _, err := time.Parse(format, time.Date(2026, 11, 23, 14, 55, 6, 789e6, time.UTC).Format(format)); err != nil || time.Unix(0, 0).UTC().Format(format) == format {
		return nil, fmt.Errorf("time_format %q is no layout: use auto, rfc3339, unix, unix_ms, or write the second of January 2006, 15:04:05, as the file would", format)
	}
	return func(text []byte) (int64, bool) {
		t, err := time.Parse(format, string(text))
		return t.UnixNano(), err == nil && inRange(t.Year())
	}, nil
}

// inRange reports whether a year's nanoseconds since 1970 fit an int64.
func inRange(year int) bool { return year >= 1678 && year < 2262 }

// automatic tells calendar times from numbers by their dash, and seconds from
// milli-, micro- and nanoseconds by their size: 10¹¹ s is the year 5138.
func automatic(text []byte) (int64, bool) {
	if len(text) > 4 && (text[4] == '-' || text[4] == '/') {
		return calendar(text)
	}
	digits := 0
	for digits < len(text) && text[digits] >= '0' && text[digits] <= '9' {
		digits++
	}
	switch {
	case digits < 12:
		return epoch(text, 9)
	case digits < 15:
		return epoch(text, 6)
	case digits < 18:
		return epoch(text, 3)
	}
	return epoch(text, 0)
}

// epoch reads a number of 10^exp nanoseconds since 1970, exactly: a float64
// would lose the last digits.
func epoch(text []byte, exp int) (int64, bool) {
	if bytes.ContainsAny(text, "eE") {
		return scientific(text, exp)
	}
	rest, negative := text, false
	if len(rest) > 0 && (rest[0] == '-' || rest[0] == '+') {
		negative, rest = rest[0] == '-', rest[1:]
	}
	whole, n, ok := digits(rest, 19)
	if !ok {
		return 0, false
	}
	rest = rest[n:]
	for range exp {
		if whole > math.MaxInt64/10 {
			return 0, false
		}
		whole *= 10
	}
	switch {
	case len(rest) == 0:
	case rest[0] == '.' || rest[0] == ',':
		part, used := fraction(rest[1:], exp)
		if used == 0 || used != len(rest)-1 {
			return 0, false
		}
		whole += part
	default:
		return 0, false
	}
	if whole < 0 {
		return 0, false
	}
	if negative {
		whole = -whole
	}
	return whole, true
}

// scientific reads 1.7e9, as spreadsheets write large numbers.
func scientific(text []byte, exp int) (int64, bool) {
	v, err := strconv.ParseFloat(string(text), 64)
	v *= math.Pow10(exp)
	if err != nil || math.Abs(v) >= math.MaxInt64 {
		return 0, false
	}
	return int64(v), true
}

// calendar reads 2006-01-02, then T or a blank and 15:04[:05[.999999999]], then
// Z, +01:00, +0100 or nothing. Slashes may stand for the dashes, a comma for the
// point.
func calendar(text []byte) (int64, bool) {
	if len(text) < 10 || text[4] != text[7] || text[4] != '-' && text[4] != '/' {
		return 0, false
	}
	year, ok1 := number(text[:4])
	month, ok2 := number(text[5:7])
	day, ok3 := number(text[8:10])
	if !ok1 || !ok2 || !ok3 || !inRange(year) || month < 1 || month > 12 || day < 1 || day > days(year, month) {
		return 0, false
	}
	var seconds, nanos int64
	if rest := text[10:]; len(rest) > 0 {
		var ok bool
		if seconds, nanos, ok = timeOfDay(rest); !ok {
			return 0, false
		}
	}
	midnight := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).Unix()
	return (midnight+seconds)*1e9 + nanos, true
}

// timeOfDay reads what follows a date; seconds is less than 0 or more than a day
// where the zone makes it so.
func timeOfDay(text []byte) (seconds, nanos int64, ok bool) {
	if len(text) < 6 || text[0] != 'T' && text[0] != 't' && text[0] != ' ' || text[3] != ':' {
		return 0, 0, false
	}
	hour, ok1 := number(text[1:3])
	minute, ok2 := number(text[4:6])
	second, ok3 := 0, true
	rest := text[6:]
	if len(rest) >= 3 && rest[0] == ':' {
		second, ok3 = number(rest[1:3])
		rest = rest[3:]
		if len(rest) > 0 && (rest[0] == '.' || rest[0] == ',') {
			part, used := fraction(rest[1:], 9)
			if used == 0 {
				return 0, 0, false
			}
			nanos, rest = part, rest[1+used:]
		}
	}
	if !ok1 || !ok2 || !ok3 || hour > 23 || minute > 59 || second > 60 { // 60: a leap second
		return 0, 0, false
	}
	offset, ok := zone(rest)
	return int64(hour*3600+minute*60+second) - offset, nanos, ok
}

// zone reads Z, ±15:04, ±1504, ±15 or nothing, in seconds east of Greenwich.
func zone(text []byte) (int64, bool) {
	if len(text) == 0 || len(text) == 1 && (text[0] == 'Z' || text[0] == 'z') {
		return 0, true
	}
	sign := int64(1)
	switch text[0] {
	case '-':
		sign = -1
	case '+':
	default:
		return 0, false
	}
	var hour, minute int
	var ok1, ok2 bool
	switch text = text[1:]; {
	case len(text) == 2:
		hour, ok1 = number(text)
		ok2 = true
	case len(text) == 4:
		hour, ok1 = number(text[:2])
		minute, ok2 = number(text[2:])
	case len(text) == 5 && text[2] == ':':
		hour, ok1 = number(text[:2])
		minute, ok2 = number(text[3:])
	}
	if !ok1 || !ok2 || hour > 23 || minute > 59 {
		return 0, false
	}
	return sign * int64(hour*3600+minute*60), true
}

func days(year, month int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// number reads text that is digits alone.
func number(text []byte) (int, bool) {
	v, n, ok := digits(text, len(text))
	return int(v), ok && n == len(text)
}

// digits reads up to most leading digits; more do not fit.
func digits(text []byte, most int) (v int64, n int, ok bool) {
	for n < len(text) && text[n] >= '0' && text[n] <= '9' {
		d := int64(text[n] - '0')
		if n == most || v > (math.MaxInt64-d)/10 {
			return 0, n, false
		}
		v = v*10 + d
		n++
	}
	return v, n, n > 0
}

// fraction reads decimals as 10^-exp of a unit; those beyond are cut off.
func fraction(text []byte, exp int) (v int64, used int) {
	for used < len(text) && text[used] >= '0' && text[used] <= '9' {
		if used < exp {
			v = v*10 + int64(text[used]-'0')
		}
		used++
	}
	for i := used; i < exp; i++ {
		v *= 10
	}
	return v, used
}
