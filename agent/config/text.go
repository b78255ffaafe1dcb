package config

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// curedError is an error in a value that knows what to write instead.
type curedError struct{ problem, cure string }

func (e curedError) Error() string {
	if e.cure == "" {
		return e.problem
	}
	return e.problem + "; " + e.cure
}

// unit is a name and what one of it is worth.
type unit struct {
	name  string
	worth float64
}

var (
	// durationUnits are in descending order, so that String finds the largest.
	durationUnits = []unit{{"d", float64(24 * time.Hour)}, {"h", float64(time.Hour)}, {"m", float64(time.Minute)},
		{"s", float64(time.Second)}, {"ms", float64(time.Millisecond)}, {"us", float64(time.Microsecond)}, {"ns", 1}}
	weeks     = append([]unit{{"w", float64(7 * 24 * time.Hour)}}, durationUnits...) // which are only understood
	sizeUnits = []unit{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

	// What people write, in lower case, and what is meant.
	// durationWords are those of four languages.
	durationWords = map[string]string{"sek": "s", "sekunde": "s", "sekunden": "s", "seconde": "s", "secondes": "s", "segundo": "s", "segundos": "s",
		"millisekunde": "ms", "millisekunden": "ms", "milliseconde": "ms", "millisecondes": "ms", "milisegundo": "ms", "milisegundos": "ms",
		"minuten": "m", "minuto": "m", "minutos": "m", "std": "h", "stunde": "h", "stunden": "h", "heure": "h", "heures": "h", "hora": "h", "horas": "h",
		"tag": "d", "tage": "d", "jour": "d", "jours": "d", "día": "d", "días": "d", "dia": "d", "dias": "d",
		"w": "w", "wk": "w", "week": "w", "weeks": "w", "woche": "w", "wochen": "w", "semaine": "w", "semaines": "w", "semana": "w", "semanas": "w",
		"sec": "s", "secs": "s", "second": "s", "seconds": "s", "msec": "ms", "millis": "ms",
		"millisecond": "ms", "milliseconds": "ms", "µs": "us", "min": "m", "mins": "m", "minute": "m", "minutes": "m",
		"hr": "h", "hrs": "h", "hour": "h", "hours": "h", "day": "d", "days": "d"}
	sizeWords = map[string]string{"k": "KiB", "kb": "KiB", "kib": "KiB", "m": "MiB", "mb": "MiB", "mib": "MiB",
		"g": "GiB", "gb": "GiB", "gib": "GiB", "b": "B", "byte": "B", "bytes": "B"}

	quantity = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)([A-Za-zµ]+)`)
)

// measure reads "1h30m" in the given units: numbers, each followed by a unit,
// nothing else. It reports false for anything else and for more than an int64.
func measure(text string, units []unit) (int64, bool) {
	total := 0.0
	for first := true; first || text != ""; first = false {
		m := quantity.FindStringSubmatch(text)
		if m == nil {
			return 0, false
		}
		i := slices.IndexFunc(units, func(u unit) bool { return u.name == m[2] })
		n, err := strconv.ParseFloat(m[1], 64)
		if i < 0 || err != nil {
			return 0, false
		}
		total += float64(n * units[i].worth)
		text = text[len(m[0]):]
	}
	if total >= math.MaxInt64 {
		return 0, false
	}
	return int64(math.Round(total)), true
}

// meant turns "1,5 Sec" into "1.5s": spaces out, points for commas, words into
// units. It is "" when the result would not be right either.
func meant(text string, units []unit, words map[string]string) string {
	out := strings.NewReplacer(" ", "", ",", ".").Replace(text)
	out = regexp.MustCompile(`[\pLµ]+`).ReplaceAllStringFunc(out, func(word string) string {
		if unit, ok := words[strings.ToLower(word)]; ok {
			return unit
		}
		return strings.ToLower(word)
	})
	if _, ok := measure(out, units); !ok {
		return ""
	}
	return out
}

// compose writes n in the largest unit that divides it.
func compose(n int64, units []unit) string {
	for _, u := range units {
		if n != 0 && n%int64(u.worth) == 0 {
			return strconv.FormatInt(n/int64(u.worth), 10) + u.name
		}
	}
	return "0"
}

// UnmarshalText reads "5ms", "1s", "10m", "12h", "30d" or "1h30m".
func (d *Duration) UnmarshalText(text []byte) error {
	n, ok := measure(string(text), durationUnits)
	if !ok {
		cure := `write a number and ms, s, m, h or d: "500ms", "5s", "10m"`
		written := strings.TrimPrefix(string(text), "PT") // ISO 8601
		if near := meant(written, durationUnits, durationWords); near != "" {
			cure = fmt.Sprintf("write %q", near)
		} else if near := meant(written, weeks, durationWords); near != "" {
			n, _ := measure(near, weeks)
			cure = fmt.Sprintf("write %q", Duration(n))
		} else if near := meant(string(text)+"s", durationUnits, nil); near != "" {
			cure = fmt.Sprintf(`say the unit: "%s" for seconds, "%s" for minutes`, near, strings.TrimSuffix(near, "s")+"m")
		}
		return curedError{fmt.Sprintf("%q is no duration", text), cure}
	}
	*d = Duration(n)
	return nil
}

// MarshalText is String, in the form that UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String is the duration in the largest unit that divides it: "90s", "2m", "30d".
func (d Duration) String() string {
	if d == 0 {
		return "0s"
	}
	return compose(int64(d), durationUnits)
}

// UnmarshalText reads "512B", "64KiB", "256MiB" or "1GiB".
func (s *Size) UnmarshalText(text []byte) error {
	n, ok := measure(string(text), sizeUnits)
	if !ok {
		cure := `write a number and B, KiB, MiB or GiB: "64KiB", "256MiB"`
		if near := meant(string(text), sizeUnits, sizeWords); near != "" {
			cure = fmt.Sprintf("write %q", near)
		} else if near := meant(string(text)+"B", sizeUnits, sizeWords); near != "" {
			cure = fmt.Sprintf(`say the unit: "%s" for bytes, "%s" for mebibytes`, near, strings.TrimSuffix(near, "B")+"MiB")
		}
		return curedError{fmt.Sprintf("%q is no size", text), cure}
	}
	*s = Size(n)
	return nil
}

// MarshalText is String, in the form that UnmarshalText reads.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// String is the size in the largest unit that divides it: "256MiB".
func (s Size) String() string {
	if s == 0 {
		return "0B"
	}
	return compose(int64(s), sizeUnits)
}

// DetectorNames are the detectors that a list may name, as events carry them.
func DetectorNames() []string {
	return []string{"limit", "ewma", "robust_z", "cusum", "rate", "stuck", "silence", "range"}
}

// UnmarshalText reads "auto"; a list is decoded element by element.
func (d *Detectors) UnmarshalText(text []byte) error {
	switch name := string(text); {
	case name == "auto":
		*d = Detectors{Auto: true}
		return nil
	case slices.Contains(DetectorNames(), name):
		return curedError{fmt.Sprintf("%q is one detector where \"auto\" or a list is wanted", name), fmt.Sprintf("write a list: [%q]", name)}
	default:
		return curedError{fmt.Sprintf("%q is neither \"auto\" nor a list of detectors", name),
			didYouMean(name, append([]string{"auto"}, DetectorNames()...))}
	}
}

// Given reports whether the file says which detectors to use; an empty list is
// a way of saying none.
func (d Detectors) Given() bool { return d.Auto || d.Names != nil }

// Has reports whether a detector is to be used: all are in "auto".
func (d Detectors) Has(name string) bool { return d.Auto || slices.Contains(d.Names, name) }

var periods = []unit{{"hour", float64(time.Hour)}, {"day", float64(24 * time.Hour)}, {"week", float64(7 * 24 * time.Hour)},
	{"month", float64(30 * 24 * time.Hour)}, {"year", float64(365 * 24 * time.Hour)}}

var falseAlarms = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) per ([a-z]+)$`)

// parseFalseAlarms reads "1 per week" as the time between two false alarms; a
// month is 30 days, a year 365.
func parseFalseAlarms(text string) (time.Duration, error) {
	cure := `write a number, "per", and hour, day, week, month or year: "1 per week"`
	problem := fmt.Sprintf("%q is no rate of false alarms", text)
	m := falseAlarms.FindStringSubmatch(text)
	if m == nil {
		return 0, curedError{problem, cure}
	}
	i := slices.IndexFunc(periods, func(u unit) bool { return u.name == m[2] })
	if i < 0 {
		names := make([]string, len(periods))
		for i, p := range periods {
			names[i] = p.name
		}
		if near := Nearest(m[2], names); near != "" {
			cure = fmt.Sprintf("write \"%s per %s\"", m[1], near)
		}
		return 0, curedError{problem, cure}
	}
	n, _ := strconv.ParseFloat(m[1], 64)
	every := periods[i].worth / n
	if n == 0 || every >= math.MaxInt64 || every < float64(time.Minute) {
		return 0, curedError{problem + ": it must lie between 60 per hour and 1 in 250 years", cure}
	}
	return time.Duration(every), nil
}

// FalseAlarmEvery is the time that should lie between two false alarms of one
// channel. On a Config that Load returned it cannot fail.
func (d Detect) FalseAlarmEvery() time.Duration {
	every, _ := parseFalseAlarms(d.FalseAlarms)
	return every
}
