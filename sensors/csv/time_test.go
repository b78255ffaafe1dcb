package csv

import (
	"regexp"
	"testing"
	"time"
)

func TestTimes(t *testing.T) {
	want := time.Date(2026, 11, 23, 14, 55, 6, 0, time.UTC).UnixNano()
	for _, c := range []struct {
		format, text string
		want         int64
	}{
		{"auto", "2026-11-23T14:55:06Z", want},
		{"auto", "2026-11-23T15:55:06+01:00", want},
		{"auto", "2026-11-23T15:55:06.5+0100", want + 5e8},
		{"auto", "2026-11-23 09:55:06-05", want},
		{"", "2026-11-23 14:55:06", want},
		{"auto", "2026-11-23 14:55:06.789", want + 789e6},
		{"auto", "2026-11-23 14:55:06,789123456", want + 789123456},
		{"auto", "2026-11-23 14:55:06.7891234567", want + 789123456},
		{"auto", "2026/11/23 14:55", want - 6e9},
		{"auto", "2026-11-23", want - (14*3600+55*60+6)*1e9},
		{"auto", "2024-02-29 00:00:00", time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC).UnixNano()},
		{"rfc3339", "1969-12-31T23:59:59.999999999Z", -1},
		{"auto", "1795445706", want},
		{"auto", "1795445706.25", want + 25e7},
		{"auto", "1795445706000", want},
		{"auto", "1795445706000000", want},
		{"auto", "1795445706000000001", want + 1},
		{"auto", "0", 0}, {"auto", "12", 12e9}, {"auto", "-1.5", -15e8},
		{"unix", "1.795445706e9", want},
		{"unix_ms", "100", 1e8}, {"unix_us", "100", 1e5}, {"unix_ns", "100", 100},
		{"02.01.2006 15:04:05", "23.11.2026 14:55:06", want},
	} {
		clock, err := newClock(c.format)
		if err != nil {
			t.Errorf("format %q: %v", c.format, err)
			continue
		}
		if got, ok := clock([]byte(c.text)); !ok || got != c.want {
			t.Errorf("%s %q = %d, %v; want %d", c.format, c.text, got, ok, c.want)
		}
	}
}

func TestNoTimes(t *testing.T) {
	for _, text := range []string{
		"", "-", "+", ".", "x", "12x", "1.", "1.x", "1,2,3", "99999999999999999999", "9223372036854775808", "--1", "1e400", "1ee1",
		"2026-13-01", "2026-02-29", "2026-11-31", "2026-11-23T24:00:00Z", "2026-11-23T14:60:00Z", "2026-11-23T14:55:61Z", "2026-11-23T14",
		"2026-11-23T14:55:06.Z", "2026-11-23T14:55:06X", "2026-11-23T14:55:06+1", "2026-11-23T14:55:06+99:00", "2026-11/23", "2026-1-2",
		"1600-01-01", "2300-01-01", "2026-11-23x14:55:06", "2026-11-23T14:55:06+01:0x",
	} {
		if got, ok := automatic([]byte(text)); ok {
			t.Errorf("%q was taken for a time: %d", text, got)
		}
	}
	clock, err := newClock("02.01.2006")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := clock([]byte("23.11.2326")); ok {
		t.Error("a year beyond 2262 was taken")
	}
	for _, format := range []string{"YYYY-MM-DD", "nonsense", "iso"} {
		if _, err := newClock(format); err == nil {
			t.Errorf("time_format %q was taken", format)
		}
	}
}

// lenient is an hour of one digit, a zone of 24 hours or of 60 minutes.
var lenient = regexp.MustCompile(`^.{11}[0-9]:|[+-](24:..|..:60)$`)

// A calendar time that is taken means what the standard library says it means.
func FuzzTime(f *testing.F) {
	for _, s := range []string{"2026-11-23T14:55:06Z", "2026-11-23 14:55:06.5", "1795445706000", "-1.5", "1e9", "2026-11-23T14:55:06+01:00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := automatic([]byte(s))
		want, err := time.Parse(time.RFC3339Nano, s)
		if lenient.MatchString(s) {
			return // time.Parse takes it, RFC 3339 does not
		}
		if err == nil && inRange(want.Year()) && len(s) > 4 && (!ok || got != want.UnixNano()) && want.Year() != 1678 && want.Year() != 2261 {
			t.Errorf("%q = %d, %v; want %d", s, got, ok, want.UnixNano())
		}
	})
}
