package config

import (
	"fmt"
	"math"
	"reflect"
	"slices"
)

// limits checks the limits of each channel against each other, against the
// sensor's range and against the detectors that are asked for.
func (l *loader) limits(f *feeds) {
	for _, name := range l.names("limit") {
		t, ok := l.config.Limit[name]
		if !ok {
			continue
		}
		l.fed(f, "limit", name)
		levels := []struct {
			key   string
			value *float64
		}{{"low_low", t.LowLow}, {"low", t.Low}, {"high", t.High}, {"high_high", t.HighHigh}}
		last, set := -1, 0
		for i, level := range levels {
			if level.value == nil {
				continue
			}
			set++
			l.inRange(name, level.key, *level.value)
			if last >= 0 && *levels[last].value >= *level.value {
				l.fail(l.at("limit", name, level.key), "they must rise: low_low < low < high < high_high", "%s = %v is not above %s = %v in %s",
					level.key, *level.value, levels[last].key, *levels[last].value, l.lineOf(l.at("limit", name, levels[last].key), l.at("limit", name, level.key)))
			}
			last = i
		}
		if set == 0 && !l.mayBeBroken("high") && !l.mayBeBroken("low") && !l.strayLimit(name) {
			l.fail(l.root.child("limit", name).key, "set one or more of high_high, high, low and low_low, or remove the table", "%s sets no limit", bracketed([]string{"limit", name}))
		}
		l.hysteresis(name, t)
		if d := l.config.DetectorsOf(name); !d.Has("limit") {
			l.fail(l.root.child("limit", name).key, `add "limit" to detectors, or remove this table`, "%s has no effect: the detectors of the channel do not include \"limit\"", bracketed([]string{"limit", name}))
		}
	}
}

// strayLimit reports whether the table holds a key that no limit has: it may be
// the limit that is missing, or the rest of a name that lost its quotes.
func (l *loader) strayLimit(name string) bool {
	return slices.ContainsFunc(l.root.child("limit", name).names, func(key string) bool { return fieldNamed(reflect.TypeFor[Limit](), key) < 0 })
}

// inRange checks a limit against what the sensor can read.
func (l *loader) inRange(name, key string, value float64) {
	c := l.config.Channel[name]
	at := l.at("limit", name, key)
	if c.RangeHigh != nil && value >= *c.RangeHigh {
		l.fail(at, "lower the limit, or raise range_high to what the sensor can read", "%s = %v can never be exceeded: the sensor reads at most range_high = %v (%s)", key, value, *c.RangeHigh, l.lineOf(l.at("channel", name, "range_high"), at))
	}
	if c.RangeLow != nil && value <= *c.RangeLow {
		l.fail(at, "raise the limit, or lower range_low to what the sensor can read", "%s = %v can never be undercut: the sensor reads at least range_low = %v (%s)", key, value, *c.RangeLow, l.lineOf(l.at("channel", name, "range_low"), at))
	}
}

// hysteresis must leave room between the innermost limits, or an alarm on one
// side could never clear before the other side's.
func (l *loader) hysteresis(name string, t Limit) {
	low, high := math.Inf(-1), math.Inf(1)
	for _, v := range []*float64{t.LowLow, t.Low} {
		if v != nil {
			low = *v
		}
	}
	for _, v := range []*float64{t.HighHigh, t.High} {
		if v != nil {
			high = *v
		}
	}
	if low < high && t.Hysteresis >= high-low {
		l.fail(l.at("limit", name, "hysteresis"), fmt.Sprintf("write less than %v", high-low),
			"hysteresis = %v is as wide as the band from %v to %v: an alarm would never clear", t.Hysteresis, low, high)
	}
}
